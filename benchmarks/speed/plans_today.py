"""What today's memory plans say of every rehearsal that was measured, in the way in which it ran (storage, what was computed twice, tiles).

python -m benchmarks.speed.plans_today     # no card is needed: the figures of cards are read from dress_rehearsal.json

Rehearsals cost hours of a card, plans are mended in between: dress_rehearsal.json says what was planned then, this what is planned now.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.speed import edit_world, flux_world
from benchmarks.speed.rehearsal_bases import Z_IMAGE
from benchmarks.speed.rehearsal_folders import LIGHTNING_RANK
from benchmarks.speed.rehearsal_klein import KleinSizes
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.card import GIB
from flenwheel_core.memory.drawing import DrawingSpec, Largest, predict_drawing_gib
from flenwheel_core.memory.encoding import encoding_gib
from flenwheel_core.memory.training import ModelSpec, before_adapters, predict_gib, recompute_steps
from flenwheel_core.models.flux1 import adapter as flux1_adapter
from flenwheel_core.models.flux1 import memory as flux1
from flenwheel_core.models.flux2 import lora_host as flux2_host
from flenwheel_core.models.flux2 import memory as flux2
from flenwheel_core.models.flux2 import names as flux2_names
from flenwheel_core.models.flux2.geometry import TEXT_TOKENS
from flenwheel_core.models.qwen_image import adapter as qwen_adapter
from flenwheel_core.models.qwen_image import memory as qwen
from flenwheel_core.models.qwen_image.conditioning import Revision, drawn_sizes, plan_sizes
from flenwheel_core.models.qwen_image.fast_drawing import PROMPT_TOKENS
from flenwheel_core.models.qwen_image.fit import SHARE_OF_BF16
from flenwheel_core.models.z_image import memory as z_image
from flenwheel_core.models.z_image import names as z_image_names
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe

NEAR = 0.05
EDITING = ("enrich", "enrich_40", "edit_train", "edit_compare")
_TRAINING = ("train", "train_no_prior", "edit_train")
_PIXELS = 1024 * 1024
_TOKENS = 64 * 64
_VAE_GIB = 168e6 / GIB
_QWEN_VAE_GIB = 254e6 / GIB
_OWN_RECIPE = Path(__file__).parent / "klein_rank16.toml"
_TRAINED = re.compile(r"(fp8|nf4) weights( kept twice)?, (\d+) of \d+ blocks recomputed(?:, (\d+) of them keep)?")
_DRAWN = re.compile(r"(dense|fp8|nf4) weights, pictures decoded (whole|in tiles of (\d+) px)")
_STORAGES: Mapping[str, Storage] = {"dense": "dense", "fp8": "fp8", "nf4": "nf4"}


@dataclass(frozen=True)
class Lora:
    """What a LoRA of a rank weighs, and on which blocks of each kind it sits."""

    weights: int
    numbers: tuple[set[int], ...] = ()


class Family(Protocol):
    """What the plans ask of a family."""

    encoders_gib: float
    """Size of its text encoders in bfloat16."""

    def lora(self, recipe: LoraRecipe) -> Lora: ...

    def drawing(self) -> DrawingSpec: ...

    def training(self, storage: Storage, lora: Lora) -> ModelSpec: ...

    def drawn_tokens(self, references: int) -> int: ...

    def step_tokens(self, recipe: TrainingRecipe, references: int) -> int: ...


class _Flux1:
    encoders_gib = (9.524e9 + 0.246e9) / GIB

    def lora(self, recipe: LoraRecipe) -> Lora:
        shapes = flux1_adapter.linear_shapes_of(flux_world.CONFIGS["full"])
        ranks = lora_ranks(shapes, recipe, flux1_adapter.TARGETS)
        kinds = ("transformer_blocks", "single_transformer_blocks")
        numbers = tuple({int(name.split(".")[1]) for name in ranks if name.split(".")[0] == kind} for kind in kinds)
        return Lora(_weights(ranks, shapes), numbers)

    def drawing(self) -> DrawingSpec:
        return flux1.drawing_spec(flux_world.CONFIGS["full"])

    def training(self, storage: Storage, lora: Lora) -> ModelSpec:
        spec = flux1.flux_spec(flux_world.CONFIGS["full"])
        return before_adapters(spec, lora.numbers) if lora.numbers else spec

    def drawn_tokens(self, references: int) -> int:
        return (1 + references) * _TOKENS + flux1.TEXT_TOKENS

    def step_tokens(self, recipe: TrainingRecipe, references: int) -> int:
        return flux1.step_tokens(recipe, 1 + references)


class _Klein:
    encoders_gib = 8.045e9 / GIB

    def lora(self, recipe: LoraRecipe) -> Lora:
        shapes = flux2_host.linear_shapes_of(_klein())
        return Lora(_weights(lora_ranks(shapes, recipe, flux2_names.TARGETS), shapes))

    def drawing(self) -> DrawingSpec:
        return flux2.drawing_spec(_klein(), vae_gib=_VAE_GIB)

    def training(self, storage: Storage, lora: Lora) -> ModelSpec:
        return flux2.training_spec(_klein())

    def drawn_tokens(self, references: int) -> int:
        return (1 + references) * _TOKENS + TEXT_TOKENS

    def step_tokens(self, recipe: TrainingRecipe, references: int) -> int:
        return recipe.batch_size * ((1 + references) * (recipe.resolution // 16) ** 2 + recipe.text_tokens)


class _ZImage:
    encoders_gib = 8.045e9 / GIB

    def lora(self, recipe: LoraRecipe) -> Lora:
        shapes = z_image_names.linear_shapes_of(_z_image())
        return Lora(_weights(lora_ranks(shapes, recipe, z_image_names.TARGETS), shapes))

    def drawing(self) -> DrawingSpec:
        return z_image.drawing_spec(_z_image(), vae_gib=_VAE_GIB)

    def training(self, storage: Storage, lora: Lora) -> ModelSpec:
        return z_image.training_spec(_z_image())

    def drawn_tokens(self, references: int) -> int:
        return _TOKENS + z_image.TEXT_TOKENS

    def step_tokens(self, recipe: TrainingRecipe, references: int) -> int:
        return recipe.batch_size * ((recipe.resolution // 16) ** 2 + recipe.text_tokens)


class _Qwen:
    encoders_gib = 16.58e9 / GIB

    def lora(self, recipe: LoraRecipe) -> Lora:
        shapes = qwen_adapter.linear_shapes_of(edit_world.CONFIGS["full"])
        return Lora(_weights(lora_ranks(shapes, recipe, qwen_adapter.TARGETS), shapes))

    def drawing(self) -> DrawingSpec:
        return qwen.drawing_spec(edit_world.CONFIGS["full"], vae_gib=_QWEN_VAE_GIB)

    def training(self, storage: Storage, lora: Lora) -> ModelSpec:
        share = SHARE_OF_BF16["nf4" if storage == "nf4" else "fp8"]
        return qwen.training_spec(edit_world.CONFIGS["full"], weights_gib=40.9e9 / GIB * share)

    def drawn_tokens(self, references: int) -> int:
        return self._tokens(_PIXELS, references)

    def step_tokens(self, recipe: TrainingRecipe, references: int) -> int:
        return recipe.batch_size * self._tokens(recipe.resolution**2, references)

    def _tokens(self, area: int, references: int) -> int:
        sizes = (
            plan_sizes([(1024, 1024)] * references, Revision.PLUS, area=area) if references else drawn_sizes(1024, 1024)
        )
        return sizes.target_tokens + sizes.reference_tokens + sizes.shown_tokens + PROMPT_TOKENS


_FAMILIES: Mapping[str, Family] = {
    "FLUX.1": _Flux1(),
    "FLUX.2": _Klein(),
    "Z-Image": _ZImage(),
    "Qwen-Image": _Qwen(),
}


def main() -> None:
    """Writes the result file."""
    measured = json.loads((RESULTS / "dress_rehearsal.json").read_text())
    write_result("plans_today", plans_today(measured["rows"]), measured=measured)


def plans_today(rehearsals: Sequence[Row]) -> list[Row]:
    """A row for every rehearsal of drawing, editing or training that ended."""
    rows = []
    for row in rehearsals:
        planned = plan_of(row) if row["ended"] else None
        measured = row["peak_reserved_gib"]
        if planned is None or measured is None:
            continue
        today, from_encoders = planned, False
        if row["stage"] not in _TRAINING and float(measured) > planned:
            # Where the encoders' memory was not given back before drawing, the card still held it, and it was counted.
            encoders = encoding_gib(
                _family(row).encoders_gib, "nf4" if "encoder in nf4" in str(row["plan"]) else "bf16"
            )
            today, from_encoders = max(planned, encoders), encoders > planned
        rows.append(
            {
                "case": str(row["case"]),
                "storage": str(row["storage"]),
                "peak_reserved_gib": float(measured),
                "planned_then_gib": row["predicted_gib"],
                "predicted_gib": today,
                "error_percent": 100 * (today / float(measured) - 1),
                "from_encoders": from_encoders,
            }
        )
    return rows


def plan_of(row: Row) -> float | None:
    """What today's plan says of the way in which a rehearsal ran, in GiB; None for stages without a plan of this kind."""
    text, stage = str(row["plan"] or ""), str(row["stage"])
    family, recipe = _family(row), _recipe(row)
    edits = stage in EDITING
    references = 1 if edits else 0
    asked = recipe.editor.train if edits else recipe.train
    trained, drawn = _TRAINED.search(text), _DRAWN.search(text)
    if trained is not None and stage in _TRAINING:
        storage, lora = _STORAGES[trained[1]], family.lora(asked.lora)
        spec = family.training(storage, lora)
        # Rehearsals of before, when plans did not know of blocks before the first adapter, recomputed the same share of each kind.
        plain = recompute_steps(family.training(storage, Lora(0)))
        steps = {sum(step): step for step in (*plain, *recompute_steps(spec))}
        return predict_gib(
            spec,
            storage=storage,
            modulation=storage,
            transposed=trained[2] is not None,
            recompute=steps[int(trained[3])],
            tokens=family.step_tokens(asked, references),
            adapter_weights=lora.weights,
            optimizer=asked.optimizer,
            attention_kept=int(trained[4] or 0),
        )
    if drawn is None:
        return None
    largest = Largest(family.drawn_tokens(references), _PIXELS, _worn(stage, family, recipe))
    tile = None if drawn[3] is None else int(drawn[3])
    return predict_drawing_gib(family.drawing(), largest, _STORAGES[drawn[1]], empties=tile is not None, tile_px=tile)


