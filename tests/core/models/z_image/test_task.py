"""Time and sign: Z-Image's run the other way round, and training would go down with either."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, adapt_by_peft, linear_names
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.z_image.drawing import DrawingParts, draw
from flenwheel_core.models.z_image.fast import FastZImage
from flenwheel_core.models.z_image.geometry import pack, unpack, velocity
from flenwheel_core.models.z_image.names import TARGETS
from flenwheel_core.models.z_image.task import ZImageItem, ZImageTask
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from tests.kit.state_source import StateSource
from tests.kit.tiny_z_image import CONFIG, TEXT_WIDTH, tiny_transformer

SCHEDULER = FlowMatchEulerDiscreteScheduler(shift=3.0)
RECIPE = {"batch_size": 2, "prior": {"share": 0.0}, "lora": {"rank": 2}}


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ITEMS = [
    ZImageItem("64x48", normal(number, 12, 16), normal(50 + number, 3 + number, TEXT_WIDTH)) for number in range(4)
]


class KnowsThePicture(torch.nn.Module):
    """A transformer that knows the only picture there is: from (1 - sigma) x + sigma n it tells x - n exactly, as Z-Image would."""

    dtype = torch.float32
    config = SimpleNamespace(in_channels=4)

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self._clean = clean
        self.times: list[float] = []

    def forward(self, x: list[Tensor], t: Tensor, texts: list[Tensor], return_dict: bool) -> tuple[list[Tensor]]:
        self.times += t.tolist()
        noise = [(noisy[:, 0] - time * self._clean[0]) / (1 - time) for noisy, time in zip(x, t, strict=True)]
        return ([(self._clean[0] - one)[:, None] for one in noise],)


def adapted() -> AdaptedTransformer:
    transformer = tiny_transformer()
    ranks = lora_ranks(linear_names(transformer), LoraRecipe(rank=2), TARGETS)
    return adapt_by_peft(transformer, ranks, LoraRecipe(rank=2), seed=0)


def task(model: AdaptedTransformer, items: list[ZImageItem] = ITEMS, **recipe: Any) -> ZImageTask:
    chosen = TrainingRecipe.model_validate(RECIPE | recipe)
    return ZImageTask(model, chosen, items, [], ITEMS[0].caption, scheduler=SCHEDULER, seed=1, sample=lambda step: None)


def test_drawing_walks_from_noise_to_the_picture_that_the_model_knows() -> None:
    clean = normal(3, 1, 4, 8, 12)
    knows = KnowsThePicture(clean)
    parts = DrawingParts(knows, SCHEDULER, None, torch.device("cpu"))  # type: ignore[arg-type]
    made = draw(parts, ITEMS[0].caption, None, Sampler(steps=4, width=96, height=64), seed=7)
    torch.testing.assert_close(made, clean, atol=1e-5, rtol=1e-5)
    assert knows.times == sorted(knows.times) and knows.times[0] == 0.0  # from noise, which is time 0


def test_a_model_that_knows_the_picture_has_nothing_to_learn() -> None:
    clean = normal(3, 1, 4, 6, 8)
    knows = KnowsThePicture(clean)
    model = AdaptedTransformer(knows, {"w": torch.nn.Parameter(torch.zeros(1))}, {}, {}, nullcontext)  # type: ignore[arg-type]
    item = ZImageItem("64x48", pack(clean)[0], ITEMS[0].caption)
    assert task(model, [item], batch_size=1).loss(0).item() == pytest.approx(0.0, abs=1e-8)


def test_the_loss_is_that_of_the_paper_for_what_the_model_was_given() -> None:
    model = adapted()
    seen: dict[str, Any] = {}
    model.transformer.register_forward_hook(lambda module, args, output: seen.update(args=args, output=output[0]))
    loss = task(model, ITEMS[:1], batch_size=1).loss(0)
    (noisy,), time, (text,) = seen["args"]
    sigma, clean = 1 - time.double(), unpack(ITEMS[0].latents[None], 3, 4)[0].double()
    noise = (noisy[:, 0].double() - (1 - sigma) * clean) / sigma
    expected = ((seen["output"][0][:, 0].double() - (clean - noise)) ** 2).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert abs(noise.mean()) < 0.4 and 0.6 < noise.std() < 1.4 and torch.equal(text, ITEMS[0].caption)


def test_captions_of_any_length_share_a_batch() -> None:
    """A batch of two is two batches of one: padding reaches nobody."""
    model = adapted()
    noisy, sigma = normal(1, 2, 12, 16), torch.tensor([0.3, 0.8])
    run = task(model)
    whole = run.predict(noisy, sigma, **run.texts([ITEMS[0].caption, ITEMS[3].caption]), **run.places("64x48", 3))
    for row, item in enumerate((ITEMS[0], ITEMS[3])):
        alone = run.predict(
            noisy[row : row + 1], sigma[row : row + 1], **run.texts([item.caption]), **run.places("64x48", 3)
        )
        torch.testing.assert_close(whole[row : row + 1], alone, atol=1e-4, rtol=1e-4)


def test_what_a_step_can_record_is_what_diffusers_computes() -> None:
    """The fast transformer takes padded texts, so that their shapes and the picture's decide everything."""
    reference = tiny_transformer()
    fast = FastZImage(CONFIG, StateSource(reference), FastPlan(compile=False, cudnn=False), AdapterPlan())
    given = []
    for transformer in (reference, fast):
        run = task(AdaptedTransformer(transformer, {"w": torch.nn.Parameter(torch.zeros(1))}, {}, {}, nullcontext))
        noisy, sigma = normal(1, 1, 12, 16), torch.tensor([0.3])
        given.append(run.predict(noisy, sigma, **run.texts([ITEMS[0].caption]), **run.places("64x48", 3)))
    torch.testing.assert_close(given[1], given[0], atol=2e-5, rtol=1e-4)


