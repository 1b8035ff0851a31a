"""The API of styles: studies of several ways of drawing, blind pairs, and what was said of them."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from deployments.studio.gate_models import Author
from deployments.studio.library_api import CharacterName
from deployments.studio.studio import Studio, TheStudio
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.ids import Digest
from flenwheel_core.library.studies import BlindPair, Choice, PairVerdict, Studies, StudyMade, WayWins
from flenwheel_core.requests.style_study import StyleStudyResult

router = APIRouter(tags=["styles"])
StudyKey = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="the study's digest")]


class StudyView(Document):
    """A study with what people said of its pairs."""

    made: StudyMade
    result: StyleStudyResult
    wins: tuple["WinsView", ...]


class WinsView(Document):
    """How often one way was preferred to another, with a 95 % interval."""

    wins: WayWins
    rate: float
    low: float
    high: float


class Pairs(Document):
    """The pairs of a study that an author has not judged yet, in a fixed order that says nothing."""

    pairs: tuple[BlindPair, ...]
    judged: int
    total: int


class JudgePair(Document):
    """A verdict on a pair."""

    author: Author
    pair: str = Field(pattern=r"^[0-9a-f]{32}$")
    first: Digest
    second: Digest
    choice: Choice | None = Field(
        default=None, description="the picture that is liked better; null takes the last back"
    )


@router.get("/characters/{name}/studies")
def list_studies(studio: TheStudio, name: CharacterName) -> list[StudyMade]:
    """The studies of a style, oldest first."""
    studio.library.character(name)
    return Studies(studio.store).of(name)


@router.get("/characters/{name}/studies/{study}")
def get_study(studio: TheStudio, name: CharacterName, study: StudyKey) -> StudyView:
    """One study: every way with its measures, and the wins of blind pairs."""
    return study_view(studio, name, study)


@router.get("/characters/{name}/studies/{study}/pairs")
def get_pairs(
    studio: TheStudio,
    name: CharacterName,
    study: StudyKey,
    author: Annotated[str, Query(min_length=1, max_length=60)],
    way: Annotated[list[Annotated[str, Query(max_length=200)]] | None, Query(max_length=50)] = None,
) -> Pairs:
    """Blind pairs of the chosen ways; of all, if none is named."""
    studies = Studies(studio.store)
    known_study(studies, name, study)
    pairs = studies.pairs(study, tuple(way or ()))
    done = {line.pair for line in studies.standing(study) if line.author == author}
    left = tuple(pair for pair in pairs if pair.id not in done)
    return Pairs(pairs=left, judged=len(pairs) - len(left), total=len(pairs))


@router.post("/characters/{name}/studies/{study}/pairs")
def judge_pair(studio: TheStudio, name: CharacterName, study: StudyKey, verdict: JudgePair) -> PairVerdict:
    """Keeps a verdict on a pair."""
    studies = Studies(studio.store)
    known_study(studies, name, study)
    line = PairVerdict(at=datetime.now(UTC), **verdict.model_dump())
    studies.judge(study, line)
    return line


def known_study(studies: Studies, name: str, study: str) -> StudyMade:
    """The line of a style's study; raises NotFoundError."""
    found = next((line for line in studies.of(name) if line.request == study), None)
    if found is None:
        raise NotFoundError(f"{name} has no study {study[:12]}.")
    return found


def study_view(studio: Studio, name: str, study: str) -> StudyView:
    """A study for the page and the API."""
    studio.library.character(name)
    studies = Studies(studio.store)
    made = known_study(studies, name, study)
    wins = tuple(
        WinsView(wins=one, rate=one.rate.value, low=one.rate.low, high=one.rate.high) for one in studies.wins(study)
    )
    return StudyView(made=made, result=studies.result(study)[1], wins=wins)
