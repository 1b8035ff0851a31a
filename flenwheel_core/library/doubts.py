"""Doubtful pictures of a training pool: raised by trainings, decided by people. Journals, folded into what is trained on."""

from collections.abc import Sequence
from datetime import UTC, datetime

from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.doubts import Doubt, DoubtDecided
from flenwheel_core.library.characters import Library, PoolEntry
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.store import Journal, Store


class Doubts:
    """The doubts about the pictures of one character."""

    def __init__(self, store: Store, character: str) -> None:
        self._store, self._character = store, character

    def raise_(self, doubts: Sequence[Doubt]) -> None:
        """Keeps what a training found; the same finding again changes nothing."""
        known = {(line.image, line.training) for line in self.raised()}
        self._findings().extend([one for one in doubts if (one.image, one.training) not in known])

    def raised(self) -> list[Doubt]:
        """Every doubt, oldest first."""
        return list(self._findings().read())

    def decided(self) -> dict[Digest, DoubtDecided]:
        """The last decision about each picture that somebody decided about."""
        return {line.image: line for line in self._decisions().read()}

    def waiting(self) -> tuple[Doubt, ...]:
        """The newest doubt about each picture that nobody has decided about yet: what the next gate shows."""
        newest, done = {one.image: one for one in self.raised()}, self.decided()
        return tuple(one for one in newest.values() if one.image not in done)

    def left_out(self) -> frozenset[Digest]:
        """The pictures that a person left out of the training."""
        return frozenset(image for image, line in self.decided().items() if not line.keep)

    def decide(self, image: Digest, *, keep: bool, by: str, gate: str = "") -> DoubtDecided:
        """Keeps a decision; a later one counts. Counts from the next training on.

        Raises NotFoundError for a picture that nothing was found about, and InputError where fewer would be left than its last turn's
        recipe trains on.
        """
        if all(one.image != image for one in self.raised()):
            raise NotFoundError(
                f"Nothing was found about a picture {image[:12]} of {self._character}.",
                remedy=f"See: flenwheel doubts {self._character}.",
            )
        if not keep:
            self._require_enough_without(image)
        line = DoubtDecided(at=datetime.now(UTC), by=by, image=image, keep=keep, gate=gate)
        self._decisions().append(line)
        return line

    def _require_enough_without(self, image: Digest) -> None:
        trained = {entry.image.digest for entry in trained_on(self._store, self._character)}
        least, left = self._least(), len(trained - {image})
        if image in trained and left < least:
            raise InputError(
                f"{image[:12]} cannot be left out: {self._character} would be trained on {left} pictures only.",
                why=f"a training asks for {least} (train.min_images in the recipe of its last turn).",
                remedy="Add pictures first, or keep another that was left out.",
            )

    def _least(self) -> int:
        turns = Library(self._store).turns(self._character)
        if not turns:
            return 1
        data = self._store.get_blob(turns[-1].recipe)
        return Recipe.from_bytes(data, where=f"the recipe of turn {turns[-1].number}").train.min_images

    def _findings(self) -> Journal[Doubt]:
        return self._store.journal(f"characters/{self._character}/doubts", Doubt)

    def _decisions(self) -> Journal[DoubtDecided]:
        return self._store.journal(f"characters/{self._character}/doubts-decided", DoubtDecided)


def trained_on(store: Store, character: str) -> list[PoolEntry]:
    """The training pool without what a person left out of it."""
    left = Doubts(store, character).left_out()
    return [entry for entry in Library(store).pool(character) if entry.image.digest not in left]
