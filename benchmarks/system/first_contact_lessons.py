"""Lessons for the editor as other tools keep them: metadata.jsonl and prompts beside pictures, damaged, for `first_contact`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.system.first_contact import Answer, Door, Input, Room
from benchmarks.system.first_contact_commands import both, refused_in_words
from benchmarks.system.first_contact_texts import DAMAGE, Random

PAIRS = ("001", "002")
SIDE_PX = 64
PROMPTS = (
    "turn left",
    "a red hat\u2028smiling",
    "the dog\u2019s head",
    "白い帽子",
    "x" * 30_000,
    '"quoted"',
    "line\nbreak",
    "\ud83d",
    "",
)
ODD_VALUES: tuple[object, ...] = (
    None,
    True,
    3,
    "",
    [],
    ["a"],
    {},
    "../../etc/passwd",
    "/etc/passwd",
    "control/001.png",
    "target\\001.png",
    "\0",
    "x" * 5000,
)
NAMES = ("metadata.jsonl", "target/001.txt", "target/001.caption", "metadata.jsonl")


class Lessons:
    """What describes edits."""

    def inputs(self, count: int, seed: int) -> Sequence[Input]:
        groups = list(GROUPS.items())
        made = []
        for number in range(count):
            random = np.random.default_rng([seed, number])
            group, change = groups[number % len(groups)]
            name = NAMES[int(random.integers(0, len(NAMES)))]
            made.append(Input(name, group, change(random, name)))
        return made

    def doors(self, room: Room) -> Sequence[Door]:
        pictures = [room.folder / f"{number}.png" for number in range(2)]
        for number, path in enumerate(pictures):
            Image.new("RGB", (SIDE_PX, SIDE_PX), (40 + 90 * number, 80, 120)).save(path)

        def lay(folder: Path, one: Input) -> Sequence[str]:
            for part, picture in zip(("control", "target"), pictures, strict=True):
                (folder / "set" / part).mkdir(parents=True)
                for name in PAIRS:
                    (folder / "set" / part / f"{name}.png").hardlink_to(picture)
            (folder / "set" / one.name).write_bytes(one.data)
            return "editor", "import-triplets", "set", "--character", "mira"

        return both(room, "flenwheel editor import-triplets", lay, judged)


def judged(one: Input, said: str, code: int) -> Answer:
    """Taken if a lesson came in, or was here already; else the file, or a pair, must be named."""
    if code != 0:
        return Answer("refused" if refused_in_words(said) else "silent_drop", said[-300:])
    new = int(said.rpartition(" new triplets, ")[0].rpartition("\n")[2] or 0)
    known = int(said.rpartition(" new triplets, ")[2].partition(" ")[0] or 0)
    return Answer("taken" if new + known else "silent_drop", said[-300:])


def _row(random: Random, name: str) -> dict[str, object]:
    keys = (
        ("file_name", "control_file_name", "prompt"),
        ("edited_image", "input_image", "edit_prompt"),
        ("image_path", "control_path", "caption"),
    )[int(random.integers(0, 3))]
    prompt = PROMPTS[int(random.integers(0, len(PROMPTS)))]
    return dict(zip(keys, (f"target/{name}.png", f"control/{name}.png", prompt), strict=True))


def _text(random: Random, name: str) -> str:
    if not name.endswith(".jsonl"):
        return PROMPTS[int(random.integers(0, len(PROMPTS)))]
    return "\n".join(json.dumps(_row(random, pair), ensure_ascii=bool(random.random() < 0.5)) for pair in PAIRS)


def _whole(random: Random, name: str) -> bytes:
    return _text(random, name).encode("utf-8", "replace")


def _odd_rows(random: Random, name: str) -> bytes:
    if not name.endswith(".jsonl"):
        return _whole(random, name)
    rows = [_row(random, pair) for pair in PAIRS]
    row = rows[int(random.integers(0, 2))]
    key = str(random.choice([*row, "labels", "kind", "turn"]))
    row[key] = ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))]
    if random.random() < 0.3:
        del row[key]
    return "\n".join(json.dumps(one) for one in rows).encode()


def _damage(change: Callable[[Random, str], bytes]) -> Callable[[Random, str], bytes]:
    return lambda random, name: change(random, _text(random, name))


GROUPS: dict[str, Callable[[Random, str], bytes]] = {
    "whole": _whole,
    "odd rows": _odd_rows,
    **{group: _damage(change) for group, change in DAMAGE.items()},
}
