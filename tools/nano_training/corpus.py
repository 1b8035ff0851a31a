"""Sample texts for the tokenizers: captions and instructions of training characters, names, and the words people add."""

import random

from flenwheel_core.nano.world import (
    SYLLABLES,
    caption,
    instruction,
    make_character,
    make_edit,
    make_view,
    rare_name,
)

SAMPLES = 20_000
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


def sample_captions() -> list[str]:
    """The same texts on every machine."""
    chance = random.Random(5)  # noqa: S311
    texts = []
    for index in range(SAMPLES):
        character, view = make_character(index), make_view(index)
        texts.append(caption(character, view, rng=chance))
        if index % 3 == 0:
            texts.append(instruction(view, make_edit(view, index), rng=chance))
        if index % 4 == 0:
            texts.append(f"photo of {rare_name(character)}")
    texts += [" ".join(chance.choice(EXTRA_WORDS) for _ in range(8)) for _ in range(800)]
    return texts
