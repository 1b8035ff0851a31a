import pytest
import torch

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.models.flux1.adapter import put_on
from flenwheel_core.models.flux1.encoding import Caption
from flenwheel_core.models.flux1.task import FluxItem, FluxTask
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from tests.kit.tiny_flux import tiny_transformer

BUCKET = "64x48"
TOKENS = 12


def caption(number: int) -> Caption:
    generator = torch.Generator().manual_seed(number)
    return Caption(torch.randn(5, 24, generator=generator), torch.randn(20, generator=generator))


def item(number: int, mask: torch.Tensor | None = None) -> FluxItem:
    generator = torch.Generator().manual_seed(100 + number)
    return FluxItem(BUCKET, torch.randn(TOKENS, 16, generator=generator), caption(number), mask)


ITEMS = [item(number) for number in range(6)]
PRIOR = [item(number) for number in range(50, 53)]


def adapted() -> AdaptedTransformer:
    result = put_on(tiny_transformer(), LoraRecipe(rank=2), seed=0)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, parameter in result.parameters.items():
            if "lora_B" in name:
                parameter.normal_(generator=generator, std=0.2)
    return result


def task(model: AdaptedTransformer, recipe: dict[str, object], items: list[FluxItem] = ITEMS, **more: int) -> FluxTask:
    plain = {"batch_size": 2, "prior": {"share": 0.0}, "sigma": {"shift": "none"}}
    chosen = TrainingRecipe.model_validate(plain | recipe)
    return FluxTask(model, chosen, items, PRIOR, caption(999), seed=1, sample=lambda step: None, **more)


def test_the_loss_is_that_of_the_paper_for_what_the_model_was_given() -> None:
    model = adapted()
    seen: dict[str, torch.Tensor] = {}
    handle = model.transformer.register_forward_hook(
        lambda module, args, kwargs, output: seen.update(kwargs, output=output[0]), with_kwargs=True
    )
    loss = task(model, {"batch_size": 1}, items=[ITEMS[0]]).loss(0)
    handle.remove()
    sigma, noisy = seen["timestep"].double(), seen["hidden_states"].double()
    clean = ITEMS[0].latents.double()
    noise = (noisy[0] - (1 - sigma) * clean) / sigma
    expected = ((seen["output"][0].double() - (noise - clean)) ** 2).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert abs(noise.mean()) < 0.3 and 0.7 < noise.std() < 1.3  # the noise is standard normal, so time is not reversed
    assert seen["guidance"].tolist() == [1.0]
    assert torch.equal(seen["encoder_hidden_states"][0], ITEMS[0].caption.sequence)
    assert torch.equal(seen["pooled_projections"][0], ITEMS[0].caption.pooled)


def test_every_latent_meets_its_own_caption() -> None:
    model = adapted()
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    handle = model.transformer.register_forward_hook(
        lambda module, args, kwargs, output: pairs.append((kwargs["hidden_states"], kwargs["encoder_hidden_states"])),
        with_kwargs=True,
    )
    # Noise level near zero: the noisy input is the latent itself.
    quiet = {"sigma": {"shift": 1e-6}, "batch_size": 3}
    for index in range(4):
        task(model, quiet).loss(index)
    handle.remove()
    for noisy, text in pairs:
        for row in range(3):
            nearest = min(range(6), key=lambda n: float((ITEMS[n].latents - noisy[row]).norm()))
            assert torch.equal(text[row], ITEMS[nearest].caption.sequence)


def test_losses_depend_on_seed_and_index_only() -> None:
    model = adapted()
    first, again = task(model, {}), task(model, {})
    losses = [first.loss(index).item() for index in range(5)]
    assert again.loss(3).item() == losses[3]
    assert len(set(losses)) == 5


def test_processes_share_a_batch_without_changing_it() -> None:
    model = adapted()
    recipe = {"batch_size": 4, "prior": {"share": 0.25}}
    whole = task(model, recipe).loss(2).item()
    halves = [task(model, {**recipe, "batch_size": 2}, rank=rank, world=2).loss(2).item() for rank in range(2)]
    assert sum(halves) / 2 == pytest.approx(whole, rel=1e-5)