def _worn(stage: str, family: Family, recipe: Recipe) -> int:
    """Weights of the LoRAs that a stage of the rehearsal wears: a first turn's editor has none of its own, Qwen-Image's a few-step one."""
    few = (
        family.lora(LoraRecipe(rank=LIGHTNING_RANK)).weights if isinstance(family, _Qwen) and recipe.enrich.loras else 0
    )
    if stage == "enrich":
        return few
    if stage == "enrich_40":
        return family.lora(recipe.editor.train.lora).weights
    if stage == "edit_compare":
        return few + family.lora(recipe.editor.train.lora).weights
    return family.lora(recipe.train.lora).weights


def _family(row: Row) -> Family:
    models = _recipe(row).models
    name = models.editor if row["stage"] in EDITING else models.base
    return next(family for known, family in _FAMILIES.items() if known in name)


def _recipe(row: Row) -> Recipe:
    name = str(row["recipe"])
    return load_recipe(str(_OWN_RECIPE) if name == _OWN_RECIPE.stem else name)


def _weights(ranks: Mapping[str, int], shapes: Mapping[str, tuple[int, int]]) -> int:
    return sum(rank * sum(shapes[name]) for name, rank in ranks.items())


@cache
def _klein() -> Mapping[str, Any]:
    with torch.device("meta"):
        return dict(KleinSizes().transformer().config)


@cache
def _z_image() -> Mapping[str, Any]:
    with torch.device("meta"):
        return dict(Z_IMAGE.transformer().config)


if __name__ == "__main__":
    main()
