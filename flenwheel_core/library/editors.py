"""The editor's own library: its Flywheel 2 runs and its champions. One editor serves all characters of a workspace."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from flenwheel_core.adapters.lora_header import read_header
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.given_path import given_path, is_file
from flenwheel_core.base.ids import Digest
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.library.turn_numbers import Look, TurnOpened, claim_number, opened_turns
from flenwheel_core.models.digests import file_digests
from flenwheel_core.models.hub_file import fetch_file, hub_file
from flenwheel_core.models.references import digest_memory
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.edit_compare import EditorScorecard
from flenwheel_core.store import Store

TURNS = "editor/turns"


class EditorPromotion(Document):
    """A decision about which LoRA the editor wears."""

    at: AwareDatetime
    lora: LoraRecord
    weight: float
    scorecard: EditorScorecard
    flow_run: str
    reasons: tuple[str, ...] = ()


EditorOutcome = Literal["promoted", "kept", "stopped", "too few", "ended"]
ANSWERED = ("promoted", "kept", "stopped")
"""Ends of runs whose lessons a person answered for, one way or the other."""


class EditorRunEnded(Document):
    """How a run of Flywheel 2 ended."""

    at: AwareDatetime
    flow_run: str
    outcome: EditorOutcome
    triplets: Digest
    """The set that was collected, before checks."""
    collected: int
    by: str = ""
    """Who ended it, if the run did not."""


class EditorLibrary:
    """Reads and appends to the editor's journals."""

    def __init__(self, store: Store, settings: Settings | None = None) -> None:
        """`settings` say where models are kept; this process's own if None."""
        self.store = store
        self._settings = settings

    def promote(self, promotion: EditorPromotion) -> None:
        """Makes a LoRA the editor's champion; a second record of the same flow run changes nothing."""
        journal = self.store.journal("editor/champions", EditorPromotion)
        if all(line.flow_run != promotion.flow_run for line in journal.read()):
            journal.append(promotion)

    def champion(self, editor: str, *, but_not_of: str | None = None) -> EditorPromotion | None:
        """The newest promotion for this pinned editor; a LoRA of another base is no champion. `but_not_of` leaves a run's own out."""
        found = [
            line
            for line in self.store.journal("editor/champions", EditorPromotion).read()
            if line.lora.base_model == editor and line.flow_run != but_not_of
        ]
        return found[-1] if found else None

    def champions(self) -> list[EditorPromotion]:
        """Every promotion, oldest first."""
        return list(self.store.journal("editor/champions", EditorPromotion).read())

    def loras(self, editor: str) -> tuple[LoraUse, ...]:
        """What the champion wears, for the next edits."""
        standing = self.champion(editor)
        return (LoraUse(digest=standing.lora.digest, weight=standing.weight),) if standing is not None else ()

    def worn(self, recipe: Recipe) -> tuple[LoraUse, ...]:
        """All LoRAs of the next edits: the recipe's, then the champion. The files of the recipe are kept in the store.

        Raises InputError for a file that is not there, or is no LoRA by its header; MissingWeightsError for one that the Hub does not give.
        """
        return (*self.community(recipe), *self.loras(recipe.models.editor))

    def community(self, recipe: Recipe) -> tuple[LoraUse, ...]:
        """The LoRAs the recipe names."""
        found = []
        settings = self._settings or Settings()
        for lora in recipe.enrich.loras:
            path = _lora_path(lora.file, settings)
            read_header(path)
            (digest,) = file_digests([path], digest_memory(settings))
            if not self.store.has_blob(digest):
                digest = self.store.put_blob(path.read_bytes())
            found.append(LoraUse(digest=digest, weight=lora.weight))
        return tuple(found)

    # turns

    def open_turn(self, flow_run: str, recipe: Digest, look: Look | None = None) -> TurnOpened:
        """The turn of this flow run: the one it opened before, or the next number; `look` may refuse a further one."""
        return claim_number(self.store, TURNS, flow_run, recipe, look)

    def turns(self) -> list[TurnOpened]:
        """All turns of the editor, in order."""
        return list(opened_turns(self.store, TURNS))

    def end_run(self, flow_run: str, outcome: EditorOutcome, triplets: Digest, collected: int, *, by: str = "") -> None:
        """Records how a run ended; a second record of the same flow run changes nothing."""
        journal = self.store.journal("editor/ended", EditorRunEnded)
        if all(line.flow_run != flow_run for line in journal.read()):
            journal.append(
                EditorRunEnded(
                    at=datetime.now(UTC),
                    flow_run=flow_run,
                    outcome=outcome,
                    triplets=triplets,
                    collected=collected,
                    by=by,
                )
            )

    def ended_runs(self) -> list[EditorRunEnded]:
        """How the ended runs ended, oldest first."""
        return list(self.store.journal("editor/ended", EditorRunEnded).read())

    def was_stopped(self) -> bool:
        """True if a person stopped the last turn at gate C."""
        answers = [run.outcome for run in self.ended_runs() if run.outcome in ANSWERED]
        return answers[-1:] == ["stopped"]


def _lora_path(file: str, settings: Settings) -> Path:
    """Where a recipe's LoRA file lies; fetched, if it is one of the Hub that is not here."""
    on_the_hub = hub_file(file)
    if on_the_hub is not None:
        return fetch_file(on_the_hub, settings)[1]
    path = given_path(file)
    if not is_file(path) or path.suffix != ".safetensors":
        raise InputError(
            f"There is no LoRA file {file}.",
            why="enrich.loras of the recipe names it.",
            remedy="Give the path of a .safetensors file, hub-id@revision:PATH of one on the Hub, or take the entry out.",
        )
    return path
