"""From dropped pictures to a character that is ready for a turn: create, add pictures, ingest, and read the report."""

import threading
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import FlenwheelError, GateError, InputError, UserError
from flenwheel_core.base.ids import Digest
from flenwheel_core.base.plain_text import cut_to_bytes, one_line
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.framings import Framing
from flenwheel_core.images.decode import Limits, check_picture
from flenwheel_core.images.folder import CAPTION_BYTES
from flenwheel_core.images.names import printable_path
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.plans.cuts import cut_notes
from flenwheel_core.plans.ingest_request import pinned_ingest_request
from flenwheel_core.plans.subjects import usable_recipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.ingest import IngestRequest, IngestResult, SourceFile
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import INGEST
from flenwheel_core.store import Journal, Store

SOURCE_LIMITS = Limits(maximum_megapixels=120, maximum_bytes=64 * 2**20)
MOST_MASK_BYTES = 8 * 2**20
"""Black and white compress well; one upload holds the largest picture and this."""
MOST_FILES = 500


class IngestAsked(Document):
    """One line each time pictures were read: which request describes it."""

    at: AwareDatetime
    request: Digest


class IngestReport(Document):
    """How reading the pictures of a character went, or goes."""

    state: Literal["never", "running", "failed", "done"]
    progress: str = ""
    error: str = ""
    files: int = 0
    result: IngestResult | None = None
    cuts: tuple[str, ...] = Field(default=(), description="of which pictures training cuts much away")


class DropIn:
    """Creates characters and reads their pictures, one character at a time each, in a child process."""

    def __init__(self, store: Store, settings: Settings, seen: Store) -> None:
        self._store = store
        self._library = Library(store)
        self._seen = seen
        """The store as pages show it, which may be as of a moment ago: reports are read there."""
        self._seen_library = Library(seen)
        self._settings = settings
        self._lock = threading.Lock()
        self._running: dict[str, str] = {}
        self._failed: dict[str, str] = {}

    def create(self, character: Character) -> Character:
        """Adds a character or a style; raises RecipeError, InputError or NotFoundError for a recipe that cannot be used."""
        usable_recipe(character.recipe, character.kind)
        self._library.create_character(character)
        return character

    def change(self, character: Character) -> Character:
        """Gives a character another trigger, class word, kind or recipe, before its first turn."""
        usable_recipe(character.recipe, character.kind)
        self._not_while_reading(character.name)
        self._library.change_character(character)
        return character

    def remove(self, character: str) -> None:
        """Removes a character that has had no turn, with its pictures."""
        self._not_while_reading(character)
        self._library.remove_character(character)
        self._failed.pop(character, None)

    def take_back(self, character: str, digest: Digest) -> None:
        """A picture that was given counts no more. Raises InputError if it is in the training pool."""
        self._library.character(character)
        self._not_while_reading(character)
        self._library.take_back(character, (digest,))

    def frame(self, character: str, digest: Digest, framing: Framing | None) -> None:
        """What a person says of a picture: its cut and hidden parts; None lets ingest look itself."""
        self._not_while_reading(character)
        self._library.frame_source(character, digest, framing)

    def _not_while_reading(self, character: str) -> None:
        if character in self._running:
            raise GateError(f"The pictures of {character} are being read.", remedy="Wait until that is done.")

    def add_picture(
        self, character: str, data: bytes, name: str, caption: str | None, mask: bytes | None = None
    ) -> SourceFile:
        """Keeps a picture a user gave, with its mask. Raises InputError if the picture cannot be decoded: nothing unreadable enters the
        library. Whether the mask can be used is said when the pictures are read."""
        self._library.character(character)
        if len(self._library.sources(character)) >= MOST_FILES:
            raise InputError(f"{character} has {MOST_FILES} pictures already.", remedy="10 to 20 good ones are enough.")
        check_picture(data, name, SOURCE_LIMITS)
        words = cut_to_bytes(one_line(caption or ""), CAPTION_BYTES) or None
        file = SourceFile(
            name=_kept_name(name),
            digest=self._store.put_blob(data),
            caption=words,
            mask=self._store.put_blob(mask) if mask else None,
        )
        self._library.add_sources(character, (file,))
        return file

    def start(self, character: str) -> IngestReport:
        """Begins to read the character's pictures; raises GateError while that is going on."""
        found = self._library.character(character)
        if not self._library.sources(character):
            raise InputError(f"{character} has no pictures yet.", remedy="Drop some first.")
        with self._lock:
            if character in self._running:
                raise GateError(f"The pictures of {character} are being read already.")
            self._running[character] = "starting"
            self._failed.pop(character, None)
        threading.Thread(target=self._run, args=(found,), name=f"ingest-{character}", daemon=True).start()
        return self.report(character)

    def report(self, character: str) -> IngestReport:
        """How it stands, also after a restart of the studio."""
        seen = self._seen_of(character)
        library = Library(seen)
        files = len(library.sources(character))
        if character in self._running:
            return IngestReport(state="running", progress=self._running[character], files=files)
        if character in self._failed:
            return IngestReport(state="failed", error=self._failed[character], files=files)
        result = None
        removed = library.removed_at(character)
        for line in self._journal(character, seen).read():
            if removed is not None and line.at < removed:
                continue
            path = f"stages/ingest/{line.request}/manifest.json"
            if self._store.files.exists(path):
                result = IngestResult.from_bytes(self._store.files.read(path), where=path)
        result = result or self._read_by_a_turn(character)
        if result is None:
            return IngestReport(state="never", files=files)
        return IngestReport(state="done", files=files, result=result, cuts=self._cuts(library, character, result))

    def _seen_of(self, character: str) -> Store:
        """The store itself, if another machine made the character since pages last looked."""
        return self._store if self._seen_library.find(character) is None else self._seen

    def _cuts(self, library: Library, character: str, result: IngestResult) -> tuple[str, ...]:
        try:
            recipe = load_recipe(library.character(character).recipe)
            return cut_notes(self._store.get_images(result.sources), recipe.train)
        except UserError:
            # The recipe is a file that is gone, or the pictures are: what was read is shown all the same.
            return ()

    def _read_by_a_turn(self, character: str) -> IngestResult | None:
        """What the newest turn that read pictures found out about those that nobody had read here before."""
        readings = (path for path in self._store.list_documents(f"turns/{character}") if path.endswith("/ingest"))
        newest = max(readings, key=lambda path: int(path.split("/")[-2]), default=None)
        request = None if newest is None else self._store.get_document(newest, IngestRequest)
        return None if request is None else self._store.get_result(request, IngestResult)

    def _run(self, character: Character) -> None:
        def tell(event: ProgressEvent) -> None:
            self._running[character.name] = event.line()

        try:
            request = self._request(character)
            line = IngestAsked(at=datetime.now(UTC), request=request.key())
            self._journal(character.name).append(line)
            run_in_child(INGEST, request, self._settings, tell)
        except FlenwheelError as error:
            self._failed[character.name] = error.message
        except Exception as error:
            self._failed[character.name] = f"{type(error).__name__}: {error}"
        finally:
            self._running.pop(character.name, None)

    def _request(self, character: Character) -> IngestRequest:
        files = self._library.sources(character.name)
        return pinned_ingest_request(character, files, load_recipe(character.recipe), self._settings)

    def _journal(self, character: str, store: Store | None = None) -> Journal[IngestAsked]:
        return (store or self._store).journal(f"characters/{character}/ingests", IngestAsked)


def _kept_name(name: str) -> str:
    """A name that a browser sent, with its folders: two pictures of one name in two folders stay apart."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return printable_path("/".join(parts)) or "picture"
