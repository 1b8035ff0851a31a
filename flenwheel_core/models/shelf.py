"""Loaded weights that outlive the piece of work they were loaded for: one transformer at a time, in the memory of one process.

A benchmark draws with two LoRAs, a comparison of editors edits with two, and a family that draws and edits does both with one transformer.
Encoders do not share the card with it: what stands here leaves before one is loaded. It is bare: each piece of work puts its own LoRAs on
it. It is taken only under the very name it was put here with, which says everything that its numbers depend on, so that a picture is the
same whether its transformer was just loaded or not.
"""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from flenwheel_core.memory.card import free_memory

if TYPE_CHECKING:
    from flenwheel_core.transformer.fast import FastTransformer
    from flenwheel_core.transformer.plan import AdapterPlan

Kept = TypeVar("Kept")
Fast = TypeVar("Fast", bound="FastTransformer")


class Shelf:
    """Room for one loaded transformer. Nobody who takes it may change its weights."""

    def __init__(self) -> None:
        self._name: Hashable = None
        self._kept: object = None

    @property
    def is_empty(self) -> bool:
        return self._kept is None

    def take(self, name: Hashable, load: Callable[[], Kept]) -> Kept:
        """What stands here under this name. Anything else leaves first, and `load` is called."""
        if self._kept is None or self._name != name:
            self.clear()
            self._kept, self._name = load(), name
        return cast(Kept, self._kept)

    def clear(self) -> None:
        """Gives its memory back."""
        if self._kept is not None:
            self._kept = self._name = None
            free_memory()


def take_fast(shelf: Shelf | None, name: Hashable, build: "Callable[[AdapterPlan], Fast]", worn: "AdapterPlan") -> Fast:
    """A fast transformer with these adapters, whose matrices are zero: from the shelf if there is one, else built."""
    if shelf is None:
        return build(worn)
    from flenwheel_core.transformer.plan import NO_ADAPTERS

    fast = shelf.take(name, lambda: build(NO_ADAPTERS))
    fast.put_on(worn)
    return fast


def files_as_they_are(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of the files of a folder: they change when somebody replaces one."""
    found = ((path, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return tuple((path.name, stat.st_size, stat.st_mtime_ns) for path, stat in found)
