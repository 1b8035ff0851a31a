"""Which kernel tells a collapsed LoRA from one that has learned the character's clothes: the drop of diversity, over its width.

Rendered characters that no other figure is of. `collapse`: every picture of the card shows one view, in another framing. `clothes`: from
a third of the pictures in other clothes to all in the character's own, which is no loss. The rule must see the first and pass the second.

    python -m benchmarks.quality.diversity_kernel       # a minute, no card
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.result_file import Row, write_result
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.evaluation.diversity import KERNEL_WIDTH, picture_kernel, vendi_score
from flenwheel_core.images.quality import measure
from flenwheel_core.nano.world import HELD_OUT_FROM, View, make_character, render
from flenwheel_core.recipes.benchmark import BenchmarkRecipe

FIRST_CHARACTER, CHARACTERS = HELD_OUT_FROM + 880_000, 6
WIDTHS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.12)
CLOTHES = ("blue shirt", "green hoodie", "red shirt")
Thumbnails = list[Any]


def card_views(clothing: str | None = None) -> Iterator[View]:
    """Two views for each cell of the model card."""
    for number, cell in enumerate((*CARD_CELLS, *CARD_CELLS)):
        yield View(
            angle=cell.angle or "front",
            expression=cell.expression or "neutral",
            pose=cell.pose,
            background="studio",
            lighting="day",
            clothing=clothing,
            seed=1000 + number,
        )


def thumbnails(seed: int, views: Sequence[View]) -> Thumbnails:
    """As the benchmark sees pictures."""
    character = make_character(seed)
    return [measure(render(character, view)).thumbnail for view in views]


def main() -> None:
    """Writes the result file."""
    rows: list[Row] = []
    found: dict[float, list[tuple[float, float, float]]] = {width: [] for width in WIDTHS}
    for seed in range(FIRST_CHARACTER, FIRST_CHARACTER + CHARACTERS):
        views = list(card_views())
        own = thumbnails(seed, views)
        one = thumbnails(seed, [replace(views[0], seed=view.seed) for view in views])
        mixed = [
            replace(view, clothing=CLOTHES[place % 3] if place % 3 == 0 else None) for place, view in enumerate(views)
        ]
        changing = thumbnails(seed, mixed)
        for width in WIDTHS:
            scores = [vendi_score(picture_kernel(pictures, width=width)) for pictures in (own, one, changing)]
            found[width].append((scores[0], 1 - scores[1] / scores[0], 1 - scores[0] / scores[2]))
    for width, figures in found.items():
        rows.append(
            {
                "case": f"width {width:g}",
                "width": width,
                "used": width == KERNEL_WIDTH,
                "characters": len(figures),
                "diversity_of_truth": statistics.fmean(one[0] for one in figures),
                "collapse_drop": statistics.fmean(one[1] for one in figures),
                "least_collapse_drop": min(one[1] for one in figures),
                "clothes_drop": statistics.fmean(one[2] for one in figures),
                "largest_clothes_drop": max(one[2] for one in figures),
                "alarm_from": BenchmarkRecipe().collapse_diversity_drop,
            }
        )
        print(rows[-1], flush=True)
    write_result("diversity_kernel", rows)


if __name__ == "__main__":
    main()
