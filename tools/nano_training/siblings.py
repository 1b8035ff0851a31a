"""Losses of nano klein and nano Z-Image, which learn together because they share a text encoder.

First part: flow matching as for the other nano models. klein draws, edits with one reference and edits with two; Z-Image draws the same
captions. Second part: classifier-free guidance goes into the weights (Meng et al. 2023), so that both draw with one call a step.
"""

from copy import deepcopy
from dataclasses import dataclass, fields

import torch
from diffusers import Flux2Transformer2DModel, ZImageTransformer2DModel
from torch import Tensor, nn
from transformers import Qwen3ForCausalLM

from flenwheel_core.nano.models.qwen3 import TEXT_TOKENS
from tools.nano_training.data import PICTURES_PER_CHARACTER, SCENE_PICTURES, SCENES
from tools.nano_training.editor import change_weight
from tools.nano_training.flux import NAMED_SHARE, face_loss
from tools.nano_training.sibling_models import (
    KleinModel,
    Layer,
    ZImageModel,
    compile_blocks,
    encoder_layer,
    encoder_taps,
)

DROPOUT = 0.1
DRAWING_STRENGTH, EDITING_STRENGTH = 2.0, 2.5
Z_TEXT_TOKENS = 96
TASKS = ("klein draws", "klein edits", "klein edits with two", "z_image draws")


@dataclass(frozen=True)
class Batches:
    """How many of each task are in a step."""

    draw: int
    edit: int
    edit_with_two: int


@dataclass
class SiblingData:
    """All training data, on the device."""

    latents: Tensor
    """(pictures, tokens, channels), packed, as the autoencoder gives them."""
    mean: Tensor
    """(channels,): klein's batch norm."""
    deviation: Tensor
    shift: Tensor
    """(): of Z-Image's autoencoder."""
    scale: Tensor
    captions: Tensor
    """(pictures, captions, text tokens): int16"""
    named_from: int
    source: Tensor
    """(edits,): rows of `latents`."""
    target: Tensor
    instructions: Tensor
    """(edits, text tokens): int16"""
    empty: Tensor
    """(text tokens,): the empty prompt."""
    pad: int

    def klein(self, rows: Tensor) -> Tensor:
        """Latents as klein sees them."""
        return (self.latents[rows].float() - self.mean) / self.deviation

    def z_image(self, rows: Tensor) -> Tensor:
        """Latents as Z-Image sees them."""
        return (self.latents[rows].float() - self.shift) * self.scale


@dataclass
class SiblingModels:
    """What is trained together."""

    encoder: Qwen3ForCausalLM
    klein: Flux2Transformer2DModel
    z_image: ZImageTransformer2DModel

    def modules(self) -> dict[str, nn.Module]:
        """By name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def frozen_copy(self) -> "SiblingModels":
        """A teacher with the same weights."""
        copy = SiblingModels(deepcopy(self.encoder), deepcopy(self.klein), deepcopy(self.z_image))
        for module in copy.modules().values():
            module.requires_grad_(False)
        return copy

    @torch.no_grad()
    def load_from(self, other: "SiblingModels") -> None:
        """Takes over the weights of `other`."""
        for mine, theirs in zip(self.modules().values(), other.modules().values(), strict=True):
            for param, source in zip(mine.parameters(), theirs.parameters(), strict=True):
                param.copy_(source)


class Siblings:
    """The models as functions of token ids."""

    def __init__(self, models: SiblingModels, pad: int, device: torch.device, *, compiles_blocks: bool = True) -> None:
        self.models = models
        self.pad = pad
        self.klein = KleinModel(models.klein, TEXT_TOKENS, device)
        self.z_image = ZImageModel(models.z_image, Z_TEXT_TOKENS, device)
        self.layer: Layer = encoder_layer
        if device.type == "cuda":
            self.layer = torch.compile(encoder_layer, dynamic=False)
            if compiles_blocks:
                compile_blocks(models.klein, models.z_image)

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What klein reads (batch, tokens, 3 * width), what Z-Image reads (batch, tokens, width), and which tokens are valid."""
        valid = ids != self.pad
        taps = encoder_taps(self.models.encoder, ids, valid, self.layer)
        return torch.cat(taps, dim=-1), taps[-1], valid


@dataclass
class _Batch:
    rows: Tensor
    source: Tensor
    target: Tensor
    second: Tensor
    ids: Tensor
    """(draw + edits, text tokens): prompts, of which some are empty."""


def _draw(data: SiblingData, sizes: Batches) -> _Batch:
    device = data.latents.device
    count = len(data.latents)
    named = data.named_from + torch.randint(count - data.named_from, (sizes.draw,), device=device)
    rows = torch.randint(data.named_from, (sizes.draw,), device=device)
    rows = torch.where(torch.rand(sizes.draw, device=device) < NAMED_SHARE, named, rows)
    which = torch.randint(data.captions.shape[1], (sizes.draw,), device=device)
    edits = torch.randint(len(data.source), (sizes.edit + sizes.edit_with_two,), device=device)
    ids = torch.cat([data.captions[rows, which], data.instructions[edits]]).long()
    dropped = torch.rand(len(ids), 1, device=device) < DROPOUT
    source = data.source[edits]
    return _Batch(rows, source, data.target[edits], other_scene(source), torch.where(dropped, data.empty.long(), ids))