class Expects:
    """A recorder that records nothing."""

    def __init__(self) -> None:
        self.expected: list[int] = []
        self.prepared: list[tuple[int, ...]] = []

    def expect(self, shapes: int) -> None:
        self.expected.append(shapes)

    def prepare_loss(self, _name: str, _loss_of: Any, inputs: dict[str, Tensor]) -> None:
        self.prepared.append((*inputs["noisy"].shape, inputs["text"].shape[1]))

    def loss(self, _name: str, loss_of: Any, inputs: dict[str, Tensor]) -> Tensor:
        loss: Tensor = loss_of(**inputs)
        return loss


def test_every_length_of_text_is_known_before_the_first_step() -> None:
    """Each one that is met later would cost a recording of all."""
    long = ZImageItem("64x48", normal(9, 12, 16), normal(59, 40, TEXT_WIDTH))
    for dropout, lengths in ((0.0, [32, 64]), (0.1, [32, 64])):
        recorder = Expects()
        chosen = TrainingRecipe.model_validate(RECIPE | {"batch_size": 1, "caption_dropout": dropout})
        run = ZImageTask(
            adapted(), chosen, [*ITEMS, long], [], ITEMS[0].caption,
            scheduler=SCHEDULER, seed=1, sample=lambda step: None, recorder=recorder,  # type: ignore[arg-type]
        )  # fmt: skip
        run.loss(0)
        run.loss(1)
        assert recorder.expected == [2]
        assert recorder.prepared == [(1, 12, 16, length) for length in lengths]


def test_the_shift_is_the_schedulers() -> None:
    run = task(adapted())
    assert run.shift(12) == 3.0
    run._scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    assert run.shift(4096) == pytest.approx(2.718281828**1.15) and run.shift(256) == pytest.approx(2.718281828**0.5)


def test_packing_is_undone() -> None:
    latents = normal(1, 2, 4, 6, 8)
    assert torch.equal(unpack(pack(latents), 3, 4), latents)
    assert (
        velocity(tiny_transformer(), latents, torch.tensor([0.5, 0.9]), [ITEMS[0].caption] * 2).shape == latents.shape
    )
