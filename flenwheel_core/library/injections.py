"""Heads that were trained here, and previews of characters that were drawn with one."""

from datetime import UTC, datetime

from pydantic import AwareDatetime

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.injections import HeadFacts
from flenwheel_core.requests.inject import InjectRequest, InjectResult, InjectTrainRequest, InjectTrainResult
from flenwheel_core.store import Journal, Store


class HeadMade(Document):
    """A line about a head that was trained, or brought here."""

    at: AwareDatetime
    head: Digest
    facts: HeadFacts


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
        self._add(result.head, result.facts.model_copy(update={"request": request.key()}))

    def bring_head(self, data: bytes, facts: HeadFacts) -> Digest:
        """Keeps a head from a file, and makes it known."""
        digest = self._store.put_blob(data)
        self._add(digest, facts)
        return digest

    def heads(self) -> list[HeadMade]:
        """All heads, oldest first."""
        return list(self._heads().read())

    def head_for(self, features: str, base: str) -> HeadMade | None:
        """The newest head for these models, which are pinned references; None if there is none."""
        fitting = [one for one in self.heads() if (one.facts.feature_model, one.facts.base) == (features, base)]
        return fitting[-1] if fitting else None

    def add_preview(self, character: str, request: InjectRequest) -> None:
        """Makes pictures known as the newest preview of a character; the same once more changes nothing."""
        standing = list(self._previews(character).read())
        if not standing or standing[-1].request != request.key():
            self._previews(character).append(PreviewMade(at=datetime.now(UTC), request=request.key()))

    def preview(self, character: str) -> tuple[PreviewMade, InjectResult] | None:
        """The newest preview of a character; None if there is none."""
        for line in reversed(list(self._previews(character).read())):
            asked = self._store.get_request(InjectRequest, line.request)
            found = None if asked is None else self._store.get_result(asked, InjectResult)
            if found is not None:
                return line, found
        return None

    def _add(self, head: Digest, facts: HeadFacts) -> None:
        if all(one.head != head for one in self.heads()):
            self._heads().append(HeadMade(at=datetime.now(UTC), head=head, facts=facts))

    def _heads(self) -> Journal[HeadMade]:
        return self._store.journal("injection/heads", HeadMade)

    def _previews(self, character: str) -> Journal[PreviewMade]:
        return self._store.journal(f"characters/{character}/previews", PreviewMade)
