"""What drawing, editing and training would do with a card, from sizes on the disk alone."""

import math
from pathlib import Path

from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.given_path import given_path, is_file
from flenwheel_core.models.card_plan import UNPLANNED, CardRoom, StagePlan, planned
from flenwheel_core.models.hub_file import hub_file
from flenwheel_core.models.known_models import KNOWN_FILES
from flenwheel_core.models.qwen_image.adapter import (
    FAST_STORAGE,
    STORAGE_OF_FORMAT,
    TARGETS,
    linear_shapes_of,
    trains_fast,
)
from flenwheel_core.models.qwen_image.conditioning import EditSizes, drawn_sizes, plan_sizes
from flenwheel_core.models.qwen_image.fast_drawing import PROMPT_TOKENS, drawing_memory, storages_for_drawing
from flenwheel_core.models.qwen_image.fit import SHARE_OF_BF16, choose_storage
from flenwheel_core.models.qwen_image.loading import bf16_gib, revision_of
from flenwheel_core.models.qwen_image.memory import encoder_peak_gib, plan_encoder, plan_training, training_spec
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.transformer.shell import transformer_config


def card_plans(folder: Path, recipe: Recipe, use: str, card: CardRoom) -> list[StagePlan]:
    """For square pictures of the recipe's size, edits and lessons with the recipe's references; longer formats need about as much."""
    config = transformer_config(folder)
    sizes_gib = {part: bf16_gib(folder / part) for part in ("transformer", "text_encoder")}
    revision, draws = revision_of(folder), use == "base"
    asked = recipe.train if draws else recipe.editor.train
    lessons = 2 if not draws and recipe.editor.compares else 1
    linears = linear_shapes_of(config)
    ranks = lora_ranks(linears, asked.lora, TARGETS)
    adapter = sum(rank * sum(linears[name]) for name, rank in ranks.items())

    def size_of(area: int) -> EditSizes:
        side = math.isqrt(area)
        return (
            drawn_sizes(side, side)
            if draws
            else plan_sizes([(1024, 1024)] * recipe.enrich.references, revision, area=area)
        )

    def drawing() -> tuple[str, float]:
        sampler = recipe.generate.sampler if draws else recipe.enrich.sampler
        storages = storages_for_drawing(config, fp8=card.multiplies_fp8)
        worn, size = (
            adapter if draws else _lora_weights(recipe),
            size_of(sampler.width * sampler.height),
        )
        plan = drawing_memory(folder, config, [size], worn, storages, card.usable_gib)
        encoder = plan_encoder(sizes_gib["text_encoder"], card.usable_gib)
        before = encoder_peak_gib(sizes_gib["text_encoder"], encoder)
        return f"{plan.describe()}; encoder in {encoder}, {before:.1f} GiB before", max(plan.predicted_gib, before)

    wanted = STORAGE_OF_FORMAT[asked.weight_format] if draws else recipe.editor.storage

    def training() -> tuple[str, float]:
        storage = choose_storage(sizes_gib, card.usable_gib, wanted)
        size = size_of(asked.resolution**2)
        spec = training_spec(config, weights_gib=sizes_gib["transformer"] * SHARE_OF_BF16[storage])
        plan = plan_training(
            spec,
            storage=FAST_STORAGE[storage],
            adapter_weights=adapter,
            tokens=lessons * (size.target_tokens + size.reference_tokens + size.shown_tokens + PROMPT_TOKENS),
            optimizer=asked.optimizer,
            usable_gib=card.usable_gib,
            memory_level=0,
        )
        return plan.describe(spec), plan.predicted_gib

    draw, train = ("generate, benchmark", "train") if draws else ("enrich", "edit_train")
    if not trains_fast(ranks, asked, wanted or "bf16"):
        return [planned(draw, drawing), StagePlan(train, UNPLANNED, None)]
    return [planned(draw, drawing), planned(train, training)]


def _lora_weights(recipe: Recipe) -> int:
    """Of the LoRAs that the recipe names: a file in bfloat16 has two bytes a weight."""
    total = 0
    for lora in recipe.enrich.loras:
        file, path = hub_file(lora.file), given_path(lora.file)
        known = None if file is None else KNOWN_FILES.get(f"{file.hub_id}:{file.path}")
        total += known.size_bytes if known is not None else path.stat().st_size if is_file(path) else 0
    return total // 2
