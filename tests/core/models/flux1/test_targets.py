from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from flenwheel_core.adapters.targets import ModelLinears, lora_ranks
from flenwheel_core.base.errors import RecipeError
from flenwheel_core.models.flux1.adapter import TARGETS, linear_shapes_of
from flenwheel_core.models.flux1.packing import image_ids, pack, unpack
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.train import LoraRecipe
from tests.kit.tiny_flux import tiny_transformer

NAMES = [name for name, module in tiny_transformer().named_modules() if isinstance(module, torch.nn.Linear)]


def test_the_default_covers_attention_and_mlp_of_both_block_kinds_and_nothing_else() -> None:
    ranks = lora_ranks(NAMES, LoraRecipe(rank=16), TARGETS)
    assert len(ranks) == 2 * 12 + 3 * 5
    assert {"single_transformer_blocks.0.proj_mlp", "single_transformer_blocks.2.proj_out"} <= set(ranks)
    assert not any("norm" in name or name == "proj_out" or "embedder" in name for name in ranks)
    assert set(ranks.values()) == {16}


def test_blocks_limit_and_block_ranks_change() -> None:
    ranks = lora_ranks(
        NAMES, LoraRecipe(rank=4, blocks=("single:1-2", "double:0"), block_ranks={"single:2": 8}), TARGETS
    )
    assert len(ranks) == 12 + 2 * 5
    assert ranks["single_transformer_blocks.2.proj_out"] == 8 and ranks["single_transformer_blocks.1.proj_out"] == 4


@pytest.mark.parametrize(
    ("preset", "blocks"),
    [
        ("double", {"transformer_blocks.0", "transformer_blocks.1"}),
        ("double_early", {"transformer_blocks.0"}),
        ("double_late", {"transformer_blocks.1"}),
        ("single_early", {"single_transformer_blocks.0"}),
        ("single_late", {"single_transformer_blocks.1", "single_transformer_blocks.2"}),
    ],
)
def test_a_preset_names_a_kind_of_blocks_or_half_of_it(preset: str, blocks: set[str]) -> None:
    ranks = lora_ranks(NAMES, LoraRecipe(blocks=(preset,)), TARGETS)
    assert {".".join(name.split(".")[:2]) for name in ranks} == blocks


def test_groups_of_blocks_have_ranks_of_their_own_and_all_is_all() -> None:
    recipe = LoraRecipe(rank=2, blocks=("all",), block_ranks={"single": 4, "single_late": 8})
    ranks = lora_ranks(NAMES, recipe, TARGETS)
    assert set(ranks) == set(lora_ranks(NAMES, LoraRecipe(), TARGETS))
    assert {ranks["transformer_blocks.0.attn.to_q"], ranks["single_transformer_blocks.0.attn.to_q"]} == {2, 4}
    assert ranks["single_transformer_blocks.1.proj_mlp"] == 8


def test_a_kind_of_a_single_block_has_no_early_half() -> None:
    with pytest.raises(RecipeError, match="1 single blocks"):
        lora_ranks(["single_transformer_blocks.0.attn.to_q"], LoraRecipe(blocks=("single_early",)), TARGETS)


def test_the_sizes_of_style_loras_that_the_docs_name_are_those_of_flux_dev() -> None:
    config = {"num_layers": 19, "num_single_layers": 38, "num_attention_heads": 24, "attention_head_dim": 128}
    linears = ModelLinears(linear_shapes_of(config), TARGETS)

    def megabytes(lora: LoraRecipe) -> float:
        return linears.lora_parameters(lora) * 2 / 1e6  # in bf16

    recipe = load_recipe("flux_style_24gb").train.lora
    assert (recipe.rank, recipe.blocks) == (8, ("single_late",))
    attention = megabytes(recipe.model_copy(update={"rank": 4, "targets": ("attention",)}))
    said = (
        f'late single blocks, rank 8: a file of {megabytes(recipe):.0f} MB; of rank 4 with `targets = ["attention"]` '
        f"{attention:.1f} MB, of all blocks and rank 16 {megabytes(LoraRecipe(rank=16)):.0f} MB"
    )
    assert said in (Path(__file__).parents[4] / "docs" / "styles.md").read_text()


def test_patterns_replace_groups_and_exclude_takes_away() -> None:
    ranks = lora_ranks(NAMES, LoraRecipe(include=("*.attn.to_q", "*.attn.to_k"), exclude=("single_*",)), TARGETS)
    assert set(ranks) == {f"transformer_blocks.{i}.attn.to_{part}" for i in range(2) for part in "qk"}
    modulation = lora_ranks(NAMES, LoraRecipe(targets=("modulation",)), TARGETS)
    assert len(modulation) == 2 * 2 + 3


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (LoraRecipe(include=("single_transformer_blocks.0.proj_mpl",)), "single_transformer_blocks.0.proj_mlp"),
        (LoraRecipe(blocks=("single:1-9",)), "single blocks 0 to 2"),
        (LoraRecipe(blocks=("triple:1",)), "no block range"),
        (LoraRecipe(blocks=("single_lates",)), "single_late"),
        (LoraRecipe(blocks=("triple_late",)), "presets all, double, single, double_early"),
        (LoraRecipe(include=("context_embedder",), blocks=("single:0",)), "no module at all"),
    ],
)
def test_what_names_nothing_is_refused_with_what_there_is(recipe: LoraRecipe, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        lora_ranks(NAMES, recipe, TARGETS)
    assert message in caught.value.message


def test_packing_is_that_of_the_pipeline() -> None:
    latents = torch.randn(2, 16, 6, 10)
    packed = pack(latents)
    assert torch.equal(packed, FluxPipeline._pack_latents(latents, 2, 16, 6, 10))
    assert torch.equal(unpack(packed, 3, 5), latents)
    theirs = FluxPipeline._prepare_latent_image_ids(1, 3, 5, torch.device("cpu"), torch.float32)
    assert torch.equal(image_ids(3, 5), theirs)
