"""Captions in every form that is read, damaged and in other encodings, for `first_contact`."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.system.first_contact import Answer, Door, Input, Room
from benchmarks.system.first_contact_commands import both, refused_in_words
from benchmarks.system.first_contact_texts import DAMAGE, Random
from flenwheel_core.base.plain_text import decode_text, one_line

PICTURES = ("01.png", "02.png", "train/03.png")
SIDE_PX = 100
WORDS = (
    "a person at night",
    "[trigger] sitting on a chair",
    "(ohwx_char:1.2), <lora:x:0.8>, smiling",
    "OHWX_CHAR person standing",
    "the dog\u2019s café",
    "白い帽子",
    "one\u2028two",
    'a, b, "c"',
    "x" * 3000,
    "😀 smiling",
    "[name] in {brackets}",
    "- a\n- b",
    "#",
    "<b>bold</b>",
)
ODD_VALUES: tuple[object, ...] = (
    None,
    True,
    3,
    1.5,
    "",
    " ",
    [],
    ["a", "b"],
    {},
    {"caption": "x"},
    [[[]]],
    "\ud800",
    "../../etc/passwd",
    "C:\\x\\01.png",
)
FORMS = (
    "01.txt",
    "01.caption",
    "01.TXT",
    "01.png.txt",
    "01.cap",
    "01.json",
    "metadata.jsonl",
    "train/metadata.jsonl",
    "metadata.csv",
    "captions.tsv",
    "meta.json",
    "meta_cap.json",
    "captions.jsonl",
)


class Captions:
    """Texts beside pictures, and tables."""

    def inputs(self, count: int, seed: int) -> Sequence[Input]:
        groups = list(GROUPS.items())
        made = []
        for number in range(count):
            random = np.random.default_rng([seed, number])
            group, change = groups[number % len(groups)]
            name = FORMS[int(random.integers(0, len(FORMS)))]
            made.append(Input(name, group, change(random, name)))
        return made

    def doors(self, room: Room) -> Sequence[Door]:
        source = room.folder / "source.png"
        Image.effect_noise((SIDE_PX, SIDE_PX), 60).convert("RGB").save(source)

        def lay(folder: Path, one: Input) -> Sequence[str]:
            (folder / "set" / "train").mkdir(parents=True)
            for picture in PICTURES:
                (folder / "set" / picture).hardlink_to(source)
            (folder / "set" / one.name).write_bytes(one.data)
            return "ingest", "mira", "set", "--recipe", "nano", "--kind", "subject", "--dry-run"

        return (*both(room, "flenwheel ingest --dry-run", lay, judged), Sorted(room))


def judged(one: Input, said: str, code: int) -> Answer:
    if code != 0:
        return Answer("refused" if refused_in_words(said) else "silent_drop", said[-300:])
    captions = int(said.rpartition("would be taken, ")[2].partition(" ")[0] or 0)
    return _found(one, captions, said)


def _found(one: Input, captions: int, said: str) -> Answer:
    """Taken if a picture got a caption; refused if a line names the file, or nothing is in it."""
    if captions:
        return Answer("taken")
    if one.name in said or holds_no_words(one.data):
        return Answer("refused")
    return Answer("silent_drop", f"{one.data[:200]!r}")


def holds_no_words(data: bytes) -> bool:
    """An empty file drops nothing."""
    try:
        return not one_line(decode_text(data).text)
    except ValueError:
        return False


@dataclass
class Sorted:
    """A folder dropped on the studio, which sends the names of all files and the texts among them."""

    room: Room
    name: str = "studio folder"
    every: int = 1

    def give(self, inputs: Sequence[Input]) -> Sequence[Answer]:
        return [self._one(one) for one in inputs]

    def _one(self, one: Input) -> Answer:
        content = {"data": {"names": json.dumps([*PICTURES, one.name])}, "files": {"texts": (one.name, one.data)}}
        answer, said = self.room.ask_text("POST", "/folders/sorted", **content)
        if answer.outcome != "taken":
            return answer
        found = json.loads(said)
        captions = sum(picture["caption"] is not None for picture in found["pictures"])
        return _found(one, captions, "\n".join(found["notes"]))


# what is written


def _words(random: Random) -> str:
    return WORDS[int(random.integers(0, len(WORDS)))]


def _rows(random: Random) -> list[dict[str, object]]:
    names = [
        str(random.choice(["file_name", "image", "image_path"])),
        str(random.choice(["text", "caption", "prompt"])),
    ]
    return [{names[0]: picture, names[1]: _words(random)} for picture in PICTURES]


def _table(random: Random, name: str, rows: Sequence[dict[str, object]]) -> str:
    """The rows in the form that the file's name promises."""
    if name.endswith(".jsonl"):
        return "\n".join(json.dumps(row, ensure_ascii=bool(random.random() < 0.5)) for row in rows)
    if name.endswith((".csv", ".tsv")):
        out = io.StringIO()
        keys = list(dict.fromkeys(key for row in rows for key in row))
        table = csv.DictWriter(out, keys, delimiter="\t" if name.endswith(".tsv") else str(random.choice([",", ";"])))
        table.writeheader()
        table.writerows(
            [{key: str(value).encode("utf-8", "replace").decode() for key, value in row.items()} for row in rows]
        )
        return out.getvalue()
    if random.random() < 0.3:
        return json.dumps(rows)
    pairs = [list(row.values()) for row in rows]
    return json.dumps({str(pair[0]): {"caption": pair[-1], "tags": "a, b"} for pair in pairs})


def _text(random: Random, name: str) -> str:
    if name == "01.json":
        return json.dumps({"caption": _words(random)})
    return _table(random, name, _rows(random)) if name.endswith((".jsonl", ".csv", ".tsv", ".json")) else _words(random)


def _whole(random: Random, name: str) -> bytes:
    return _text(random, name).encode("utf-8", "replace")


def _odd_rows(random: Random, name: str) -> bytes:
    """A value of another kind, a key that is missing, a picture that is not there, one named twice."""
    rows = _rows(random)
    row = rows[int(random.integers(0, len(rows)))]
    key = str(random.choice(list(row)))
    what = int(random.integers(0, 4))
    if what == 0:
        row[key] = ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))]
    elif what == 1:
        del row[key]
    elif what == 2:
        row[next(iter(row))] = str(
            random.choice(["gone.png", "/data/set/01.png", "D:\\set\\01.png", "../01.png", "01", "x" * 5000])
        )
    else:
        rows.append(dict(row))
    if not name.endswith((".jsonl", ".csv", ".tsv", ".json")):
        return _whole(random, name)
    return _table(random, name, [row for row in rows if row]).encode("utf-8", "replace")


def _damage(change: Callable[[Random, str], bytes]) -> Callable[[Random, str], bytes]:
    return lambda random, name: change(random, _text(random, name))


GROUPS: dict[str, Callable[[Random, str], bytes]] = {
    "whole": _whole,
    "odd rows": _odd_rows,
    **{group: _damage(change) for group, change in DAMAGE.items()},
}