def other_scene(rows: Tensor) -> Tensor:
    """For each picture one of the same character in another scene: it shows who it is and nothing of the answer."""
    scene = rows % PICTURES_PER_CHARACTER // SCENE_PICTURES
    step = torch.randint(1, SCENES, rows.shape, device=rows.device)
    place = torch.randint(SCENE_PICTURES, rows.shape, device=rows.device)
    return rows // PICTURES_PER_CHARACTER * PICTURES_PER_CHARACTER + (scene + step) % SCENES * SCENE_PICTURES + place


def _sigma(count: int, device: torch.device) -> Tensor:
    return torch.sigmoid(0.2 + 1.1 * torch.randn(count, device=device))


def _mixed(truth: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    level = sigma[:, None, None]
    return (1 - level) * truth + level * noise


@dataclass
class _Tasks:
    """Noisy latents of the four tasks and what they were made from."""

    ids: Tensor
    truth: tuple[Tensor, ...]
    noise: tuple[Tensor, ...]
    sigma: tuple[Tensor, ...]
    references: tuple[tuple[Tensor, ...], ...]

    @property
    def noisy(self) -> tuple[Tensor, ...]:
        return tuple(_mixed(*each) for each in zip(self.truth, self.noise, self.sigma, strict=True))


def _tasks(data: SiblingData, sizes: Batches) -> _Tasks:
    """klein draws, edits, edits with two references; Z-Image draws."""
    batch = _draw(data, sizes)
    one = slice(0, sizes.edit)
    two = slice(sizes.edit, None)
    source, target = data.klein(batch.source), data.klein(batch.target)
    truth = (data.klein(batch.rows), target[one], target[two], data.z_image(batch.rows))
    return _Tasks(
        ids=batch.ids,
        truth=truth,
        noise=tuple(torch.randn_like(each) for each in truth),
        sigma=tuple(_sigma(len(each), each.device) for each in truth),
        references=((), (source[one],), (source[two], data.klein(batch.second[two])), ()),
    )


def _velocities(siblings: Siblings, tasks: _Tasks, noisy: tuple[Tensor, ...], ids: Tensor) -> tuple[Tensor, ...]:
    """Predictions of the four tasks, float32."""
    draw, edit = len(noisy[0]), len(noisy[1])
    with torch.autocast(ids.device.type, torch.bfloat16, cache_enabled=False):
        for_klein, for_z_image, valid = siblings.read(ids)
        shares = (slice(0, draw), slice(draw, draw + edit), slice(draw + edit, None))
        found = [
            siblings.klein.velocity(noisy[number], tasks.sigma[number], for_klein[share], tasks.references[number])
            for number, share in enumerate(shares)
        ]
        found.append(siblings.z_image.velocity(noisy[3], tasks.sigma[3], for_z_image[:draw], valid[:draw]))
    return tuple(each.float() for each in found)


def _loss(tasks: _Tasks, predicted: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> Tensor:
    """Drawing, editing (all edits weigh the same) and Z-Image's drawing, each about as much."""
    edits = sum(len(each) for each in predicted[1:3])
    total = face_loss(predicted[0], wanted[0]) + face_loss(predicted[3], wanted[3])
    for number in (1, 2):
        weight = change_weight(tasks.truth[number], tasks.references[number][0])
        error = (weight * (predicted[number] - wanted[number]) ** 2).mean()
        total = total + error * len(predicted[number]) / edits
    return total


class _Told:
    """Keeps how far each task of the last step was from what was wanted, on the device."""

    def __init__(self, siblings: Siblings, data: SiblingData, sizes: Batches) -> None:
        self.siblings, self.data, self.sizes = siblings, data, sizes
        self._shares = torch.zeros(len(TASKS), device=data.latents.device)

    def shares(self) -> dict[str, float]:
        """The error of each task in the last step as a share of that of predicting nothing."""
        return dict(zip(TASKS, self._shares.tolist(), strict=True))

    @torch.no_grad()
    def _note(self, predicted: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
        found = [((p - w) ** 2).mean() / (w**2).mean() for p, w in zip(predicted, wanted, strict=True)]
        self._shares.copy_(torch.stack(found))


class BaseLoss(_Told):
    """Flow matching."""

    def __call__(self) -> Tensor:
        tasks = _tasks(self.data, self.sizes)
        predicted = _velocities(self.siblings, tasks, tasks.noisy, tasks.ids)
        wanted = tuple(n - t for n, t in zip(tasks.noise, tasks.truth, strict=True))
        self._note(predicted, wanted)
        return _loss(tasks, predicted, wanted)


class GuidedLoss(_Told):
    """The models learn to predict at once what classifier-free guidance makes of a teacher."""

    def __init__(self, siblings: Siblings, teacher: Siblings, data: SiblingData, sizes: Batches) -> None:
        super().__init__(siblings, data, sizes)
        self.teacher = teacher

    def __call__(self) -> Tensor:
        tasks = _tasks(self.data, self.sizes)
        noisy = tasks.noisy
        with torch.no_grad():
            asked = _velocities(self.teacher, tasks, noisy, tasks.ids)
            unasked = _velocities(self.teacher, tasks, noisy, self.data.empty.long().expand(len(tasks.ids), -1))
            strengths = (DRAWING_STRENGTH, EDITING_STRENGTH, EDITING_STRENGTH, DRAWING_STRENGTH)
            wanted = tuple(u + s * (a - u) for a, u, s in zip(asked, unasked, strengths, strict=True))
        predicted = _velocities(self.siblings, tasks, noisy, tasks.ids)
        self._note(predicted, wanted)
        return _loss(tasks, predicted, wanted)
