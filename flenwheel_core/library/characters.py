"""The library: characters, their turns, their training pools and champions. All of it is journals folded into the present state."""

import re
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field, model_validator

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.ids import Digest, Slug, short
from flenwheel_core.base.names import CHARACTER, ClassWord, Trigger
from flenwheel_core.documents.characters import KINDS_SAID, CharacterRef, Consent, SubjectKind
from flenwheel_core.documents.framings import Framing
from flenwheel_core.documents.images import ImageRecord, is_empty, is_unset
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.scores import Fingerprint, Scorecard
from flenwheel_core.images.names import printable_path
from flenwheel_core.library.turn_numbers import Look, TurnOpened, claim_number, opened_turns
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.store import Journal, Store
from flenwheel_core.store.pictures import picture_content


class Character(Document):
    """A character. Fixed with its first turn: trigger and class word never change under a trained LoRA."""

    name: Slug
    trigger: Trigger
    class_word: ClassWord
    kind: SubjectKind = Field(description=KINDS_SAID)
    recipe: str = Field(description="Name of the recipe its turns use by default.")

    def ref(self) -> CharacterRef:
        return CharacterRef(name=self.name, trigger=self.trigger, class_word=self.class_word, kind=self.kind)


class CharacterChange(Document):
    """What a character became before its first turn."""

    at: AwareDatetime
    character: Character | None = Field(description="None: it was removed")


class ConsentGiven(Document):
    """What a person said about whose face a character has; the newest line counts."""

    at: AwareDatetime
    consent: Consent


class SourceBatch(Document):
    """Files a user gave for a character, or took back."""

    at: AwareDatetime
    files: tuple[SourceFile, ...]
    taken_back: tuple[Digest, ...] = Field(default=(), description="files that count no more, unless given again later")
    framings: dict[Digest, Framing | None] = Field(
        default_factory=dict, exclude_if=is_empty, description="what a person said of files; None: ingest looks itself"
    )


class PoolEntry(Document):
    """A picture that entered the training pool. Entries are only ever added."""

    image: ImageRecord
    caption: str
    real: bool
    turn: int
    gate: str | None = Field(description="the gate that let it in; None for sources")


class Promotion(Document):
    """A decision about which LoRA is the champion."""

    at: AwareDatetime
    lora: LoraRecord
    scorecard: Scorecard
    turn: int
    flow_run: str
    reasons: tuple[str, ...] = ()


class TurnEnded(Document):
    """How a turn ended."""

    at: AwareDatetime
    number: int
    flow_run: str
    outcome: Literal["promoted", "kept", "stopped", "finished", "ended"] = Field(
        description="stopped: a person answered a gate so; ended: a person ended a turn whose run does not go on"
    )
    by: str = Field(default="", description="who ended it, if its run did not")
    challenger: Scorecard | None = None
    report: Digest | None = Field(default=None, description="blob: the report, markdown")


class CharacterFacts(Document):
    """What ingest found out about a character: frozen with its first turn."""

    sources: Digest
    fingerprint: Fingerprint | None
    held_out: Digest | None = Field(
        default=None, exclude_if=is_unset, description="image set of a style's paintings that are only measured against"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, content: object) -> object:
        """Earlier versions wrote a scorecard that nothing read; such documents stay readable."""
        if isinstance(content, dict):
            content = {key: value for key, value in content.items() if key != "first_scorecard"}
        return content


