"""`.env` and `flenwheel.toml` as people have them, damaged and with lines of other tools, for `first_contact`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.system.first_contact import Answer, Door, Input, Room
from benchmarks.system.first_contact_commands import both, refused_in_words
from benchmarks.system.first_contact_texts import DAMAGE, Random

NAMES = (
    "author",
    "slot",
    "host",
    "token",
    "studio_url",
    "prefect_url",
    "trusted_proxies",
    "notify",
    "models",
    "store_options",
    "kernels_off",
    "stage_modules",
    "vram_gib",
    "threads",
    "gpu",
    "slot",
    "store",
)
ODD_VALUES = (
    "",
    " ",
    "x",
    "0",
    "-1",
    "nan",
    "true",
    "null",
    "[]",
    "{}",
    "[1]",
    '["a"]',
    '{"a": 1}',
    "'a b'",
    '"a',
    "é",
    "../..",
    "/nowhere",
    "~nobody",
    "http://[::1",
    "javascript:alert(1)",
    "0.0.0.0",
    "::",
    "256.1.1.1",
    "x" * 5000,
    "9" * 5000,
    "$HOME",
    "${HOME}",
    "${X:-y}",
    "a#b",
    "[" * 3000,
    "\ud83d",
    "nonsense://x",
    "\t",
)
FOREIGN = (
    "HF_TOKEN=hf_x",
    "export WANDB_API_KEY=1",
    "# a comment",
    "no definition",
    "=",
    "KEY",
    "A=B=C",
    "PATH=/x:$PATH",
    "X='unfinished",
    "MULTI='a\nb'",
    "1X=2",
    "é=1",
)


class SettingsFiles:
    """A file of settings in the folder where somebody types a command."""

    def inputs(self, count: int, seed: int) -> Sequence[Input]:
        groups = list(GROUPS.items())
        made = []
        for number in range(count):
            random = np.random.default_rng([seed, number])
            group, change = groups[number % len(groups)]
            name = (".env", "flenwheel.toml")[int(random.integers(0, 2))]
            made.append(Input(name, group, change(random, name)))
        return made

    def doors(self, room: Room) -> Sequence[Door]:
        def lay(folder: Path, one: Input) -> Sequence[str]:
            (folder / one.name).write_bytes(one.data)
            return ("status",)

        return both(room, "flenwheel status", lay, judged)


def judged(one: Input, said: str, code: int) -> Answer:
    if code == 0:
        return Answer("taken" if said.strip() else "silent_drop")
    return Answer("refused" if refused_in_words(said) else "silent_drop", said[-300:])


def _line(name: str, key: str, value: str) -> str:
    if name == ".env":
        return f"FLENWHEEL_{key.upper()}={value}"
    bare = value.replace(".", "", 1).isdigit() or value.startswith(("[", "{")) or value in ("true", "nan")
    return f"{key} = {value}" if bare else f"{key} = '{value}'"


def _text(random: Random, name: str, odd: bool = False) -> str:
    lines = [_line(name, "author", "ana"), _line(name, "vram_gib", "24")]
    if odd:
        key = str(random.choice(NAMES))
        lines.append(_line(name, key, ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))]))
    if name == ".env":
        lines += [FOREIGN[int(place)] for place in random.integers(0, len(FOREIGN), size=2)]
    random.shuffle(lines)
    return "\n".join(lines) + "\n"


def _whole(random: Random, name: str) -> bytes:
    return _text(random, name).encode("utf-8", "replace")


def _odd_value(random: Random, name: str) -> bytes:
    return _text(random, name, odd=True).encode("utf-8", "surrogatepass")


def _odd_list(random: Random, name: str) -> bytes:
    """Settings that are lists and tables are JSON in a `.env`."""
    key = str(random.choice(["trusted_proxies", "notify", "store_options", "kernels_off", "stage_modules"]))
    odd = (
        "[" * 3000,
        "[" + "9" * 5000,
        "[1",
        "{",
        '{"a": [1]}',
        '["\\ud83d"]',
        "[NaN]",
        '["a" "b"]',
        "[[]]",
        "a,,b",
        '["a",]',
        "\\",
    )
    return (_text(random, name) + _line(name, key, odd[int(random.integers(0, len(odd)))])).encode("utf-8", "replace")


def _misspelt(random: Random, name: str) -> bytes:
    key = str(random.choice(NAMES))
    place = int(random.integers(0, len(key)))
    return (_text(random, name) + _line(name, key[:place] + key[place + 1 :], "x")).encode("utf-8", "replace")


def _damage(change: Callable[[Random, str], bytes]) -> Callable[[Random, str], bytes]:
    return lambda random, name: change(random, _text(random, name, odd=bool(random.random() < 0.3)))


GROUPS: dict[str, Callable[[Random, str], bytes]] = {
    "whole": _whole,
    "odd value": _odd_value,
    "another odd value": _odd_value,
    "odd list": _odd_list,
    "misspelt": _misspelt,
    **{group: _damage(change) for group, change in DAMAGE.items()},
}
