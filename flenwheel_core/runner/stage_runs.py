"""Who ran what, when, on which card: the stages' own records of their runs."""

from typing import Literal

from pydantic import AwareDatetime

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.store import Journal, Store


class StageRun(Document):
    """One line at the start and one at the end of every stage process. The start is written with the card's lock held."""

    event: Literal["started", "finished", "failed"]
    at: AwareDatetime
    stage: str
    request: Digest
    host: str
    pid: int
    slot: str | None
    """The GPU slot it holds, or the slots with commas between them; None for a stage without GPU."""
    flow_run: str | None = None
    error: str | None = None
    seconds: float | None = None
    peak_vram_gib: float | None = None
    peak_ram_gib: float | None = None
    versions: dict[str, str] | None = None

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of `slot`."""
        return tuple(self.slot.split(", ")) if self.slot is not None else ()


def stage_runs(store: Store) -> Journal[StageRun]:
    """The journal of all stage runs."""
    return store.journal("stage-runs", StageRun)