class Library:
    """Reads and appends to the library of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # characters

    def create_character(self, character: Character) -> None:
        """Adds a character; the same one again is fine. Another of the same name, or an impossible name, raises InputError."""
        CHARACTER.check(character.name)
        standing = self.find(character.name)
        if standing is None:
            if not self.store.put_document(f"characters/{character.name}/character", character):
                self._change(character.name, character)
        elif standing != character:
            raise InputError(
                f"There is a character {character.name} already, with another trigger, class word, kind or recipe.",
                remedy=f"Choose another name, or change it before its first turn: flenwheel character change {character.name}.",
            )

    def change_character(self, character: Character) -> None:
        """Gives a character another trigger, class word, kind or recipe. Raises InputError once it has had a turn."""
        if self.character(character.name) == character:
            return
        if self.has_begun(character.name):
            raise InputError(
                f"There is a character {character.name} already, with another trigger, class word, kind or recipe.",
                why="these are fixed with its first turn: trained LoRAs depend on them.",
                remedy="Choose another name.",
            )
        self._change(character.name, character)

    def remove_character(self, name: str) -> None:
        """Takes back all pictures of a character and the character itself. Raises InputError once it has had a turn."""
        self.character(name)
        if self.has_begun(name):
            raise InputError(
                f"{name} has had a turn, and stays.",
                why="pictures, LoRAs and decisions of it are what others were made from.",
                remedy="Let it rest: a character that nobody starts a turn for costs nothing.",
            )
        self._take_back(name, tuple(dict.fromkeys(file.digest for file in self.sources(name))))
        self._change(name, None)

    def give_consent(self, name: str, consent: Consent) -> None:
        """Keeps whose face a character has and who vouches for its use; at any time, and nothing said before is lost."""
        self.character(name)
        if self.consent(name) != consent:
            self._consents(name).append(ConsentGiven(at=datetime.now(UTC), consent=consent))

    def consent(self, name: str) -> Consent | None:
        """Whose face a character has, as far as a person said."""
        removed = self.removed_at(name)
        lines = [line for line in self._consents(name).read() if removed is None or line.at > removed]
        return lines[-1].consent if lines else None

    def _consents(self, name: str) -> Journal[ConsentGiven]:
        return self.store.journal(f"characters/{name}/consent", ConsentGiven)

    def has_begun(self, name: str) -> bool:
        """True once anything was made of the character's pictures."""
        return bool(self.turns(name) or self.pool(name) or self.facts(name))

    def removed_at(self, name: str) -> datetime | None:
        """When a character of this name was last removed."""
        return max((change.at for change in self._changes(name).read() if change.character is None), default=None)

    def find(self, name: str) -> Character | None:
        """The character of that name; None if there is none."""
        if re.fullmatch(r"[a-z0-9-]{1,63}", name) is None:
            return None
        found = self.store.get_document(f"characters/{name}/character", Character)
        for change in self._changes(name).read():
            found = change.character
        return found

    def _change(self, name: str, character: Character | None) -> None:
        self._changes(name).append(CharacterChange(at=datetime.now(UTC), character=character))

    def _changes(self, name: str) -> Journal[CharacterChange]:
        return self.store.journal(f"characters/{name}/changes", CharacterChange)

    def character(self, name: str) -> Character:
        """The character of that name; raises NotFoundError."""
        if (found := self.find(name)) is None:
            raise NotFoundError(
                f"There is no character {name[:80]!r}.",
                why=f"characters here: {', '.join(self.characters()) or 'none yet'}.",
                remedy="Create it: flenwheel ingest NAME FOLDER.",
            )
        return found

    def usable_character(self, name: str) -> Character:
        """The character of that name, for a turn; raises InputError if an older version gave it a name that gates cannot hold."""
        found = self.character(name)
        CHARACTER.check(name)
        return found

    def characters(self) -> list[str]:
        """Names of all characters."""
        names = self.store.list_documents("characters")
        made = (name.split("/")[1] for name in names if name.endswith("/character"))
        return sorted(name for name in made if self.find(name) is not None)

    # sources

    def add_sources(self, character: str, files: tuple[SourceFile, ...]) -> None:
        """Adds files that a user gave. Ingest decides later which are usable."""
        if not files:
            return
        journal = self.store.journal(f"characters/{character}/sources", SourceBatch)
        journal.append(SourceBatch(at=datetime.now(UTC), files=files))

    def take_back(self, character: str, digests: tuple[Digest, ...]) -> None:
        """Files that count no more. Raises NotFoundError for one that was not given, InputError for one that is in the training pool."""
        given = {file.digest: file for file in self.sources(character)}
        pooled = self._pooled_sources(character)
        for digest in digests:
            if digest not in given:
                raise NotFoundError(
                    f"{character} has no source {short(digest)}.", remedy=f"See: flenwheel character show {character}."
                )
            if digest in pooled:
                raise InputError(
                    f"{printable_path(given[digest].name)} cannot be taken back.",
                    why="it is in the training pool, which only grows: LoRAs may have learned from it.",
                    remedy="Give the other pictures to a character of another name.",
                )
        self._take_back(character, digests)

    def frame_source(self, character: str, digest: Digest, framing: Framing | None) -> None:
        """Keeps what a person says of a source: its cut and hidden parts; None takes that back.

        Raises NotFoundError for a file that was not given, and InputError for another cut of one that is in the training pool: the whole
        picture stays there, so only masks can hide what it shows.
        """
        file = next((one for one in self.sources(character) if one.digest == digest), None)
        if file is None:
            raise NotFoundError(f"{character} has no source {short(digest)}.")
        pooled = self._pooled_sources(character).get(digest)
        crop = framing.crop if framing is not None else None
        standing = pooled.framing.crop if pooled is not None and pooled.framing is not None else None
        if pooled is not None and crop != standing:
            raise InputError(
                f"{printable_path(file.name)} cannot be cut otherwise.",
                why="it is in the training pool, which only grows: the picture as it was would stay beside the new one.",
                remedy="Hide parts of it instead: masks of pictures in the pool can be changed.",
            )
        journal = self.store.journal(f"characters/{character}/sources", SourceBatch)
        journal.append(SourceBatch(at=datetime.now(UTC), files=(), framings={digest: framing}))

    def _take_back(self, character: str, digests: tuple[Digest, ...]) -> None:
        if digests:
            journal = self.store.journal(f"characters/{character}/sources", SourceBatch)
            journal.append(SourceBatch(at=datetime.now(UTC), files=(), taken_back=digests))

    def _pooled_sources(self, character: str) -> dict[Digest, ImageRecord]:
        """The files that pictures in the pool were read from, each with its picture."""
        found: dict[Digest, ImageRecord] = {}
        real = [entry.image for entry in self.pool(character) if entry.real]
        for key in dict.fromkeys(image.request for image in real):
            request = self.store.get_request(IngestRequest, key)
            images = {image.item: image for image in real if image.request == key}
            files = self.sources(character) if request is None else request.files
            found |= {file.digest: images[file.name] for file in files if file.name in images}
        return found

    def sources(self, character: str) -> tuple[SourceFile, ...]:
        """All files given so far, in the order given.

        A content that was given again has the names, the caption, the mask and the framing of the last time; without one it keeps what it
        had.
        Two names for one content that were given together both stay: ingest says which of them it takes.
        """
        journal = self.store.journal(f"characters/{character}/sources", SourceBatch)
        found: dict[Digest, dict[str, SourceFile]] = {}
        for batch in journal.read():
            for digest in batch.taken_back:
                found.pop(digest, None)
            given: dict[Digest, dict[str, SourceFile]] = {}
            for file in batch.files:
                given.setdefault(file.digest, {})[file.name] = file
            for digest, files in given.items():
                known = (*files.values(), *found.get(digest, {}).values())
                caption = next((file.caption for file in known if file.caption), None)
                mask = next((file.mask for file in known if file.mask), None)
                framing = next((file.framing for file in known if file.framing), None)
                kept = {"caption": caption, "mask": mask, "framing": framing}
                found[digest] = {
                    name: file.model_copy(update={key: getattr(file, key) or value for key, value in kept.items()})
                    for name, file in files.items()
                }
            for digest, said in batch.framings.items():
                for name, file in found.get(digest, {}).items():
                    found[digest][name] = file.model_copy(update={"framing": said})
        return tuple(file for files in found.values() for file in files.values())

    # turns

    def open_turn(self, character: str, flow_run: str, recipe: Digest, look: Look | None = None) -> TurnOpened:
        """The turn of this flow run: the one it opened before, or the next number; `look` may refuse a further one."""
        return claim_number(self.store, f"characters/{character}/turns", flow_run, recipe, look)

    def open_step(self, character: str, flow_run: str, recipe: Digest) -> TurnOpened:
        """The number of a step on its own, such as a training without a turn."""
        return claim_number(self.store, f"characters/{character}/steps", flow_run, recipe)

    def turns(self, character: str) -> list[TurnOpened]:
        """All turns of a character, in order."""
        return list(opened_turns(self.store, f"characters/{character}/turns"))

    def steps(self, character: str) -> list[TurnOpened]:
        """All steps on their own, in order."""
        return list(opened_turns(self.store, f"characters/{character}/steps"))

    def end_turn(self, character: str, ended: TurnEnded) -> None:
        """Records how a turn ended; a second record of the same flow run changes nothing."""
        journal = self.store.journal(f"characters/{character}/ended", TurnEnded)
        if all(line.flow_run != ended.flow_run for line in journal.read()):
            journal.append(ended)

    def ended_turns(self, character: str) -> list[TurnEnded]:
        """How the ended turns ended."""
        return list(self.store.journal(f"characters/{character}/ended", TurnEnded).read())

    # facts, pool, champion

    def freeze_facts(self, character: str, facts: CharacterFacts) -> CharacterFacts:
        """Keeps the facts of the first ingest; later calls get those back."""
        name = f"characters/{character}/facts"
        self.store.put_document(name, facts)
        frozen = self.store.get_document(name, CharacterFacts)
        assert frozen is not None
        return frozen

    def facts(self, character: str) -> CharacterFacts | None:
        """The frozen facts, if the character was ingested."""
        return self.store.get_document(f"characters/{character}/facts", CharacterFacts)

    def add_to_pool(self, character: str, entries: "tuple[PoolEntry, ...] | list[PoolEntry]") -> None:
        """Adds what is not in the pool yet."""
        known = {entry.image.digest for entry in self.pool(character)}
        fresh = {entry.image.digest: entry for entry in entries if entry.image.digest not in known}
        self.store.journal(f"characters/{character}/pool", PoolEntry).extend(list(fresh.values()))

    def add_sources_to_pool(self, character: str, entries: "tuple[PoolEntry, ...] | list[PoolEntry]") -> None:
        """Adds sources whose picture is not in the pool yet. The digest of a stored picture counts the request that read it, so that the
        same picture has another one when files were added since: it stays the one that it was, with its newest caption and mask."""
        pool = self.pool(character)
        known = {entry.image.digest: entry for entry in pool}
        new = any(entry.image.digest not in known for entry in entries)
        standing = {picture_content(self.store, entry.image.digest): entry for entry in pool if entry.real and new}
        lines = []
        for entry in entries:
            same = known.get(entry.image.digest)
            if same is None and standing:
                same = standing.get(picture_content(self.store, entry.image.digest))
            if same is None:
                lines.append(entry)
            elif (same.caption, same.image.mask) != (entry.caption, entry.image.mask):
                image = same.image.model_copy(update={"mask": entry.image.mask})
                lines.append(same.model_copy(update={"caption": entry.caption, "image": image}))
        self.store.journal(f"characters/{character}/pool", PoolEntry).extend(lines)

    def pool(self, character: str) -> list[PoolEntry]:
        """The training pool: sources, good enriched images and pristine synthetic ones."""
        journal = self.store.journal(f"characters/{character}/pool", PoolEntry)
        return list({entry.image.digest: entry for entry in journal.read()}.values())

    def promote(self, character: str, promotion: Promotion, *, again: bool = False) -> None:
        """Makes a LoRA the champion; a second record of the same flow run changes nothing, unless it is to be champion `again`."""
        journal = self.store.journal(f"characters/{character}/champions", Promotion)
        if again or all(line.flow_run != promotion.flow_run or line.lora != promotion.lora for line in journal.read()):
            journal.append(promotion)

    def champion(self, character: str, before_turn: int | None = None) -> Promotion | None:
        """The present champion, or the one that stood before a turn began."""
        journal = self.store.journal(f"characters/{character}/champions", Promotion)
        found = [line for line in journal.read() if before_turn is None or line.turn < before_turn]
        return found[-1] if found else None

    def champions(self, character: str) -> list[Promotion]:
        """Every promotion, oldest first."""
        return list(self.store.journal(f"characters/{character}/champions", Promotion).read())
