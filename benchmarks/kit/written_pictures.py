"""Photographs with writing laid over them in known ways, as generators invent it, and which public photographs show writing as they are."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.kit.photographs import DATASET, EXAMPLES, KNN

Pixels = NDArray[np.uint8]
Random = np.random.Generator

SHOW_WRITING = frozenset(
    (
        *(f"{DATASET}/img{n}.jpg" for n in (1, 2, 3, 4, 5, 6, 23, 26, 28, 36, 37, 39, 42, 43, 46, 48, 49, 50, 53, 58, 67)),
        f"{KNN}/test/obama1.jpg",
        f"{KNN}/train/rose_leslie/img2.jpg",
    )
)  # fmt: skip
"""Photographs of benchmarks.kit.photographs with letters that a person sees at a glance, most of them cut off or out of focus."""
MAY_SHOW_WRITING = frozenset({f"{DATASET}/img44.jpg", f"{EXAMPLES}/two_people.jpg"})
"""Those in which one can argue about it: left out."""
FONTS = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Italic.ttf", "DejaVuSansMono.ttf", "STIXGeneralItalic.ttf",
)  # fmt: skip
"""Fonts that matplotlib ships, so that the pictures are the same everywhere."""
LETTERS = "abcdefghiklmnoprstuvwyzABCDEFGHKLMNPRSTUW0123456789"


def _font(random: Random, size: float) -> ImageFont.FreeTypeFont:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / FONTS[int(random.integers(len(FONTS)))]), max(8, round(size)))


def _words(random: Random, number: int) -> str:
    """Words that no language has."""
    sizes = random.integers(2, 9, size=number)
    return " ".join("".join(random.choice(list(LETTERS[:24]), size=size)) for size in sizes).capitalize()


def _line(text: str, font: ImageFont.FreeTypeFont, edge: int = 0) -> tuple[Image.Image, Image.Image]:
    """The letters as a mask, and with an edge around them."""
    left, top, right, bottom = font.getbbox(text, stroke_width=edge)
    size = (int(right - left) + 8, int(bottom - top) + 8)
    masks = []
    for width in (0, edge):
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).text((4 - left, 4 - top), text, fill=255, font=font, stroke_width=width)
        masks.append(mask)
    return masks[0], masks[1]


def subtitle(image: Image.Image, random: Random) -> Image.Image:
    """One or two lines at the bottom, light with a dark edge."""
    height = image.height * random.uniform(0.028, 0.05)
    font, made = _font(random, height), image.copy()
    for row in range(int(random.integers(1, 3))):
        inside, around = _line(_words(random, int(random.integers(2, 6))), font, max(1, round(height * 0.08)))
        at = ((image.width - inside.width) // 2, int(image.height * 0.93 - (row + 1) * height * 1.3))
        made.paste((0, 0, 0), at, around)
        made.paste(((255, 255, 255), (255, 230, 60))[int(random.integers(2))], at, inside)
    return made


def watermark(image: Image.Image, random: Random) -> Image.Image:
    """Half transparent words across the picture, once or again and again."""
    again = random.random() < 0.5
    size = image.width * (random.uniform(0.04, 0.07) if again else random.uniform(0.09, 0.15))
    inside, _ = _line(_words(random, 1), _font(random, size))
    layer = Image.new("L", image.size)
    across, down = (int(inside.width * 1.5), int(inside.height * 3)) if again else (image.width, image.height)
    for top in range(down // 3, image.height, down):
        for left in range(across // 8, image.width, across):
            layer.paste(inside, (left, top), inside)
    layer = layer.rotate(float(random.choice([0, random.uniform(15, 40)])), Image.Resampling.BICUBIC)
    opaque = float(random.uniform(0.25, 0.5))
    ink = (0, 0, 0) if np.asarray(image.convert("L")).mean() > 150 else (255, 255, 255)
    return Image.composite(Image.new("RGB", image.size, ink), image, layer.point(lambda value: int(value * opaque)))


def stamp(image: Image.Image, random: Random) -> Image.Image:
    """A small address or date in a corner."""
    text = (f"www.{_words(random, 1).lower()}.com", f"2{random.integers(10)}.0{random.integers(1, 10)}.2019")[
        int(random.integers(2))
    ]
    inside, _ = _line(text, _font(random, min(image.size) * random.uniform(0.022, 0.035)))
    place = _corner(image, inside.size, random)
    made = image.copy()
    made.paste(_ink(image, place, inside.size, random), place, inside.point(lambda value: int(value * 0.85)))
    return made


def signature(image: Image.Image, random: Random) -> Image.Image:
    """Pen strokes in a corner: one line without an end, in loops of different height, slanted, often with a line under it."""
    wide = min(image.size) * random.uniform(0.13, 0.26)
    letters, slant = int(random.integers(5, 10)), random.uniform(0.1, 0.5)
    step = wide / letters
    points, x = [], 0.0
    for letter in range(letters):
        tall = step * (random.uniform(1.8, 2.8) if letter == 0 or random.random() < 0.2 else random.uniform(0.6, 1.1))
        deep = step * random.uniform(0.9, 1.6) if random.random() < 0.2 else 0.0
        turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        for turn in turns:
            reach = (tall if np.sin(turn) > 0 else deep) * np.sin(turn)
            points.append((x + step * (0.55 * np.cos(turn + np.pi) + turn / (2 * np.pi)), -reach))
        x += step * random.uniform(0.8, 1.1)
    places = np.asarray([(across - slant * down, down) for across, down in points])
    if random.random() < 0.5:
        places = np.concatenate([places, [(x * share, step * 0.8 + step * 0.2 * share) for share in (1, 0.6, 0.1)]])
    places -= places.min(axis=0) - 6
    size = tuple(int(side) for side in places.max(axis=0) + 6)
    drawn = np.zeros((size[1] * 4, size[0] * 4), np.uint8)
    pen = max(4, round(min(image.size) * random.uniform(0.0018, 0.0035) * 4))
    cv2.polylines(drawn, [(places * 4).astype(np.int32)], False, 255, pen, cv2.LINE_AA)
    inside = Image.fromarray(drawn).resize(size, Image.Resampling.LANCZOS)
    made, place = image.copy(), _corner(image, size, random)
    made.paste(_ink(image, place, size, random), place, inside)
    return made


def garbled(image: Image.Image, random: Random) -> Image.Image:
    """Letters that are none, on a sign or on cloth: halves of letters that do not belong together, bent, lit as what is under them."""
    size = min(image.size) * random.uniform(0.035, 0.08)
    rows = [_garbled_row(random, size, int(random.integers(4, 10))) for _ in range(int(random.integers(1, 4)))]
    wide, high = max(row.shape[1] for row in rows), sum(row.shape[0] for row in rows)
    board = np.zeros((high, wide), np.uint8)
    top = 0
    for row in rows:
        left = (wide - row.shape[1]) // 2
        board[top : top + row.shape[0], left : left + row.shape[1]] = row
        top += row.shape[0]
    board = np.pad(board, int(size * 0.5))
    scale = min(1.0, image.width * 0.6 / board.shape[1])
    board = cv2.resize(board, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = board.shape
    # Below the middle lies what a person wears or holds; a sign may be anywhere beside it.
    on_sign = random.random() < 0.5
    x = float(random.uniform(0, image.width - width))
    y = float(random.uniform(0.1 if on_sign else 0.6, 1) * (image.height - height))
    corners = np.asarray([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    bent = (corners + random.uniform(-0.12, 0.12, size=(4, 2)) * height + (x, y)).astype(np.float32)
    into = cv2.getPerspectiveTransform(corners, bent)
    letters = cv2.warpPerspective(board, into, image.size).astype(np.float32)[..., None] / 255
    plate = cv2.warpPerspective(np.full_like(board, 255), into, image.size).astype(np.float32)[..., None] / 255
    pixels = np.asarray(image).astype(np.float32)
    under = pixels[int(y) : int(y + height), int(x) : int(x + width)]
    if on_sign:
        pixels = pixels * (1 - plate) + plate * random.uniform(30, 225, size=3)
        light = float(pixels[int(y + height / 2), int(x + width / 2)].mean())
    else:
        light = float(under.mean())
    ink = random.uniform(150, 250, size=3) if light < 120 else random.uniform(5, 90, size=3)
    shade = cv2.GaussianBlur(np.asarray(image.convert("L")).astype(np.float32), (0, 0), 3)[..., None]
    lit = ink * np.clip(0.6 + 0.4 * shade / max(float(under.mean()), 8), 0.4, 1.4)
    return Image.fromarray(np.clip(pixels * (1 - letters) + letters * lit, 0, 255).astype(np.uint8))


def _garbled_row(random: Random, size: float, letters: int) -> Pixels:
    """A line of letters that are none, (height, width)."""
    font, high = _font(random, size), int(size * 1.3)
    made = np.zeros((high, int(size * (letters + 1))), np.uint8)
    at = int(size * 0.3)
    for _ in range(letters):
        halves = []
        for letter in random.choice(list(LETTERS), size=2):
            mask = Image.new("L", (high, high))
            ImageDraw.Draw(mask).text((high // 4, 0), str(letter), fill=255, font=font)
            halves.append(np.asarray(mask))
        split = int(high * random.uniform(0.35, 0.65))
        glyph = np.concatenate([halves[0][:split], halves[1][split:]])
        used = np.flatnonzero(glyph.any(axis=0))
        if len(used) and at + len(used) < made.shape[1]:
            made[:, at : at + used[-1] - used[0] + 1] = glyph[:, used[0] : used[-1] + 1]
            at += int(used[-1] - used[0] + 1 + size * random.uniform(0.06, 0.2))
    made = made[:, : at + int(size * 0.3)]
    y, x = np.mgrid[0 : made.shape[0], 0 : made.shape[1]].astype(np.float32)
    turn, pull = random.uniform(0, 6.28), size * 0.06
    return np.asarray(
        cv2.remap(
            made, x + pull * np.sin(y / size * 5 + turn), y + pull * np.sin(x / size * 2 + turn), cv2.INTER_LINEAR
        )
    )


def _corner(image: Image.Image, size: tuple[int, ...], random: Random) -> tuple[int, int]:
    """A place near a corner, mostly a lower one."""
    gap_x, gap_y = (int(side * random.uniform(0.02, 0.06)) for side in image.size)
    left = gap_x if random.random() < 0.4 else image.width - size[0] - gap_x
    return max(0, left), max(0, gap_y if random.random() < 0.15 else image.height - size[1] - gap_y)


def _ink(image: Image.Image, at: tuple[int, int], size: tuple[int, ...], random: Random) -> tuple[int, int, int]:
    """A colour that is seen on what lies there."""
    under = np.asarray(image.convert("L").crop((*at, at[0] + size[0], at[1] + size[1])))
    low, high = (170, 256) if under.mean() < 110 else (0, 80)
    red, green, blue = (int(value) for value in random.integers(low, high, size=3))
    return red, green, blue


WRITTEN: Mapping[str, Callable[[Image.Image, Random], Image.Image]] = {
    "subtitle": subtitle,
    "watermark": watermark,
    "stamp": stamp,
    "signature": signature,
    "garbled": garbled,
}


def as_given(image: Image.Image, random: Random) -> Image.Image:
    """At 512 to 1024 px, a little soft now and then, compressed: as pictures come."""
    image = image.copy()
    side = int(random.integers(512, 1025))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if random.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 0.8))))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(random.integers(60, 96)))
    return Image.open(buffer).convert("RGB")
