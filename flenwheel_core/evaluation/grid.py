"""The picture of a benchmark: the card's cells, champion beside challenger, scores under each."""

from collections.abc import Callable

from PIL import Image

from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.documents.scores import CellScore, Scorecard
from flenwheel_core.images.sheets import Tile, contact_sheet

PAIRS_PER_ROW = 4
"""One row an angle: the card's first 20 cells are 5 angles x 4 expressions."""


def draw_grid(
    challenger: Scorecard, champion: Scorecard | None, load: Callable[[str], Image.Image], *, tile_px: int = 128
) -> Image.Image:
    """The first seed of every cell. `load` gives the picture of a digest. Green frames passed, red ones did not."""
    cards = [card for card in (champion, challenger) if card is not None]
    first = [_first_of_each_cell(card) for card in cards]
    tiles = []
    for cell in cells_of(challenger):
        for scores, card in zip(first, cards, strict=True):
            name = "champion" if card is champion else "challenger"
            tiles.append(_tile(scores.get(cell), cell, name if champion is not None else "", load))
    title = _title(challenger, champion)
    return contact_sheet(tiles, columns=PAIRS_PER_ROW * len(cards), tile_px=tile_px, title=title)


def cells_of(card: Scorecard) -> tuple[str, ...]:
    """The cells of a card in its order: the scenes of a style card, or the 23 of the model card."""
    if card.style is not None:
        return tuple(dict.fromkeys(score.cell for score in card.cells))
    return tuple(cell.id for cell in CARD_CELLS)


def _first_of_each_cell(card: Scorecard) -> dict[str, CellScore]:
    found: dict[str, CellScore] = {}
    for score in card.cells:
        found.setdefault(score.cell, score)
    return found


def _tile(score: CellScore | None, cell: str, name: str, load: Callable[[str], Image.Image]) -> Tile:
    if score is None:
        return Tile(None, (cell, name))
    identity = f"{score.identity:.3f}" if score.identity is not None else "not found"
    wrong = [part for part, ok in (("angle", score.angle_ok), ("face", score.expression_ok)) if ok is False]
    if score.pose_ok is False:
        wrong.append("pose")
    if score.content is not None and score.content < 1:
        wrong.append(f"all: {score.content:.0%}")
    second = f"{name} {identity}" + (f" not {'+'.join(wrong)}" if wrong else "")
    good = score.passed if score.measured else None
    return Tile(load(score.image), (cell, second.strip()), good=good)


def _title(challenger: Scorecard, champion: Scorecard | None) -> str:
    text = f"first try {challenger.pass_rate:.0%}, {challenger.likeness}, diversity {challenger.diversity:.1f}"
    if champion is None:
        return text
    before = f"{champion.pass_rate:.0%}, {champion.likeness}, {champion.diversity:.1f}"
    return f"challenger: {text}  (champion {before})"
