"""Heads that were trained here, and previews of characters that were drawn with one."""

from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import CorruptManifestError
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import is_empty
from flenwheel_core.documents.injections import HeadFacts
from flenwheel_core.requests.inject import InjectRequest, InjectResult, InjectTrainRequest, InjectTrainResult
from flenwheel_core.store import Journal, Store


class HeadMade(Document):
    """A line about a head that was trained, or brought here."""

    at: AwareDatetime
    head: Digest
    facts: HeadFacts
    brought: bool = Field(default=False, exclude_if=is_empty, description="from a file that somebody named")


class PreviewMade(Document):
    """A line about pictures of a character that were drawn with what its photos show."""

    at: AwareDatetime
    request: Digest


class Injections:
    """Reads and appends to the heads and previews of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_head(self, request: InjectTrainRequest, result: InjectTrainResult) -> None:
        """Makes a trained head known; a second time changes nothing."""
        self._add(
            HeadMade(
                at=datetime.now(UTC), head=result.head, facts=result.facts.model_copy(update={"request": request.key()})
            )
        )

    def bring_head(self, data: bytes, facts: HeadFacts) -> Digest:
        """Keeps a head from a file, for what is drawn with it; characters are drawn with those that were trained here."""
        digest = self._store.put_blob(data)
        self._add(HeadMade(at=datetime.now(UTC), head=digest, facts=facts, brought=True))
        return digest

    def heads(self) -> list[HeadMade]:
        """All heads, oldest first."""
        return list(self._heads().read())

    def head_for(self, features: str, base: str) -> HeadMade | None:
        """The newest head that was trained here for these models, which are pinned references; None if there is none."""
        models = (features, base)
        fitting = [
            one for one in self.heads() if not one.brought and (one.facts.feature_model, one.facts.base) == models
        ]
        return fitting[-1] if fitting else None

    def add_preview(self, character: str, request: InjectRequest) -> None:
        """Makes pictures known as the newest preview of a character; the same once more changes nothing."""
        standing = list(self._previews(character).read())
        if not standing or standing[-1].request != request.key():
            self._previews(character).append(PreviewMade(at=datetime.now(UTC), request=request.key()))

    def preview(self, character: str) -> tuple[PreviewMade, InjectResult] | None:
        """The newest preview of a character; None if there is none. One that an earlier version wrote in another form is passed over."""
        for line in reversed(list(self._previews(character).read())):
            try:
                asked = self._store.get_request(InjectRequest, line.request)
                found = None if asked is None else self._store.get_result(asked, InjectResult)
            except CorruptManifestError:
                continue
            if found is not None:
                return line, found
        return None

    def _add(self, made: HeadMade) -> None:
        """Once; what was brought and is trained here as well is known as such from then on."""
        if all(one.head != made.head or (one.brought and not made.brought) for one in self.heads()):
            self._heads().append(made)

    def _heads(self) -> Journal[HeadMade]:
        return self._store.journal("injection/heads", HeadMade)

    def _previews(self, character: str) -> Journal[PreviewMade]:
        return self._store.journal(f"characters/{character}/previews", PreviewMade)
