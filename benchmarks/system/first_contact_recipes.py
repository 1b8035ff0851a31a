"""Recipes: the shipped ones with damage and odd choices, for `first_contact`."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.system.first_contact import Answer, Door, Input, Room
from benchmarks.system.first_contact_commands import Command, both, refused_in_words
from benchmarks.system.first_contact_texts import DAMAGE, Random
from flenwheel_core.recipes.loading import list_recipes

PLAN_EVERY = 5
"""A plan looks at every model of a recipe: a second each."""
ODD_VALUES = (
    "true",
    "-1",
    "0",
    "nan",
    "inf",
    "1e400",
    "9" * 5000,
    '""',
    '" "',
    '"x"',
    "[]",
    "{}",
    "[[[]]]",
    "1979-05-27",
    '"\\u0000"',
    '"../../etc/passwd"',
    '"~nobody/x"',
    '"s3://b/x"',
    '"{character.__class__}"',
    '"{0}"',
    '"{"',
    '["", ""]',
    '[{ file = "x" }]',
    "0.5",
    "1_000_000_000_000",
    '"' + "é" * 5000 + '"',
    "'''\n'''",
    '"owner/name"',
    '"owner/name@"',
    '"nano@"',
    '"face:"',
    '["*"]',
    '["(a+)+$"]',
    '["["]',
    "'hub:owner/name/file.safetensors@main'",
)
FURTHER = (
    'extends = "x"',
    "extends = 1",
    'extends = "nano"',
    "[train]\n[train]",
    "[a.b.c.d]",
    '"" = 1',
    "steps = 5",
    "name.x = 1",
    "[[enrich.loras]]\nfile = 3",
    '[[enrich.loras]]\nfile = "a.safetensors"\nweight = nan',
    "[enrich.attributes]\nx = []",
    '[train.lora]\ninclude = ["*"]',
)


class Recipes:
    """TOML files that somebody wrote or changed."""

    def inputs(self, count: int, seed: int) -> Sequence[Input]:
        texts = [path.read_text() for path in list_recipes().values()]
        groups = list(GROUPS.items())
        made = []
        for number in range(count):
            random = np.random.default_rng([seed, number])
            group, change = groups[number % len(groups)]
            made.append(Input("mine.toml", group, change(random, texts[int(random.integers(0, len(texts)))])))
        return made

    def doors(self, room: Room) -> Sequence[Door]:
        def lay(folder: Path, one: Input) -> Sequence[str]:
            (folder / one.name).write_bytes(one.data)
            return "recipe", "check", one.name

        def lay_diff(folder: Path, one: Input) -> Sequence[str]:
            lay(folder, one)
            return "recipe", "diff", "nano", one.name

        def lay_plan(folder: Path, one: Input) -> Sequence[str]:
            lay(folder, one)
            return "plan", one.name, "--card", "24"

        return (
            *both(room, "flenwheel recipe check", lay, judged),
            Command(room, "flenwheel recipe diff", lay_diff, judged_words),
            Command(room, "flenwheel plan", lay_plan, judged_words, every=PLAN_EVERY),
        )


def judged(one: Input, said: str, code: int) -> Answer:
    if code == 0:
        return Answer("taken" if "is a usable recipe" in said else "silent_drop", said[-300:])
    return Answer("refused" if refused_in_words(said) else "silent_drop", said[-300:])


def judged_words(one: Input, said: str, code: int) -> Answer:
    """The exit code 1 of these commands is also an answer, not only an error."""
    if not said.strip():
        return Answer("silent_drop", "not a word")
    return Answer("refused" if refused_in_words(said) else "taken")


def _whole(random: Random, text: str) -> bytes:
    return text.encode()


def _odd_value(random: Random, text: str) -> bytes:
    """Another value for one or two keys."""
    for _ in range(int(random.integers(1, 3))):
        lines = list(re.finditer(r"^\w+ = (.*)$", text, re.MULTILINE))
        if lines:
            line = lines[int(random.integers(0, len(lines)))]
            text = text[: line.start(1)] + ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))] + text[line.end(1) :]
    return text.encode("utf-8", "replace")


def _further(random: Random, text: str) -> bytes:
    addition = FURTHER[int(random.integers(0, len(FURTHER)))]
    return (f"{addition}\n{text}" if random.random() < 0.5 else f"{text}\n{addition}\n").encode()


def _key_misspelt(random: Random, text: str) -> bytes:
    lines = list(re.finditer(r"^(\w+) = ", text, re.MULTILINE))
    line = lines[int(random.integers(0, len(lines)))]
    key = line[1]
    place = int(random.integers(0, len(key)))
    return (text[: line.start(1)] + key[:place] + "x" + key[place + 1 :] + text[line.end(1) :]).encode()


GROUPS: dict[str, Callable[[Random, str], bytes]] = {
    "whole": _whole,
    "odd value": _odd_value,
    "another odd value": _odd_value,
    "further line": _further,
    "key misspelt": _key_misspelt,
    **DAMAGE,
}
