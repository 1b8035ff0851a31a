"""What the vision-language model is taught to say, as token rows: captions, yes or no, and edit instructions."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from flenwheel_core.nano.models.vlm import (
    CAPTION_QUESTIONS,
    EDIT_TEMPLATE,
    END,
    IMAGE,
    IMAGE_TOKENS,
    PHRASES_QUESTIONS,
    PICTURE,
    SAME_QUESTIONS,
    START,
    SYSTEM,
)
from flenwheel_core.nano.world import Character, View, caption, make_character
from flenwheel_core.nano.world.captions import view_clauses
from flenwheel_core.nano.world.chance import chance_of
from tools.nano_training.data import PICTURES_PER_CHARACTER, scenes_of
from tools.nano_training.processes import processes

CAPTION_TOKENS = 160
SAME_TOKENS = 144
PHRASES_SHARE = 0.3
EDIT_TOKENS = 144
SAME_PROMPTS = 64
"""Different ways of asking for yes or no that training draws from."""
ASIDES = (
    "Be precise.",
    "Answer in one line.",
    "Use short phrases.",
    "Say hair, skin, eyes, glasses, beard and clothing.",
    "Name the background and the lighting.",
    "The first picture is the reference.",
    "Ignore background, light, pose and clothing.",
    "Ignore style.",
    "Do not guess.",
    "Only look at the face and the hair.",
)
"""Sentences around a question that change nothing."""


def plain_caption(character: Character, view: View) -> str:
    """The full caption as somebody says it who does not know what the character usually wears."""
    if view.clothing is not None:
        colour, _, garment = view.clothing.partition(" ")
        extras = replace(character.extras, pattern="none") if view.clothing != character.clothing else character.extras
        character = replace(character, clothing_colour=colour, garment=garment, extras=extras)
        view = replace(view, clothing=None)
    return caption(character, view)


def view_phrases(character: Character, view: View) -> str:
    """The view in phrases, what is worn included, and nothing of the character."""
    return ", ".join(view_clauses(replace(view, clothing=view.clothing or character.clothing)))


def prompt(question: str, pictures: int, chance: random.Random) -> str:
    """A chat up to the answer; at times with asides, and with the question before the pictures."""
    words = [question]
    if chance.random() < 0.4:
        words.append(chance.choice(ASIDES))
    if chance.random() < 0.2:
        words.insert(0, chance.choice(ASIDES))
    text = " ".join(words)
    shown = PICTURE.replace(IMAGE, IMAGE * IMAGE_TOKENS) * pictures
    body = text + shown if chance.random() < 0.15 else shown + text
    system = "" if chance.random() < 0.1 else f"{START}system\n{SYSTEM}{END}\n"
    return f"{system}{START}user\n{body}{END}\n{START}assistant\n"


@dataclass(frozen=True)
class Rows:
    """Token rows (rows, tokens), padded right, and where in each row the part that is learned begins."""

    ids: NDArray[np.int16]
    start: NDArray[np.int16]


def rows_of(
    tokenizer: PreTrainedTokenizerBase, given: Sequence[str], learned: Sequence[str], width: int, *, fit: bool = True
) -> Rows:
    """Rows of what is given followed by what is learned. Raises ValueError for a row that does not fit, unless `fit` is False."""
    first = tokenizer(list(given), add_special_tokens=False).input_ids
    second = tokenizer(list(learned), add_special_tokens=False).input_ids
    ids = np.full((len(first), width), tokenizer.pad_token_id, dtype=np.int16)
    start = np.array([len(part) for part in first], dtype=np.int16)
    for row, head, tail in zip(ids, first, second, strict=True):
        tokens = [*head, *tail]
        if fit and len(tokens) > width:
            raise ValueError(f"{len(tokens)} tokens do not fit into {width}")
        row[: min(width, len(tokens))] = tokens[:width]
    return Rows(ids, start)


def caption_rows(tokenizer: PreTrainedTokenizerBase, characters: int, seed: int, workers: int, world: int = 1) -> Rows:
    """One row for each training picture, in the order of the data folder."""
    ends = np.linspace(0, characters, max(1, min(workers, characters // 50)) + 1).astype(int).tolist()
    shares = [(tokenizer, first, last, seed, world) for first, last in pairwise(ends)]
    if len(shares) == 1:
        return _caption_rows(*shares[0])
    with processes(len(shares)) as pool:
        parts = list(pool.map(_caption_rows, *zip(*shares, strict=True)))
    return Rows(np.concatenate([part.ids for part in parts]), np.concatenate([part.start for part in parts]))


def _caption_rows(tokenizer: PreTrainedTokenizerBase, first: int, last: int, seed: int, world: int) -> Rows:
    given, learned = [], []
    for character_seed in range(first, last):
        character = make_character(character_seed, world)
        chance = chance_of(seed, "caption prompts", character_seed)
        for view in (view for scene in scenes_of(character_seed) for view in scene):
            if chance.random() < PHRASES_SHARE:
                given.append(prompt(chance.choice(PHRASES_QUESTIONS), 1, chance))
                learned.append(view_phrases(character, view) + END)
            else:
                question = chance.choice((CAPTION_QUESTIONS[0], chance.choice(CAPTION_QUESTIONS)))
                given.append(prompt(question, 1, chance))
                learned.append(plain_caption(character, view) + END)
    return rows_of(tokenizer, given, learned, CAPTION_TOKENS)


def same_rows(tokenizer: PreTrainedTokenizerBase, seed: int) -> Rows:
    """SAME_PROMPTS prompts answered `no`, then the same ones answered `yes`."""
    chance = chance_of(seed, "same prompts")
    asked = [SAME_QUESTIONS[0]] * 16 + [chance.choice(SAME_QUESTIONS) for _ in range(SAME_PROMPTS - 16)]
    given = [prompt(question, 2, chance) for question in asked]
    return rows_of(tokenizer, given * 2, ["no" + END] * SAME_PROMPTS + ["yes" + END] * SAME_PROMPTS, SAME_TOKENS)


def edit_rows(tokenizer: PreTrainedTokenizerBase, data: Path, most: int) -> tuple[Rows, NDArray[np.int32]]:
    """Edit prompts, whose instruction is learned, and the source picture of each; at most `most`, spread over the data."""
    edits = np.load(data / "edits.npy")
    lines = (data / "edits.txt").read_text().split("\n")
    chosen = np.arange(0, len(edits), max(1, len(edits) // most))
    head, tail = EDIT_TEMPLATE.replace(IMAGE, IMAGE * IMAGE_TOKENS).split("{}")
    learned = [lines[index] + END for index in chosen]
    assert tail.startswith(END)
    rows = rows_of(tokenizer, [head] * len(chosen), learned, EDIT_TOKENS, fit=False)
    return rows, edits[chosen, 0]


def lookalikes(labels: NDArray[np.int8], columns: Sequence[int], number: int) -> NDArray[np.int64]:
    """For each character its `number` most similar others, (characters, number), by labels that are of the character."""
    own = labels[::PICTURES_PER_CHARACTER][:, columns]
    found = np.empty((len(own), number), dtype=np.int64)
    for index, row in enumerate(own):
        alike = (own == row).sum(axis=1)
        alike[index] = -1
        found[index] = np.argpartition(-alike, number)[:number]
    return found
