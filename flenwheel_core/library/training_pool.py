"""What a character's LoRAs are trained on and measured by, for work outside of a turn."""

from dataclasses import dataclass

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.library.characters import Character, Library, PoolEntry
from flenwheel_core.library.doubts import trained_on


@dataclass(frozen=True)
class TrainingPool:
    """A character with all that training and a benchmark need of it."""

    character: Character
    entries: list[PoolEntry]
    fingerprint: Fingerprint


def training_pool(library: Library, name: str) -> TrainingPool:
    """The pool of that character, without what a person left out of the training.

    Raises NotFoundError, and InputError if no turn has filled it yet.
    """
    character, entries, facts = library.character(name), trained_on(library.store, name), library.facts(name)
    if not entries or facts is None or facts.fingerprint is None:
        raise InputError(
            f"{name} has no training pool yet.",
            why="pictures enter it in a turn.",
            remedy=f"Start a turn first: flenwheel run {name}.",
        )
    return TrainingPool(character, entries, facts.fingerprint)
