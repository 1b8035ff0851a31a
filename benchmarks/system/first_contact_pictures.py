"""Damaged, mislabelled and odd pictures, for `first_contact`."""

import io
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from benchmarks.system.first_contact import Answer, Door, Input, Room, command_fault
from flenwheel_core.images.names import printable_path, written_name
from flenwheel_core.recipes.loading import find_recipe

Random = np.random.Generator
SIDES = (40, 120)
USABLE = 0.15
"""Share of pictures that are large enough for a source; looking at those takes most of the time."""
FOLDER = 1000
"""Pictures of one folder."""
CHARACTER = 400
"""Pictures of one character in the studio, which takes 500."""
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
WIDE_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Pictures:
    """Pictures of every format and mode, and what happens to files on their way."""

    def inputs(self, count: int, seed: int) -> Sequence[Input]:
        kinds = list(MUTATIONS.items())
        made = []
        for number in range(count):
            random = np.random.default_rng([seed, number])
            group, mutate = kinds[number % len(kinds)]
            name, data = mutate(random, *_ordinary(random))
            made.append(Input(_numbered(name, number), group, data))
        return made

    def doors(self, room: Room) -> Sequence[Door]:
        return (IngestCommand(room), Upload(room), Lineage(room))


@dataclass
class IngestCommand:
    """`flenwheel ingest`, a folder at a time."""

    room: Room
    name: str = "flenwheel ingest"
    every: int = 1

    def give(self, inputs: Sequence[Input]) -> Sequence[Answer]:
        answers: list[Answer] = []
        for start in range(0, len(inputs), FOLDER):
            answers += self._folder(start // FOLDER, inputs[start : start + FOLDER])
        return answers

    def _folder(self, number: int, inputs: Sequence[Input]) -> list[Answer]:
        folder = self.room.folder / f"pictures-{number}"
        folder.mkdir()
        for one in inputs:
            (folder / one.name).write_bytes(one.data)
        # Describing pictures in words takes most of the time, and is no part of taking them in.
        recipe = self.room.folder / "undescribed.toml"
        nano = find_recipe("nano").read_text()
        recipe.write_text(nano.replace("[ingest]\n", "[ingest]\ndescribe_with_captioner = false\n", 1))
        done = self.room.command("ingest", f"c{number}", str(folder), "--recipe", str(recipe), "--kind", "subject")
        fault = command_fault(done)
        if fault is not None or done is None:
            return [fault or Answer("hang")] * len(inputs)
        refused = set(re.findall(r"^  (.*?): left out", done.stdout, flags=re.MULTILINE))
        used = int((re.findall(r"(\d+) usable sources", done.stdout) or ["0"])[-1])
        answers = [Answer("refused" if _shown(one) in refused else "taken") for one in inputs]
        vanished = sum(answer.outcome == "taken" for answer in answers) - used
        for place, answer in enumerate(answers):
            if vanished > 0 and answer.outcome == "taken":
                answers[place] = Answer("silent_drop", f"{vanished} more left without a word in this folder")
                vanished -= 1
        return answers


@dataclass
class Upload:
    """Pictures dropped on a character in the studio."""

    room: Room
    name: str = "studio upload"
    every: int = 1

    def give(self, inputs: Sequence[Input]) -> Sequence[Answer]:
        answers = []
        for number, one in enumerate(inputs):
            character = f"u{number // CHARACTER}"
            if number % CHARACTER == 0:
                fields = {"name": character, "trigger": "ohwx_char", "class_word": "robot", "kind": "subject"}
                self.room.studio.post("/api/v1/characters", json={**fields, "recipe": "nano"})
            answers.append(self._one(character, one))
        return answers

    def _one(self, character: str, one: Input) -> Answer:
        answer = self.room.ask(
            "POST", f"/characters/{character}/sources", files={"file": (written_name(one.name), one.data)}
        )
        if answer.outcome != "taken":
            return answer
        again = self.room.studio.get(f"/api/v1/characters/{character}").json()["ingest"]["files"]
        return answer if again else Answer("silent_drop", "it was taken, and is not there")


@dataclass
class Lineage:
    """A picture dropped on the studio to ask where it comes from. Nobody knows these: a refusal is the right answer."""

    room: Room
    name: str = "studio lineage"
    every: int = 1

    def give(self, inputs: Sequence[Input]) -> Sequence[Answer]:
        return [self.room.ask("POST", "/lineage", files={"file": (written_name(one.name), one.data)}) for one in inputs]


def _shown(one: Input) -> str:
    return printable_path(written_name(one.name))


def _numbered(name: str, number: int) -> str:
    """With its number in front, so that every file of a folder has a name of its own; a hidden one stays hidden."""
    return f".{number:05d}{name}" if name.startswith(".") else f"{number:05d}-{name}"


# ordinary pictures


def _ordinary(random: Random) -> tuple[str, bytes]:
    kind = str(random.choice(list(SUFFIXES)))
    try:
        data = _saved(
            _picture(random, str(random.choice(["RGB", "RGB", "L", "P", "RGBA", "CMYK", "I;16", "F", "1"]))),
            kind,
            random,
        )
    except (OSError, ValueError, KeyError):
        data = _saved(_picture(random, "RGB"), kind, random)
    return f"picture{SUFFIXES[kind]}", data


def _picture(random: Random, mode: str) -> Image.Image:
    small = random.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    side = SIDES[random.random() < USABLE]
    image = Image.fromarray(small).resize((side, side + int(random.integers(0, 40))), Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def _saved(image: Image.Image, kind: str, random: Random) -> bytes:
    options: dict[str, object] = {}
    if kind in ("PNG", "GIF", "WEBP", "TIFF") and random.random() < 0.3:
        options |= {"save_all": True, "append_images": [image] * int(random.integers(1, 4))}
    if kind in ("PNG", "JPEG", "WEBP", "TIFF") and random.random() < 0.4:
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = int(random.integers(1, 9)), "camera"
        options["exif"] = exif
    if kind == "JPEG":
        options["progressive"] = bool(random.random() < 0.5)
    if kind == "TIFF":
        options["compression"] = str(random.choice(["raw", "tiff_lzw", "tiff_adobe_deflate"]))
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# what happens to files


def _whole(_: Random, name: str, data: bytes) -> tuple[str, bytes]:
    return name, data


def _truncated(random: Random, name: str, data: bytes) -> tuple[str, bytes]:
    return name, data[: int(random.integers(0, len(data)))]


def _flipped(random: Random, name: str, data: bytes, head: int | None = None) -> tuple[str, bytes]:
    changed = bytearray(data)
    for place in random.integers(0, min(len(data), head or len(data)), size=int(random.integers(1, 12))):
        changed[place] ^= 1 << int(random.integers(0, 8))
    return name, bytes(changed)


def _numbers(random: Random, name: str, data: bytes) -> tuple[str, bytes]:
    """Extreme numbers where lengths, sizes and offsets stand."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        form = str(random.choice([">H", "<H", ">L", "<L"]))
        place = int(random.integers(0, max(1, min(len(data), 400) - 4)))
        mask = (1 << 8 * struct.calcsize(form)) - 1
        struct.pack_into(form, changed, place, int(random.choice(WIDE_NUMBERS)) & mask)
    return name, bytes(changed)


def _zeroed(random: Random, name: str, data: bytes) -> tuple[str, bytes]:
    start, length = int(random.integers(0, len(data))), int(random.integers(1, 600))
    return name, data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def _spliced(random: Random, name: str, data: bytes) -> tuple[str, bytes]:
    _, other = _ordinary(random)
    return name, data[: int(random.integers(0, len(data)))] + other[int(random.integers(0, len(other))) :]


def _repeated(random: Random, name: str, data: bytes) -> tuple[str, bytes]:
    start, end = sorted(int(place) for place in random.integers(0, len(data), size=2))
    return name, data[:end] + data[start:end] * int(random.integers(1, 5)) + data[end:]


def _inserted(random: Random, name: str, data: bytes) -> tuple[str, bytes]:
    place = int(random.integers(0, len(data)))
    return name, data[:place] + random.bytes(int(random.integers(1, 300))) + data[place:]


def _mislabelled(random: Random, _: str, data: bytes) -> tuple[str, bytes]:
    return f"picture{random.choice([*SUFFIXES.values(), '.heic', '.avif', '.mpo', ''])}", data


def _no_picture(random: Random, name: str, _: bytes) -> tuple[str, bytes]:
    contents = (
        b"",
        b"\0" * 4096,
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!doctype html><img src=x onerror=alert(1)>",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"PK\x03\x04" + bytes(200),
        b"\x7fELF" + bytes(200),
        b"\0\0\0\x18ftypheic" + random.bytes(300),
        b"\0\0\0\x18ftypavif" + random.bytes(300),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x00\x05\x16\x07" + bytes(4092),
        random.bytes(int(random.integers(1, 3000))),
    )
    return name, contents[int(random.integers(0, len(contents)))]


def _bad_exif(random: Random, _: str, __: bytes) -> tuple[str, bytes]:
    kind = str(random.choice(["PNG", "JPEG", "WEBP"]))
    good = Image.Exif()
    good[0x0112] = 6
    bytes_ = bytearray(good.tobytes())
    for place in random.integers(6, len(bytes_), size=3):
        bytes_[place] = int(random.integers(0, 256))
    choices = (
        bytes(bytes_),
        b"Exif\0\0NOTATIFF",
        b"Exif\0\0II*\0" + random.bytes(80),
        bytes(bytes_[: int(random.integers(4, 20))]),
    )
    buffer = io.BytesIO()
    extra = {"dpi": (72, 72)} if kind == "JPEG" else {}
    _picture(random, "RGB").save(buffer, kind, exif=choices[int(random.integers(0, len(choices)))], **extra)
    return f"exif{SUFFIXES[kind]}", buffer.getvalue()


def _bad_profile(random: Random, _: str, __: bytes) -> tuple[str, bytes]:
    kind = str(random.choice(["PNG", "JPEG", "WEBP", "TIFF"]))
    buffer = io.BytesIO()
    mode = "CMYK" if kind in ("JPEG", "TIFF") and random.random() < 0.5 else "RGB"
    _picture(random, mode).save(buffer, kind, icc_profile=random.bytes(int(random.integers(1, 600))))
    return f"profile{SUFFIXES[kind]}", buffer.getvalue()


def _bad_page(random: Random, _: str, __: bytes) -> tuple[str, bytes]:
    """A TIFF of several pages, an entry of a later one changed."""
    image = _picture(random, "RGB")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", save_all=True, append_images=[image, image])
    data = bytearray(buffer.getvalue())
    (first,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<L", data, first + 2 + 12 * count)
    place = second + 2 + 12 * int(random.integers(0, count))
    struct.pack_into("<L", data, place + int(random.choice([0, 4, 8])), int(random.integers(0, 2**32)))
    return "pages.tif", bytes(data)


def _giant(random: Random, _: str, __: bytes) -> tuple[str, bytes]:
    """A PNG that says it is large, with a little of what it says."""
    width, height = (int(2 ** random.uniform(1, 31)) for _ in range(2))
    depth, colour = int(random.choice([1, 8, 16])), int(random.choice([0, 2, 3, 4, 6]))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(bytes(int(random.integers(0, 200_000))))
    return "giant.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _odd_name(random: Random, _: str, __: bytes) -> tuple[str, bytes]:
    names = (
        "mira [final].png",
        "[red]x[bold].png",
        ":smile:.png",
        "caf\udce9.png",
        "\udcff\udcfe.png",
        "line\nbreak.png",
        "\x1b[31mred.png",
        "\u202egnp.exe.png",
        "\u2028\u0085.png",
        "$(touch x).png",
        "'; drop table.png",
        '"><img src=x onerror=alert(1)>.png',
        "%2e%2e%2fpasswd.png",
        "{name}.png",
        "é" * 100 + ".png",
        "x" * 200 + ".png",
        " .png",
        "no suffix",
        ".hidden.png",
        "😀.png",
        "a.png.png",
        "CON.png",
    )
    buffer = io.BytesIO()
    _picture(random, "RGB").save(buffer, "PNG")
    return names[int(random.integers(0, len(names)))], buffer.getvalue()


Mutation = Callable[[Random, str, bytes], tuple[str, bytes]]
MUTATIONS: dict[str, Mutation] = {
    "whole": _whole,
    "truncated": _truncated,
    "bits flipped": _flipped,
    "bits flipped in the head": partial(_flipped, head=64),
    "extreme numbers": _numbers,
    "bytes zeroed": _zeroed,
    "two spliced": _spliced,
    "parts repeated": _repeated,
    "bytes inserted": _inserted,
    "mislabelled": _mislabelled,
    "no picture": _no_picture,
    "bad EXIF": _bad_exif,
    "bad colour profile": _bad_profile,
    "bad later page": _bad_page,
    "giant by its header": _giant,
    "odd name": _odd_name,
}
