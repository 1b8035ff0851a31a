"""Pictures side by side."""

from collections.abc import Sequence

from PIL import Image

GROUND = (24, 24, 28)


def contact_sheet(images: Sequence[Image.Image], columns: int, *, gap_px: int = 2) -> Image.Image:
    """The pictures, all of one size, in rows of `columns`."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (width + gap_px) - gap_px, rows * (height + gap_px) - gap_px), GROUND)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet.paste(image, (column * (width + gap_px), row * (height + gap_px)))
    return sheet
