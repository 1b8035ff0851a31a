"""Sample texts for the tokenizers: captions and instructions of training characters, names, and the words people add."""

import random
from dataclasses import replace

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.nano.world import (
    SYLLABLES,
    caption,
    instruction,
    make_character,
    make_edit,
    make_view,
    rare_name,
)
from tools.nano_training.data import training_captions

SAMPLES = 20_000
TOKENIZER_CHARACTERS = 4000
EXTRA_WORDS = (
    *(
        "a",
        "an",
        "the",
        "of",
        "and",
        "with",
        "without",
        "in",
        "on",
        "at",
        "to",
        "make",
        "keep",
        "same",
        "identity",
        "person",
    ),
    *(
        "man",
        "woman",
        "character",
        "remove",
        "add",
        "wearing",
        "image",
        "picture",
        "portrait",
        "close",
        "up",
        "full",
        "body",
    ),
    *("looking", "camera", "left", "right", "turn", "head", "smile", "happy", "angry", "sad", "change", "background"),
    *(
        "lighting",
        "pose",
        "edit",
        "young",
        "old",
        "face",
        "eyes",
        "photo",
        "style",
        "expression",
        "view",
        "own",
        "clothes",
    ),
)


def syllables() -> tuple[str, ...]:
    """Pieces that rare names and triggers are made of."""
    return (*SYLLABLES, "_char", "_person", "_x", "_style")


def sample_captions(world: int = 1) -> list[str]:
    """The same texts of a world on every machine."""
    chance = random.Random(5)  # noqa: S311
    texts = []
    for index in range(SAMPLES):
        character, view = make_character(index, world), make_view(index)
        if world > 1 and index % 10 == 9:
            view = replace(view, companion=index + 1)
        texts.append(caption(character, view, rng=chance))
        if index % 3 == 0:
            texts.append(instruction(view, make_edit(view, index), rng=chance))
        if index % 4 == 0:
            texts.append(f"photo of {rare_name(character)}")
    texts += [" ".join(chance.choice(EXTRA_WORDS) for _ in range(8)) for _ in range(800)]
    return texts


def texts_for_tokenizer(world: int = 1) -> list[str]:
    """Captions and instructions of training characters of a world, in the forms of training."""
    found = []
    for seed in range(TOKENIZER_CHARACTERS):
        character, view = make_character(seed, world), make_view(derive_seed(seed, "tokenizer"))
        if world > 1 and seed % 10 == 9:
            view = replace(view, companion=seed + 1)
        found += [
            *training_captions(character, view, derive_seed(seed, "tokenizer captions")),
            caption(character, view),
        ]
        found.append(instruction(view, make_edit(view, seed)))
    return found
