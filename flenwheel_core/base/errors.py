"""Every error a person can meet, each with what happened, why, and what to do about it.

FlenwheelError
├── UserError               exit 202: the same input will fail again
│   ├── RecipeError         a recipe or setting is wrong
│   ├── InputError          a picture, folder or document cannot be used
│   ├── MissingWeightsError model weights or an optional package are not on this machine
│   ├── ResourceError       too little video memory, memory or disk; found before the work begins
│   │   └── NoTighterPlanError  memory ran out, and nothing is left to give up
│   ├── NotFoundError       no such character, image, LoRA, gate or run
│   ├── GateError           a gate cannot be answered this way
│   └── TurnError           a turn cannot be begun or ended: another one is open, or it is over
├── StoreError              exit 202: the workspace holds something damaged
│   ├── CorruptBlobError    bytes do not match their digest
│   ├── CorruptManifestError a manifest or journal cannot be read
│   ├── SealedJournalError  nothing more may be written in this journal
│   └── ReadOnlyError       the store or the workspace may not be written to
├── RetryableError          exit 203: trying again makes sense
│   ├── InterruptedStageError  the stage was told to stop and saved its progress
│   ├── LostMemberError     a process or a machine that trained with this one is gone
│   ├── BusyError           too much is asked for at once
│   └── ServerError         the Prefect server or the object store does not answer
└── OutOfMemoryError        exit 210: tried again with a tighter memory plan, as long as there is one
"""

from typing import ClassVar

EXIT_DONE = 0
EXIT_DO_NOT_RETRY = 202
EXIT_MAY_RETRY = 203
EXIT_OUT_OF_MEMORY = 210


class FlenwheelError(Exception):
    """What happened, why, and the remedy, as one readable message."""

    exit_code: ClassVar[int] = EXIT_DO_NOT_RETRY

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        self.what = what
        self.why = why
        self.remedy = remedy
        super().__init__(self.message)

    @property
    def message(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"Why: {self.why}")
        if self.remedy:
            lines.append(f"What to do: {self.remedy}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.why, self.remedy)


def _rebuild(kind: type[FlenwheelError], what: str, why: str, remedy: str) -> FlenwheelError:
    return kind(what, why=why, remedy=remedy)


class UserError(FlenwheelError):
    """The same input will fail again."""


class RecipeError(UserError):
    """A recipe or a setting is wrong."""


class InputError(UserError):
    """A picture, a folder or a document cannot be used."""


class MissingWeightsError(UserError):
    """Model weights or an optional package are not on this machine."""


class ResourceError(UserError):
    """Too little video memory, memory or disk; found before the work begins."""


class NoTighterPlanError(ResourceError):
    """Memory ran out, and nothing is left to give up."""


class NotFoundError(UserError):
    """No such character, image, LoRA, gate or run."""


class GateError(UserError):
    """A gate cannot be answered this way."""


class TurnError(UserError):
    """A turn cannot be begun or ended: another one is open, or it is over."""


class StoreError(FlenwheelError):
    """The workspace holds something damaged."""


class CorruptBlobError(StoreError):
    """Bytes do not match their digest."""


class CorruptManifestError(StoreError):
    """A manifest or a journal cannot be read."""


class SealedJournalError(StoreError):
    """A journal takes no more lines: what it says was frozen."""


class ReadOnlyError(StoreError):
    """The store or the workspace may not be written to."""


class RetryableError(FlenwheelError):
    """Trying again makes sense."""

    exit_code = EXIT_MAY_RETRY


class InterruptedStageError(RetryableError):
    """The stage was told to stop and saved its progress."""


class LostMemberError(RetryableError):
    """A process or a machine that trained together with this one is gone."""


class BusyError(RetryableError):
    """Too much is asked for at once."""


class ServerError(RetryableError):
    """The Prefect server or the object store does not answer."""


class OutOfMemoryError(FlenwheelError):
    """The card ran out of memory."""

    exit_code = EXIT_OUT_OF_MEMORY


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind if it says nothing."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


BY_NAME: dict[str, type[FlenwheelError]] = {
    kind.__name__: kind
    for kind in (
        FlenwheelError,
        UserError,
        RecipeError,
        InputError,
        MissingWeightsError,
        ResourceError,
        NoTighterPlanError,
        NotFoundError,
        GateError,
        TurnError,
        StoreError,
        CorruptBlobError,
        CorruptManifestError,
        SealedJournalError,
        ReadOnlyError,
        RetryableError,
        InterruptedStageError,
        LostMemberError,
        BusyError,
        ServerError,
        OutOfMemoryError,
    )
}
"""Error classes by name: an error that crosses a process boundary keeps its kind."""
