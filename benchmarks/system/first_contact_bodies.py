"""Damaged and odd bodies for the studio's API, for `first_contact`."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.system.first_contact import Answer, Door, Input, Room
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.nano.world import make_character, make_view, render

Random = np.random.Generator
DIGEST = "0" * 64


def source_png() -> bytes:
    """A source picture, the same bytes at every call."""
    buffer = io.BytesIO()
    render(make_character(0), make_view(0)).resize((256, 256)).save(buffer, "PNG")
    return buffer.getvalue()


CHARACTER = {"name": "rex", "trigger": "ohwx_rex", "class_word": "dog", "kind": "subject", "recipe": "nano"}
SOURCE = digest_bytes(source_png())
"""A picture that the character has."""
ORDER = {"trigger": "ohwx_rex", "class_word": "dog", "recipe": "nano", "images": [SOURCE], "captions": ["a dog"]}
FRAMING = {"crop": {"left": 0.1, "top": 0.1, "right": 0.9, "bottom": 0.9}, "hidden": []}
PAIR = {"author": "ana", "pair": "0" * 32, "first": DIGEST, "second": DIGEST, "choice": "first"}
DECISION = {"id": "request-0001", "author": "ana", "verdict": "good", "note": "a note", "caption": "a caption"}
REQUESTS: tuple[tuple[str, dict[str, object]], ...] = (
    ("POST /characters", CHARACTER),
    ("PATCH /characters/rex", {"trigger": "ohwx_rex", "class_word": "dog", "kind": "subject", "recipe": "nano"}),
    ("POST /characters/rex/turns", {"flywheel": "character", "recipe": "nano"}),
    (f"POST /gates/rex-t1-gate-a-r1/pictures/{DIGEST}/decision", DECISION),
    ("POST /gates/rex-t1-gate-a-r1/bulk", {"id": "request-0001", "author": "ana", "rule": "passed", "verdict": "good"}),
    (
        "POST /gates/rex-t1-gate-a-r1/bulk/preview",
        {"id": "request-0001", "author": "ana", "rule": "passed", "verdict": "good"},
    ),
    (f"POST /characters/rex/sources/{SOURCE}/framing", {"framing": FRAMING}),
    (f"POST /characters/rex/sources/{DIGEST}/framing", {"framing": FRAMING}),
    ("POST /characters/rex/consent", {"whose": "my own", "vouched_by": "ana"}),
    (f"POST /characters/rex/studies/{DIGEST}/pairs", PAIR),
    ("POST /turns/rex/1/end", {"author": "ana"}),
    ("POST /train-lora", ORDER),
    ("POST /gates/rex-t1-gate-a-r1/resume", {"author": "ana"}),
    ("POST /gates/rex-t1-gate-a-r1/undo", {"id": "request-0001", "author": "ana"}),
    ("POST /gates/rex-t1-gate-a-r1/finish", {"author": "ana", "verdict": "approve", "override_minimum": True}),
)
ODD_VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    "",
    " ",
    "\0",
    "\ud800",
    "\u2028",
    "\u202e",
    "../../etc/passwd",
    "{0.__class__}",
    "<script>alert(1)</script>",
    "é" * 5000,
    "x" * 100_000,
    [],
    {},
    [[[[]]]],
    {"a": {"b": None}},
)


class Bodies:
    """What a program that talks to the studio may send by mistake."""

    def inputs(self, count: int, seed: int) -> Sequence[Input]:
        kinds = list(MUTATIONS.items())
        made = []
        for number in range(count):
            random = np.random.default_rng([seed, number])
            group, mutate = kinds[number % len(kinds)]
            address, body = REQUESTS[int(random.integers(0, len(REQUESTS)))]
            made.append(Input(address, group, mutate(random, dict(body))))
        return made

    def doors(self, room: Room) -> Sequence[Door]:
        return (Api(room),)


@dataclass
class Api:
    """The studio's API, with a character that is there and a gate that is not."""

    room: Room
    name: str = "studio API"
    every: int = 1

    def give(self, inputs: Sequence[Input]) -> Sequence[Answer]:
        self.room.studio.post("/api/v1/characters", json=CHARACTER)
        taken = self.room.studio.post("/api/v1/characters/rex/sources", files={"file": ("rex.png", source_png())})
        assert taken.json()["digest"] == SOURCE, taken.text
        return [self._one(one) for one in inputs]

    def _one(self, one: Input) -> Answer:
        method, _, path = one.name.partition(" ")
        return self.room.ask(method, path, content=one.data, headers={"content-type": "application/json"})


def _written(body: object) -> bytes:
    return json.dumps(body).encode()


def _whole(_: Random, body: dict[str, object]) -> bytes:
    return _written(body)


def _odd_value(random: Random, body: dict[str, object]) -> bytes:
    key = str(random.choice(list(body)))
    return _written({**body, key: ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))]})


def _missing_key(random: Random, body: dict[str, object]) -> bytes:
    body.pop(str(random.choice(list(body))))
    return _written(body)


def _further_key(random: Random, body: dict[str, object]) -> bytes:
    odd = ("__class__", "", "\ud800", "x" * 3000, "model_config", "$ref")
    return _written({**body, odd[int(random.integers(0, len(odd)))]: 1})


def _no_object(random: Random, _: dict[str, object]) -> bytes:
    return _written(ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))])


def _truncated(random: Random, body: dict[str, object]) -> bytes:
    whole = _written(body)
    return whole[: int(random.integers(0, len(whole)))]


def _bytes_changed(random: Random, body: dict[str, object]) -> bytes:
    changed = bytearray(_written(body))
    for place in random.integers(0, len(changed), size=int(random.integers(1, 6))):
        changed[place] = int(random.integers(0, 256))
    return bytes(changed)


def _nested(random: Random, body: dict[str, object]) -> bytes:
    depth = int(random.choice([100, 1000, 100_000]))
    key = json.dumps(str(random.choice(list(body))))
    return f"{{{key}: {'[' * depth}{']' * depth}}}".encode()


def _other_encoding(random: Random, body: dict[str, object]) -> bytes:
    text = json.dumps({**body, "author": "Zoë"}, ensure_ascii=False)
    return text.encode(str(random.choice(["utf-16", "utf-32", "latin-1", "utf-8-sig"])))


def _odd_numbers(random: Random, body: dict[str, object]) -> bytes:
    odd = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "0x10", "01", "-")
    key = json.dumps(str(random.choice(list(body))))
    return f"{{{key}: {odd[int(random.integers(0, len(odd)))]}}}".encode()


MUTATIONS: dict[str, Callable[[Random, dict[str, object]], bytes]] = {
    "whole": _whole,
    "odd value": _odd_value,
    "missing key": _missing_key,
    "further key": _further_key,
    "no object": _no_object,
    "truncated": _truncated,
    "bytes changed": _bytes_changed,
    "nested": _nested,
    "other encoding": _other_encoding,
    "odd numbers": _odd_numbers,
}
