import math

import pytest
import torch

from flenwheel_core.engine.flow_matching import (
    flow_loss,
    noisy_input,
    shift_factor_for_tokens,
    shift_sigma,
    sigma_of_uniform,
    velocity_target,
)
from flenwheel_core.recipes.train import SigmaRecipe


def test_loss_and_gradient_equal_a_float64_reference_written_from_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(3, 7, 4, generator=generator) for _ in range(2))
    sigma = torch.tensor([0.1, 0.5, 0.9])
    weight = torch.randn(4, 4, generator=generator, requires_grad=True)
    loss = flow_loss(noisy_input(clean, noise, sigma) @ weight, velocity_target(clean, noise)).mean()
    (gradient,) = torch.autograd.grad(loss, weight)

    x0, eps, w = clean.double(), noise.double(), weight.detach().double()
    total, expected = 0.0, torch.zeros(4, 4, dtype=torch.float64)
    for row in range(3):
        s = float(sigma[row].double())
        x_s = (1 - s) * x0[row] + s * eps[row]
        error = x_s @ w - (eps[row] - x0[row])
        total += float((error**2).sum()) / error.numel() / 3
        expected += x_s.T @ (2 * error) / error.numel() / 3
    assert loss.item() == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-6)


def test_time_zero_is_the_picture_and_the_target_points_to_noise() -> None:
    clean, noise = torch.full((1, 2), 3.0), torch.full((1, 2), -1.0)
    assert torch.equal(noisy_input(clean, noise, torch.zeros(1)), clean)
    assert torch.equal(noisy_input(clean, noise, torch.ones(1)), noise)
    # Euler from noise (s = 1) along the target by ds = -1, as the pipeline's scheduler steps, arrives at the picture.
    assert torch.equal(noise - velocity_target(clean, noise), clean)


def test_the_step_of_diffusers_scheduler_inverts_the_noising() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(4)
    clean, noise = torch.randn(1, 5), torch.randn(1, 5)
    x = noisy_input(clean, noise, scheduler.sigmas[:1])
    for step in scheduler.timesteps:
        x = scheduler.step(velocity_target(clean, noise), step, x, return_dict=False)[0]
    torch.testing.assert_close(x, clean, atol=1e-5, rtol=1e-5)


def test_the_shift_is_the_pipelines_for_the_same_number_of_tokens() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    assert shift_factor_for_tokens(4096) == pytest.approx(3.1582, abs=1e-3)
    for tokens in (64, 1024, 4096):
        mu = calculate_shift(tokens, 256, 4096, 0.5, 1.15)
        scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
        scheduler.set_timesteps(sigmas=[0.8, 0.5, 0.2], mu=mu)
        ours = shift_sigma(torch.tensor([0.8, 0.5, 0.2]), shift_factor_for_tokens(tokens))
        torch.testing.assert_close(scheduler.sigmas[:3], ours)


@pytest.mark.parametrize("density", ["logit_normal", "uniform", "mode"])
def test_densities_are_those_of_diffusers(density: str) -> None:
    from diffusers.training_utils import compute_density_for_timestep_sampling

    torch.manual_seed(0)
    theirs = compute_density_for_timestep_sampling(
        density if density != "uniform" else "none", 20_000, logit_mean=0.3, logit_std=0.8, mode_scale=1.29
    )
    recipe = SigmaRecipe(density=density, logit_mean=0.3, logit_std=0.8)  # type: ignore[arg-type]
    ours = sigma_of_uniform(torch.linspace(0, 1, 20_001)[1:-1], recipe, shift=1.0)
    assert ours.min() > 0 and ours.max() <= 1
    quantiles = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    expected, got = torch.quantile(theirs, quantiles), torch.quantile(ours, quantiles)
    torch.testing.assert_close(got, expected, atol=0.012, rtol=0)


def test_cosmap_is_the_papers_density() -> None:
    """Esser et al. 2024, section 3.1: pi(t) = 2 / (pi - 2 pi t + 2 pi t^2), whose integral is 2/pi * atan(t / (1 - t))."""
    u = torch.linspace(0.01, 0.99, 50)
    sigma = sigma_of_uniform(u, SigmaRecipe(density="cosmap"), shift=1.0)
    torch.testing.assert_close(2 / math.pi * torch.atan(sigma / (1 - sigma)), u, atol=1e-5, rtol=0)


def test_a_mask_moves_the_loss_to_what_it_marks_without_shrinking_it() -> None:
    prediction, target = torch.zeros(1, 4, 2), torch.zeros(1, 4, 2)
    prediction[0, 0] = 2.0
    mask = torch.tensor([[[1.0], [0.0], [0.0], [0.0]]])
    assert flow_loss(prediction, target).item() == pytest.approx(1.0)
    assert flow_loss(prediction, target, mask).item() == pytest.approx(4.0)
    assert flow_loss(prediction, target, 1 - mask).item() == 0.0


def test_bfloat16_predictions_are_compared_in_float32() -> None:
    prediction = torch.full((1, 1000), 1.0, dtype=torch.bfloat16)
    loss = flow_loss(prediction, torch.full((1, 1000), 1.001))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1e-6, rel=1e-3) and not math.isnan(loss.item())
