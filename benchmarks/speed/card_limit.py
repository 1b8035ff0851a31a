"""A smaller card for the processes that this one starts, enforced from outside them: for several rehearsals at once on one large card.

`card_limit.c` says what is counted. A process that is killed leaves no line in the log.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flenwheel_core.base.errors import ResourceError

SOURCE = Path(__file__).with_name("card_limit.c")
GIB = 2**30


@dataclass(frozen=True)
class ProcessCount:
    """What one process allocated of the card."""

    pid: int
    peak_gib: float
    refused: int
    """Allocations that were refused because they did not fit."""


class LimitLog:
    """The file to which processes under the limit write when they exit."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def counts(self) -> list[ProcessCount]:
        """One entry for each process that allocated and was not killed, in the order of their ends."""
        if not self.path.exists():
            return []
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return [ProcessCount(int(pid), int(peak) / GIB, int(refused)) for pid, peak, refused in lines]


def build(folder: Path) -> Path:
    """Compiles the library into a folder. Raises ResourceError if there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise ResourceError(
            "A card cannot be limited for a single process.",
            why="there is no C compiler (cc or gcc) to build the library that does it.",
            remedy="Install one, as torch's compiler needs it too, or hold the rest of the card instead: --limit ballast.",
        )
    library = folder / "card_limit.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE)]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return library


@contextmanager
def limited_card(card_gib: float) -> Iterator[LimitLog]:
    """Processes that are started within find a card of this size; this process is none of them."""
    with tempfile.TemporaryDirectory(prefix="card-limit-") as folder:
        library, log = build(Path(folder)), Path(folder) / "log"
        before = os.environ.get("LD_PRELOAD")
        ours = {
            "LD_PRELOAD": f"{library}:{before}" if before else str(library),
            "CARD_LIMIT_GIB": str(card_gib),
            "CARD_LIMIT_LOG": str(log),
        }
        os.environ.update(ours)
        try:
            yield LimitLog(log)
        finally:
            for name in ours:
                del os.environ[name]
            if before is not None:
                os.environ["LD_PRELOAD"] = before
