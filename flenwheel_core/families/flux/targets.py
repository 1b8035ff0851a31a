"""Which linears of a FLUX transformer get an adapter, and of which rank."""

import difflib
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from flenwheel_core.errors import RecipeError
from flenwheel_core.recipes.train import LoraRecipe, LoraTarget

GROUPS: dict[LoraTarget, tuple[str, ...]] = {
    "attention": ("*transformer_blocks.*.attn.*",),
    "mlp": (
        "transformer_blocks.*.ff.net.*",
        "transformer_blocks.*.ff_context.net.*",
        "single_transformer_blocks.*.proj_mlp",
        "single_transformer_blocks.*.proj_out",
    ),
    "modulation": ("*transformer_blocks.*.norm*.linear",),
    "embedders": ("context_embedder", "time_text_embed.text_embedder.*"),
}
_BLOCK = re.compile(r"^(single_)?transformer_blocks\.(\d+)\.")
_RANGE = re.compile(r"^(double|single):(\d+)(?:-(\d+))?$")


def lora_ranks(linears: Iterable[str], recipe: LoraRecipe) -> dict[str, int]:
    """The rank of every linear that gets an adapter, by module name.

    Raises RecipeError for a pattern that names nothing (with the nearest existing name) and for wrong block ranges.
    """
    names = list(linears)
    for pattern in (*recipe.include, *recipe.exclude):
        _require_match(pattern, names)
    patterns = recipe.include or tuple(p for group in recipe.targets for p in GROUPS[group])
    chosen = [n for n in names if _matches(n, patterns) and not _matches(n, recipe.exclude)]
    if recipe.blocks:
        spans = [_span(text, names) for text in recipe.blocks]
        chosen = [n for n in chosen if any(_inside(n, span) for span in spans)]
    if not chosen:
        raise RecipeError(
            "The LoRA sits on no module at all.",
            why="targets, include, exclude and blocks leave nothing.",
            remedy="Widen train.lora.targets or train.lora.blocks.",
        )
    ranks = dict.fromkeys(chosen, recipe.rank)
    for text, rank in recipe.block_ranks.items():
        if rank < 1:
            raise RecipeError(
                f"block_ranks gives {text} the rank {rank}.", remedy="Use blocks or exclude to leave it out."
            )
        span = _span(text, names)
        ranks |= {n: rank for n in chosen if _inside(n, span)}
    return ranks


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _require_match(pattern: str, names: list[str]) -> None:
    if _matches_any(pattern, names):
        return
    near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3)
    raise RecipeError(
        f"The pattern {pattern!r} names no linear of this model.",
        why=f"The nearest name is {near[0]!r}." if near else "",
        remedy="Patterns match whole names, with * for any part: '*.attn.to_q'.",
    )


def _matches_any(pattern: str, names: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _span(text: str, names: list[str]) -> tuple[bool, int, int]:
    """(single?, first, last) of a range such as `double:0-18`."""
    match = _RANGE.match(text)
    if match is None:
        raise RecipeError(f"{text!r} is no block range.", remedy="Write 'double:0-18', 'single:10-37' or 'single:7'.")
    single = match[1] == "single"
    first = int(match[2])
    last = int(match[3] or match[2])
    blocks = [int(m[2]) for n in names if (m := _BLOCK.match(n)) and bool(m[1]) == single]
    if first > last or last > max(blocks, default=-1):
        raise RecipeError(
            f"The block range {text!r} does not exist.",
            why=f"This model has {match[1]} blocks 0 to {max(blocks, default=-1)}.",
            remedy="Give first and last block in that range.",
        )
    return single, first, last


def _inside(name: str, span: tuple[bool, int, int]) -> bool:
    match = _BLOCK.match(name)
    return match is not None and bool(match[1]) == span[0] and span[1] <= int(match[2]) <= span[2]
