"""Which linears of a transformer get an adapter, and of which rank."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.recipes.train import LoraRecipe, LoraTarget

_RANGE = re.compile(r"^(\w+):(\d+)(?:-(\d+))?$")
_HALVES = ("early", "late")
EVERYTHING = "all"
"""The preset that names every block."""


@dataclass(frozen=True)
class TargetNames:
    """What a family's linears are called."""

    groups: Mapping[LoraTarget, tuple[str, ...]]
    """Patterns of module names for each group that a recipe may name; * stands for any part."""
    blocks: Mapping[str, str]
    """For each kind of block that a recipe may name, the module list that holds them, such as double: transformer_blocks."""

    def block_of(self, name: str) -> tuple[str, int] | None:
        """Kind and index of the block that a linear belongs to; None for linears outside of blocks."""
        holder, _, rest = name.partition(".")
        kind = next((kind for kind, modules in self.blocks.items() if modules == holder), None)
        index = rest.partition(".")[0]
        return (kind, int(index)) if kind is not None and index.isdigit() else None

    @property
    def presets(self) -> tuple[str, ...]:
        """Names that stand for blocks of any model of the family: `all`, a kind, and the early or late half of a kind."""
        return (EVERYTHING, *self.blocks, *(f"{kind}_{half}" for kind in self.blocks for half in _HALVES))


@dataclass(frozen=True)
class ModelLinears:
    """What a LoRA may sit on in one model."""

    shapes: Mapping[str, tuple[int, int]]
    """Outputs and inputs of every linear, by name."""
    targets: TargetNames

    def lora_parameters(self, recipe: LoraRecipe) -> int:
        """How many numbers the LoRA of this recipe has; raises RecipeError as `lora_ranks` does."""
        ranks = lora_ranks(self.shapes, recipe, self.targets)
        return sum(rank * sum(self.shapes[name]) for name, rank in ranks.items())


@dataclass(frozen=True)
class _Span:
    kind: str
    first: int
    last: int

    def holds(self, block: tuple[str, int] | None) -> bool:
        return block is not None and block[0] == self.kind and self.first <= block[1] <= self.last


def lora_ranks(linears: Iterable[str], recipe: LoraRecipe, targets: TargetNames) -> dict[str, int]:
    """The rank of every linear that gets an adapter, by module name.

    Raises RecipeError for a pattern that names nothing (with the nearest existing name), for block ranges that do not exist and for
    names that are no preset.
    """
    names = list(linears)
    for pattern in (*recipe.include, *recipe.exclude):
        _require_match(pattern, names)
    patterns = recipe.include or tuple(p for group in recipe.targets for p in targets.groups[group])
    chosen = [n for n in names if _matches(n, patterns) and not _matches(n, recipe.exclude)]
    if recipe.blocks:
        spans = [span for text in recipe.blocks for span in _spans(text, names, targets)]
        chosen = [n for n in chosen if any(span.holds(targets.block_of(n)) for span in spans)]
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
        spans = _spans(text, names, targets)
        ranks |= {n: rank for n in chosen if any(span.holds(targets.block_of(n)) for span in spans)}
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


def _spans(text: str, names: list[str], targets: TargetNames) -> list[_Span]:
    """The blocks of a range such as `double:0-18`, or of a preset such as `single_late`."""
    counts = {kind: _count(kind, names, targets) for kind in targets.blocks}
    if text == EVERYTHING:
        return [_Span(kind, 0, count - 1) for kind, count in counts.items()]
    kind, _, half = text.rpartition("_") if text.endswith(tuple(f"_{one}" for one in _HALVES)) else (text, "", "")
    if kind in counts:
        # SplitFlux (arXiv 2511.15258) finds content in early single blocks and style in late ones; others disagree, so halves it is.
        first, last = {
            "": (0, counts[kind]),
            "early": (0, counts[kind] // 2),
            "late": (counts[kind] // 2, counts[kind]),
        }[half]
        if first == last:
            raise RecipeError(
                f"{text!r} names no block.",
                why=f"this model has {counts[kind]} {kind} blocks.",
                remedy=f"Write {kind!r} for all of them.",
            )
        return [_Span(kind, first, last - 1)]
    return [_range(text, counts, targets)]


def _count(kind: str, names: list[str], targets: TargetNames) -> int:
    indices = [block[1] for name in names if (block := targets.block_of(name)) is not None and block[0] == kind]
    return max(indices, default=-1) + 1


def _range(text: str, counts: Mapping[str, int], targets: TargetNames) -> _Span:
    match = _RANGE.match(text)
    if match is None or match[1] not in counts:
        kinds = " and ".join(counts)
        example = next(iter(counts))
        raise RecipeError(
            f"{text!r} is no block range of this model.",
            why=f"it has blocks of the kind {kinds}, and the presets {', '.join(targets.presets)}.",
            remedy=f"Write '{example}:0-18', '{example}:7' or '{example}_late'.",
        )
    kind, first, last = match[1], int(match[2]), int(match[3] or match[2])
    if first > last or last >= counts[kind]:
        raise RecipeError(
            f"The block range {text!r} does not exist.",
            why=f"This model has {kind} blocks 0 to {counts[kind] - 1}.",
            remedy="Give first and last block in that range.",
        )
    return _Span(kind, first, last)
