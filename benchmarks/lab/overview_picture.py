"""Draws the picture at the top of the README from a finished turn: `python -m benchmarks.lab.overview_picture WORKSPACE`."""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate, Verdict
from flenwheel_core.gates.session import Reviews
from flenwheel_core.images.sheets import BAD, GOOD, INK, PAPER
from flenwheel_core.library.characters import Library
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture

OUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "overview.webp"
COLUMNS, SIDE, MARGIN, TEXT = 10, 96, 6, 26
AMBER = (196, 132, 24)
FRAMES = {Verdict.GOOD: GOOD, Verdict.NEEDS_CORRECTION: AMBER, Verdict.REJECT: BAD}


def main(workspace: Path) -> None:
    """Sources, what the gates saw (framed by verdict), and the training pool."""
    store = Store(Settings(workspace=workspace).store_url)
    library, reviews = Library(store), Reviews(store)
    name = library.characters()[0]
    pool = library.pool(name)
    rows: list[tuple[str, list[tuple[str, tuple[int, int, int] | None]]]] = [
        ("sources: what a person brings", [(entry.image.digest, None) for entry in pool if entry.real]),
    ]
    closed = [gate for gate in (reviews.closed(gate) for gate in reviews.gates()) if gate is not None]
    for kind, title in (
        ("enriched", "gate A: edits of the sources (green good, amber corrected, red rejected)"),
        ("synthetic", "gate B: drawn by LoRA v1"),
    ):
        gates = [gate for gate in closed if reviews.get(gate.gate).kind == kind]
        rows.append((title, _framed(reviews, gates[:1])))
    _draw(store, rows).save(OUT, quality=50, method=6)
    print(OUT)


def _framed(reviews: Reviews, gates: list[ClosedGate]) -> list[tuple[str, tuple[int, int, int] | None]]:
    found = []
    for gate in gates:
        by_verdict = {verdict: list(reviews.decisions(gate).images(verdict)) for verdict in Verdict}
        picked = (
            by_verdict[Verdict.GOOD][:6] + by_verdict[Verdict.NEEDS_CORRECTION][:2] + by_verdict[Verdict.REJECT][:2]
        )
        chosen = {image: verdict for verdict, images in by_verdict.items() for image in images if image in picked}
        found += [(image, FRAMES[verdict]) for image, verdict in chosen.items()]
    return found


def _draw(store: Store, rows: list[tuple[str, list[tuple[str, tuple[int, int, int] | None]]]]) -> Image.Image:
    height = len(rows) * (SIDE + TEXT + MARGIN) + MARGIN
    sheet = Image.new("RGB", (COLUMNS * (SIDE + MARGIN) + MARGIN, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (title, pictures) in enumerate(rows):
        top = MARGIN + row * (SIDE + TEXT + MARGIN)
        draw.text((MARGIN, top + 4), title, INK, font=ImageFont.load_default(size=15))
        for column, (digest, frame) in enumerate(pictures[:COLUMNS]):
            x, y = MARGIN + column * (SIDE + MARGIN), top + TEXT
            sheet.paste(load_picture(store, digest).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y))
            if frame is not None:
                draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), outline=frame, width=4)
    return sheet


if __name__ == "__main__":
    main(Path(sys.argv[1]))
