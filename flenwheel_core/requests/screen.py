"""Request and result of the stage `screen`."""

from pydantic import Field

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import is_unset
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.recipes.screening import ScreeningRecipe
from flenwheel_core.requests.base import StageRequest, StageResult


class ScreenRequest(StageRequest):
    stage = "screen"
    version = 7  # since then the request says what finds writing, and not what lies on the machine

    character: CharacterRef
    images: Digest = Field(description="image set of the candidates")
    references: Digest = Field(description="image set of the real sources")
    pool: Digest | None = Field(default=None, description="image set of the training pool, for duplicates")
    fingerprint: Fingerprint
    verifier: str
    reader: str | None = Field(default=None, description="reads angle and expression; None: the verifier's own hint")
    writing_finder: str | None = Field(
        default=None, exclude_if=is_unset, description="version of what finds writing; None: it is not looked for"
    )
    recipe: ScreeningRecipe
    strict: bool = Field(default=False, description="gate B is stricter than gate A")


class ScreenResult(StageResult):
    screenings: Digest = Field(description="screening table, one row a candidate, in the candidates' order")
    passed: int
    unsure: int
    failed: int

    def summary(self) -> str:
        return f"{self.passed} pass, {self.unsure} unsure, {self.failed} fail"
