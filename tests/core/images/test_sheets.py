"""Contact sheets hold every picture in its place."""

from PIL import Image

from flenwheel_core.images.sheets import GOOD, Tile, contact_sheet


def test_tiles_land_in_rows_and_frames_show_the_verdict() -> None:
    tiles = [Tile(Image.new("RGB", (10, 20), colour), ("a line",), good=True) for colour in ("red", "blue", "lime")]
    sheet = contact_sheet(tiles, columns=2, tile_px=50)
    assert sheet.size == (2 * 58 + 8, 8 + 2 * (50 + 15 + 8) + 8)
    assert sheet.getpixel((8 + 25, 8 + 25)) == (255, 0, 0)
    assert sheet.getpixel((66 + 25, 8 + 25)) == (0, 0, 255)
    assert sheet.getpixel((8 + 25, 81 + 25)) == (0, 255, 0)
    assert sheet.getpixel((8, 30)) == GOOD


def test_long_text_stays_inside_its_tile() -> None:
    plain = contact_sheet([Tile(None), Tile(None)], columns=2, tile_px=60)
    long = contact_sheet([Tile(None, ("w" * 200,)), Tile(None)], columns=2, tile_px=60)
    right_of_first = long.crop((69, 8, 130, 90))
    assert plain.width == long.width
    assert right_of_first.getpixel((0, 70)) == (250, 250, 248)
    assert all(colour == (250, 250, 248) for _, colour in right_of_first.crop((0, 61, 60, 75)).getcolors())


def test_no_tiles_is_an_empty_sheet() -> None:
    assert contact_sheet([], columns=4).height > 0
