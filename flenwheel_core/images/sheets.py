"""Contact sheets: many small pictures with a line of text under each."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

INK = (32, 34, 38)
PAPER = (250, 250, 248)
EMPTY = (226, 226, 222)
GOOD = (38, 132, 74)
BAD = (186, 48, 44)
MARGIN_PX = 8
LINE_PX = 15


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet; None draws an empty place."""

    image: Image.Image | None
    lines: tuple[str, ...] = ()
    good: bool | None = None
    """Draws a green or red frame."""


def contact_sheet(tiles: Sequence[Tile], *, columns: int, tile_px: int = 160, title: str = "") -> Image.Image:
    """The tiles in rows of `columns`, each in a square of `tile_px`, text below it."""
    rows = max(1, -(-len(tiles) // columns))
    text_lines = max((len(tile.lines) for tile in tiles), default=0)
    cell_height = tile_px + text_lines * LINE_PX + MARGIN_PX
    top = MARGIN_PX + (2 * LINE_PX if title else 0)
    sheet = Image.new("RGB", (columns * (tile_px + MARGIN_PX) + MARGIN_PX, top + rows * cell_height + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    if title:
        draw.text((MARGIN_PX, MARGIN_PX), title, INK, font=ImageFont.load_default(size=16))
    for index, tile in enumerate(tiles):
        x = MARGIN_PX + (index % columns) * (tile_px + MARGIN_PX)
        y = top + (index // columns) * cell_height
        _draw_tile(sheet, draw, tile, x, y, tile_px)
        for line, text in enumerate(tile.lines):
            draw.text((x, y + tile_px + 2 + line * LINE_PX), _shorten(text, font, tile_px), INK, font=font)
    return sheet


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int, tile_px: int) -> None:
    box = (x, y, x + tile_px - 1, y + tile_px - 1)
    if tile.image is None:
        draw.rectangle(box, fill=EMPTY)
        return
    scale = tile_px / max(tile.image.size)
    size = (max(1, round(tile.image.width * scale)), max(1, round(tile.image.height * scale)))
    small = tile.image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    sheet.paste(small, (x + (tile_px - size[0]) // 2, y + (tile_px - size[1]) // 2))
    if tile.good is not None:
        draw.rectangle(box, outline=GOOD if tile.good else BAD, width=3)


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """`text`, cut with an ellipsis so that it stays inside its tile."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
