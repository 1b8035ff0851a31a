"""Models that a person left out when fetching those of a recipe: this machine remembers it, and fetches them only when it is asked to."""

import json
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.locks import FileLock, locked
from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.models.hub import find_without_network
from flenwheel_core.models.references import hub_reference

if TYPE_CHECKING:
    from flenwheel_core.base.settings import Settings


def leave_out(references: Collection[str], settings: "Settings") -> None:
    """Remembers that these models are not to be fetched unasked."""
    with _held(settings):
        _write(_names(settings) | _ids(references), settings)


def take_again(references: Collection[str], settings: "Settings") -> None:
    """Forgets that any of these models was left out."""
    with _held(settings):
        standing = _names(settings)
        if standing & _ids(references):
            _write(standing - _ids(references), settings)


def is_left_out(reference: str, settings: "Settings") -> bool:
    """True for a model that was left out here and has not come since."""
    hub = hub_reference(reference)
    return hub is not None and hub[0] in _names(settings) and find_without_network(*hub, settings) is None


def refuse_left_out(references: Iterable[tuple[str, str]], settings: "Settings") -> None:
    """Raises MissingWeightsError for a model that something needs (its use and its reference) and that was left out here."""
    for use, reference in references:
        if is_left_out(reference, settings):
            raise MissingWeightsError(
                f"The {use} {reference} was left out when models were fetched here.",
                why="what a person left out is fetched only when it is asked for by name.",
                remedy="Fetch it: flenwheel models fetch RECIPE, without leaving it out.",
            )


def _ids(references: Collection[str]) -> set[str]:
    return {hub[0] for reference in references if (hub := hub_reference(reference)) is not None}


def _held(settings: "Settings") -> AbstractContextManager[FileLock]:
    """Of several that fetch at once, one changes the names at a time."""
    return locked(_path(settings).with_suffix(".lock"))


def _path(settings: "Settings") -> Path:
    return settings.models / "left_out.json"


def _names(settings: "Settings") -> set[str]:
    try:
        found = json.loads(_path(settings).read_bytes())
    except (OSError, ValueError):  # none, or cut off: then nothing was left out
        return set()
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


def _write(names: Collection[str], settings: "Settings") -> None:
    write_atomically(_path(settings), json.dumps(sorted(names)).encode())
