"""What the request and the result of every stage have in common. A stage is a pure function from one to the other.

Requests name every input by digest. The digest of a request, with the stage's name and version, names its output folder.
"""

from typing import ClassVar

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest, digest_json


class StageRequest(Document):
    """What a stage is asked to do."""

    stage: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when the same request must give another result: old results are then left alone, not reused."""

    def key(self) -> Digest:
        """The name of this request's output folder."""
        return digest_json({"stage": self.stage, "version": self.version, "request": self.model_dump(mode="json")})


class StageResult(Document):
    """What a stage made. Nothing in it is dated: the same request gives the same result, byte for byte."""

    def summary(self) -> str:
        """One line for logs and the CLI."""
        return ""