def test_a_prior_item_asks_for_the_base_models_prediction() -> None:
    """With the adapter's B at zero the model is the base: prior items then have no loss and no gradient."""
    model = put_on(tiny_transformer(), LoraRecipe(rank=2), seed=0)
    only_prior = task(model, {"batch_size": 1, "prior": {"share": 0.99}})
    assert only_prior.loss(1).item() == pytest.approx(0.0, abs=1e-10)
    changed = task(adapted(), {"batch_size": 1, "prior": {"share": 0.99}})
    assert changed.loss(1).item() > 1e-4
    pictures = task(model, {"batch_size": 1, "prior": {"share": 0.99, "method": "images"}})
    assert pictures.loss(1).item() > 0.1


def test_prior_items_make_their_share_of_all_items() -> None:
    model = adapted()
    run = task(model, {"prior": {"share": 0.3}})
    count = 0
    for index in range(50):
        chosen, _ = run._choose(index, run._order.batch(index))
        count += sum(is_prior for _, is_prior in chosen)
    assert count == 30


@pytest.mark.parametrize("prior", [0.0, 0.5])
def test_what_lies_outside_of_a_mask_has_no_part_in_the_loss(prior: float) -> None:
    """The slope at the target is that at the prediction, with its sign turned. A prior item has no mask: all of it counts."""
    mask = torch.zeros(TOKENS, 1)
    mask[:3] = 1.0
    masked = task(adapted(), {"prior": {"share": prior, "method": "images"}}, items=[item(0, mask), item(1)])
    chosen = [(PRIOR[0], True) if prior else (item(1), False), (item(0, mask), False)]
    given = masked._arguments(0, chosen, [0, 1])
    given["target"].requires_grad_()
    masked._loss_of(**given).backward()
    slope = given["target"].grad
    assert slope is not None and slope[0].abs().min() > 0
    assert slope[1, :3].abs().min() > 0 and slope[1, 3:].abs().max() == 0


def test_masked_tokens_decide_the_loss_and_dropped_captions_are_empty() -> None:
    model = adapted()
    mask = torch.zeros(TOKENS, 1)
    mask[:3] = 1.0
    masked = task(model, {"batch_size": 1}, items=[item(0, mask)])
    plain = task(model, {"batch_size": 1}, items=[item(0)])
    assert masked.loss(0).item() != plain.loss(0).item()

    texts: list[torch.Tensor] = []
    handle = model.transformer.register_forward_hook(
        lambda module, args, kwargs, output: texts.append(kwargs["encoder_hidden_states"]), with_kwargs=True
    )
    dropped = task(model, {"caption_dropout": 0.5})
    for index in range(40):
        dropped.loss(index)
    handle.remove()
    empty = sum(torch.equal(row, caption(999).sequence) for text in texts for row in text)
    assert 20 < empty < 60


def test_a_batch_in_parts_has_the_loss_and_the_gradients_of_the_whole() -> None:
    model, masked = adapted(), item(7, torch.linspace(0, 1, TOKENS)[:, None])
    recipe: dict[str, object] = {"batch_size": 4, "prior": {"share": 0.5, "weight": 0.7}, "caption_dropout": 0.3}
    found = []
    for cores in (1, 2):
        given = task(model, recipe, [*ITEMS[:3], masked], cores=cores)
        steps = []
        for index in range(3):
            loss = given.loss(index)
            loss.backward()
            gradients = torch.cat(
                [parameter.grad.flatten() for parameter in model.parameters.values() if parameter.grad is not None]
            )
            model.transformer.zero_grad(set_to_none=True)
            steps.append((loss.item(), gradients))
        found.append(steps)
    for (whole, gradients), (parts, in_parts) in zip(*found, strict=True):
        assert parts == pytest.approx(whole, rel=1e-5)
        assert gradients.norm() > 0
        assert (in_parts - gradients).norm() < 1e-4 * gradients.norm()
    with torch.no_grad():
        assert task(model, recipe, cores=2).loss(0).item() == pytest.approx(task(model, recipe).loss(0).item())
