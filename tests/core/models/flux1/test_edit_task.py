"""Training an edit goes the way the pipeline draws it: the same tensors, the same time, the right sign."""

import pytest
import torch

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.engine.flow_matching import noisy_input, velocity_target
from flenwheel_core.models.flux1.adapter import put_on
from flenwheel_core.models.flux1.edit_task import KontextLesson, KontextTask, edit_ids
from flenwheel_core.models.flux1.encoding import Caption
from flenwheel_core.nano.models.flux import build_scheduler
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.transformer import edit_task as edit_task_module
from tests.kit.tiny_flux import tiny_transformer, trained
from tests.kit.tiny_kontext import tiny_pipeline

ROWS, COLUMNS = 3, 4
RECIPE = TrainingRecipe.model_validate({"batch_size": 2, "guidance": 2.0, "learning_rate": 1e-2})


def numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


PROMPT, EMPTY = (Caption(numbers(5, 24, seed=seed), numbers(20, seed=seed + 10)) for seed in (1, 2))
TARGET, SOURCE = numbers(ROWS * COLUMNS, 16, seed=3), numbers(ROWS * COLUMNS, 16, seed=4)
LESSON = KontextLesson(COLUMNS * 16, ROWS * 16, TARGET, SOURCE, PROMPT, EMPTY)


def task_of(adapted: AdaptedTransformer, lesson: KontextLesson = LESSON, **changes: object) -> KontextTask:
    recipe = RECIPE.model_copy(update=changes)
    return KontextTask(adapted, recipe, [lesson, lesson], seed=1, dtype=torch.float32)


@torch.no_grad()
def test_a_training_forward_is_the_pipelines_denoising_call() -> None:
    """One step of the pipeline from pure noise, and the trainer's prediction, move the latents to the same place."""
    adapted = trained(LoraRecipe(rank=4))
    pipeline = tiny_pipeline()
    pipeline.transformer = adapted.transformer
    source = pipeline._unpack_latents(SOURCE[None], ROWS * 16, COLUMNS * 16, 8)
    noise = numbers(1, ROWS * COLUMNS, 16, seed=9)
    drawn = pipeline(
        image=source,
        prompt_embeds=PROMPT.sequence[None],
        pooled_prompt_embeds=PROMPT.pooled[None],
        num_inference_steps=1,
        guidance_scale=RECIPE.guidance,
        width=COLUMNS * 16,
        height=ROWS * 16,
        max_area=ROWS * COLUMNS * 256,
        latents=noise,
        output_type="latent",
    ).images
    velocity = task_of(adapted).predict([LESSON], noise, torch.ones(1), [PROMPT])
    torch.testing.assert_close(noise - velocity, drawn, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def drawn_by(adapted: AdaptedTransformer) -> torch.Tensor:
    """The edit's tokens after four steps of the pipeline's scheduler."""
    scheduler, task = build_scheduler(), task_of(adapted)
    scheduler.set_timesteps(sigmas=torch.linspace(1.0, 0.25, 4).numpy(), mu=0.5)
    latents = numbers(1, ROWS * COLUMNS, 16, seed=9)
    for time in scheduler.timesteps:
        velocity = task.predict([LESSON], latents, (time / 1000)[None], [PROMPT])
        latents = scheduler.step(velocity, time, latents, return_dict=False)[0]
    return latents[0]


def test_training_moves_the_edit_towards_the_target_and_the_other_sign_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the other sign, whose loss goes down just as well, what is drawn is farther away."""

    def moved() -> float:
        adapted = put_on(tiny_transformer(), LoraRecipe(rank=8), seed=0)
        task = task_of(adapted)
        optimizer = torch.optim.Adam(list(adapted.parameters.values()), lr=1e-2)
        before = (drawn_by(adapted) - TARGET).square().mean()
        for index in range(40):
            optimizer.zero_grad()
            task.loss(index).backward()
            optimizer.step()
        return float((drawn_by(adapted) - TARGET).square().mean() / before)

    assert moved() < 0.9
    monkeypatch.setattr(edit_task_module, "velocity_target", lambda clean, noise: clean - noise)
    assert moved() > 1.1


@torch.no_grad()
def test_the_targets_velocity_is_what_the_scheduler_integrates_to_the_picture() -> None:
    scheduler, clean, noise = build_scheduler(), TARGET[None], numbers(1, ROWS * COLUMNS, 16, seed=9)
    scheduler.set_timesteps(sigmas=torch.linspace(1.0, 0.25, 4).numpy(), mu=0.5)
    latents = noise.clone()
    for time in scheduler.timesteps:
        torch.testing.assert_close(latents, noisy_input(clean, noise, (time / 1000)[None]), atol=1e-5, rtol=1e-5)
        latents = scheduler.step(velocity_target(clean, noise), time, latents, return_dict=False)[0]
    torch.testing.assert_close(latents, clean, atol=1e-5, rtol=1e-5)


def test_the_source_both_parts_of_the_prompt_and_the_guidance_are_seen() -> None:
    adapted = trained(LoraRecipe(rank=4))
    base = task_of(adapted).loss(0).item()
    for changed in (
        KontextLesson(64, 48, TARGET, TARGET, PROMPT, EMPTY),
        KontextLesson(64, 48, TARGET, SOURCE, Caption(EMPTY.sequence, PROMPT.pooled), EMPTY),
        KontextLesson(64, 48, TARGET, SOURCE, Caption(PROMPT.sequence, EMPTY.pooled), EMPTY),
    ):
        assert task_of(adapted, changed).loss(0).item() != base
    assert task_of(adapted, guidance=3.0).loss(0).item() != base
    assert task_of(adapted).loss(0).item() == base


def test_places_tell_source_and_edit_apart_and_only_the_edit_is_judged() -> None:
    ids = edit_ids(2, 3)
    assert ids[:6, 0].tolist() == [0.0] * 6 and ids[6:, 0].tolist() == [1.0] * 6
    assert torch.equal(ids[:6, 1:], ids[6:, 1:])
    predicted = task_of(trained(LoraRecipe(rank=4))).predict([LESSON], TARGET[None], torch.ones(1), [PROMPT])
    assert predicted.shape == (1, len(TARGET), 16)
    assert LESSON.tokens == 12 + 12 + 5 and LESSON.bucket == "64x48"
