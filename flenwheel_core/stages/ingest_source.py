"""A source picture on its way through ingest, and what is found out about the files."""

from dataclasses import dataclass

from flenwheel_core.documents.images import ImageRecord, Labels
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.images.names import printable_path
from flenwheel_core.images.quality import Measures
from flenwheel_core.requests.ingest import IngestProblem, SourceFile


@dataclass(frozen=True)
class Source:
    """A usable source."""

    file: SourceFile
    record: ImageRecord
    measures: Measures
    labels: Labels
    embedded: Embedded


class Problems:
    """What was found about the files, in order."""

    def __init__(self) -> None:
        self.found: list[IngestProblem] = []

    def drop(self, file: SourceFile, code: str, message: str) -> None:
        self._add(file, code, message, dropped=True)

    def doubt(self, file: SourceFile, code: str, message: str) -> None:
        self._add(file, code, message, dropped=False)

    def _add(self, file: SourceFile, code: str, message: str, *, dropped: bool) -> None:
        name = printable_path(file.name)
        self.found.append(IngestProblem(file=name, code=code, message=message, dropped=dropped))
