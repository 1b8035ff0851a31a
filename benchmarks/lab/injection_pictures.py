"""Draws `docs/images/injection-curve.png` from the result file, and with a work folder of that benchmark `docs/images/injection-grid.webp`.

    python -m benchmarks.lab.injection_pictures [the arguments of benchmarks.quality.injection, its --work and --kept among them]

The grid shows some of the unknown characters that the strength was chosen on, with the first prompt. What the work folder has is not drawn
again.
"""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.quality.injection import ALPHAS, SEEDS, arguments_of
from benchmarks.quality.injection_world import World
from benchmarks.result_file import RESULTS
from flenwheel_core.images.sheets import Tile, contact_sheet
from flenwheel_core.requests.inject import InjectionIdentity, InjectResult
from flenwheel_core.store.pictures import load_picture

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
CHARACTERS = 6
TILE_PX = 128
AFTER = "regression"
LINES = (
    (f"choice_{AFTER}", "identity", "identity, own photos", "#2b4c7e", "-"),
    (f"shuffled_choice_{AFTER}", "identity", "identity, another's photos", "#b23a48", "-"),
    (f"choice_{AFTER}", "prompt_kept", "prompt there", "#6b6b6b", "--"),
)

Row = Mapping[str, float | str | None]


def curve(rows: Sequence[Row]) -> bytes:
    """A PNG: what a strength brings and costs, on the characters that it was chosen on. The same rows give the same bytes."""
    found = {str(row["case"]): row for row in rows}
    figure = Figure(figsize=(6.4, 3.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for case, key, said, colour, style in LINES:
        points = [(alpha, row[key]) for alpha in (0.0, *ALPHAS) if (row := found.get(f"{case}_{alpha:g}"))]
        axes.plot(*zip(*points, strict=True), style, marker="o", color=colour, label=said)
    axes.set_xlabel("alpha")
    axes.set_title("Unknown characters, over the strength", fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def grid(world: World, drawn: InjectResult, characters: Sequence[InjectionIdentity]) -> Image.Image:
    """A row a character: a photo, no injection, each strength, and another's photos at 1."""
    by_key = {(one.identity, one.method, one.alpha): one.image for one in drawn.cells if one.prompt == 0}
    ways = [("injection", 0.0), *(("injection", alpha) for alpha in ALPHAS), ("shuffled", 1.0)]
    tiles = []
    for one in characters:
        tiles.append(Tile(load_picture(world.store, one.photos[0].image), ("a photo",)))
        for method, alpha in ways:
            said = "another's photos" if method == "shuffled" else f"alpha {alpha:g}"
            tiles.append(Tile(load_picture(world.store, by_key[one.name, method, alpha]), (said,)))
    return contact_sheet(tiles, columns=1 + len(ways), tile_px=TILE_PX)


def main() -> None:
    rows = json.loads((RESULTS / "injection.json").read_text())["rows"]
    (IMAGES / "injection-curve.png").write_bytes(curve(rows))
    if len(sys.argv) == 1:
        return
    arguments = arguments_of(sys.argv[1:])
    world = World.of(arguments, arguments.work)
    head, _ = world.head_after(AFTER)
    drawn = world.draw(world.choosing, head, SEEDS[:1], ("shuffled",), alphas=ALPHAS)
    grid(world, drawn, world.choosing[:CHARACTERS]).save(IMAGES / "injection-grid.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
