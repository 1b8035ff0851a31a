"""The API of characters and turns: the drop-in start, and how turns go."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Path, UploadFile
from pydantic import Field

from deployments.studio.drop_in import MOST_MASK_BYTES, IngestReport
from deployments.studio.gate_models import Author, ImageDigest
from deployments.studio.studio import Studio, TheStudio
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import GateError, ServerError
from flenwheel_core.base.ids import Digest, Slug
from flenwheel_core.base.names import ClassWord, NewName, Trigger
from flenwheel_core.documents.characters import Consent, SubjectKind
from flenwheel_core.gates.flow_server import Flywheel, RunStatus, deleted_run
from flenwheel_core.gates.summary import CellCoverage, coverage_of
from flenwheel_core.images.folder import CAPTION_BYTES
from flenwheel_core.library.characters import Character
from flenwheel_core.recipes.loading import list_recipes, load_recipe
from flenwheel_core.records.open_turns import end_turn, only_one
from flenwheel_core.records.turns import TurnDetail, TurnView

router = APIRouter(tags=["characters and turns"])
CharacterName = Annotated[Slug, Path(description="name of the character")]
TurnNumber = Annotated[int, Path(ge=1, le=1_000_000)]


class NewCharacter(Character):
    """A character to create. Its recipe is one that comes with the project: a browser names no files."""

    name: NewName
    recipe: str = Field(max_length=80, pattern=r"^[a-z0-9][a-z0-9_-]*$")


class ChangeCharacter(Document):
    """What to change about a character that has had no turn; what is left out stays."""

    trigger: Trigger | None = None
    class_word: ClassWord | None = None
    kind: SubjectKind | None = None
    recipe: str | None = Field(default=None, max_length=80, pattern=r"^[a-z0-9][a-z0-9_-]*$")


class CharacterView(Document):
    """A character and what it has so far."""

    character: Character
    sources: tuple[Digest, ...] = Field(description="pictures the user gave, as given")
    pool: int
    pool_real: int
    held_out: int = Field(description="paintings of a style that are only measured against")
    coverage: tuple[CellCoverage, ...]
    turns: int
    champion: str | None
    champion_pass_rate: float | None
    ingest: IngestReport
    consent: Consent | None = Field(default=None, description="whose face it is and who vouches for its use")


class CharacterLine(Document):
    """A character in a list."""

    character: Character
    sources: tuple[Digest, ...]
    pool: int
    pool_real: int
    turns: int
    champion: str | None
    champion_pass_rate: float | None


class SourceTaken(Document):
    """A picture that was added."""

    digest: Digest
    name: str
    sources: int
    note: str = Field(
        default="", description="what a person should know, such as that the same picture was there already"
    )


class RecipeView(Document):
    """A recipe that may be chosen."""

    name: str
    description: str
    of_style: bool = Field(default=False, description="for styles; else for characters")


class StartTurn(Document):
    """What to start."""

    flywheel: Flywheel = "character"
    recipe: str | None = Field(default=None, max_length=80, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    beside_open_turn: bool = Field(default=False, description="begin although an earlier turn still waits or works")


class EndTurn(Document):
    """Who ends a turn."""

    author: Author


class TurnEnding(Document):
    """What became of a turn that a person ended."""

    said: str


class TurnWithRun(Document):
    """A turn and how its run stands."""

    turn: TurnView
    run: RunStatus | None
    run_address: str | None


class TurnPage(Document):
    """One turn in full."""

    turn: TurnDetail
    run: RunStatus | None
    run_address: str | None
    server_message: str = ""


@router.get("/recipes")
def get_recipes(studio: TheStudio) -> list[RecipeView]:
    """The recipes that come with the project."""
    found = [(name, load_recipe(name)) for name in list_recipes()]
    return [RecipeView(name=name, description=one.description, of_style=one.style is not None) for name, one in found]


@router.get("/characters")
def list_characters(studio: TheStudio) -> list[CharacterView]:
    """All characters, as of a moment ago."""
    return [character_view(studio, name) for name in studio.overview.characters().shown]


@router.post("/characters")
def create_character(studio: TheStudio, character: NewCharacter) -> CharacterView:
    """Creates a character. Trigger and class word never change after its first turn."""
    studio.drop_in.create(Character.model_validate(character.model_dump()))
    return character_view(studio, character.name)


@router.get("/characters/{name}")
def get_character(studio: TheStudio, name: CharacterName) -> CharacterView:
    """One character with its ingest report."""
    return character_view(studio, name)


@router.patch("/characters/{name}")
def change_character(studio: TheStudio, name: CharacterName, change: ChangeCharacter) -> CharacterView:
    """Changes a character. Trigger, class word, kind and recipe are fixed with its first turn."""
    standing = studio.library.character(name)
    studio.drop_in.change(standing.model_copy(update=change.model_dump(exclude_none=True)))
    return character_view(studio, name)


@router.post("/characters/{name}/consent")
def give_consent(studio: TheStudio, name: CharacterName, consent: Consent) -> CharacterView:
    """Says whose face a character has, and who vouches that it may be used. Kept with every LoRA, and shown on its card."""
    studio.library.give_consent(name, consent)
    return character_view(studio, name)


@router.delete("/characters/{name}", status_code=204)
def remove_character(studio: TheStudio, name: CharacterName) -> None:
    """Removes a character that has had no turn, with its pictures."""
    studio.drop_in.remove(name)


@router.delete("/characters/{name}/sources/{image}", status_code=204)
def take_back_source(studio: TheStudio, name: CharacterName, image: ImageDigest) -> None:
    """Takes back a picture that was given, unless it is in the training pool."""
    studio.drop_in.take_back(name, image)


@router.post("/characters/{name}/sources")
def add_source(
    studio: TheStudio,
    name: CharacterName,
    file: Annotated[UploadFile, File(description="PNG, JPEG, WebP, GIF, BMP, TIFF, or HEIC with the plug-in")],
    caption: Annotated[str | None, Form(max_length=CAPTION_BYTES)] = None,
    mask: Annotated[
        UploadFile | None, File(description="a picture that is white where this one is to be learned")
    ] = None,
) -> SourceTaken:
    """Adds one source picture."""
    before = {source.digest: source.name for source in studio.library.sources(name)}
    shown = None if mask is None else mask.file.read(MOST_MASK_BYTES + 1)
    too_large = shown is not None and len(shown) > MOST_MASK_BYTES
    taken = studio.drop_in.add_picture(
        name, file.file.read(), file.filename or "picture", caption, None if too_large else shown
    )
    there = before.get(taken.digest, taken.name)
    note = f"the same picture was there already, as {there}; it counts once." if there != taken.name else ""
    if too_large:
        note = f"{note} Its mask is too large and was not taken.".strip()
    sources = len(studio.library.sources(name))
    return SourceTaken(digest=taken.digest, name=taken.name, sources=sources, note=note)


@router.post("/characters/{name}/ingest")
def start_ingest(studio: TheStudio, name: CharacterName) -> IngestReport:
    """Reads the pictures: what is usable, what is doubtful, what is missing."""
    return studio.drop_in.start(name)


@router.get("/characters/{name}/ingest")
def get_ingest(studio: TheStudio, name: CharacterName) -> IngestReport:
    """The ingest report."""
    studio.library.character(name)
    return studio.drop_in.report(name)


@router.post("/characters/{name}/turns")
def start_turn(studio: TheStudio, name: CharacterName, request: StartTurn) -> RunStatus:
    """Starts a turn of a flywheel."""
    character = studio.library.usable_character(name)
    if studio.flows is None:
        raise GateError("This studio runs without a flow server.", remedy="Start the workspace with `flenwheel up`.")
    whose = name if request.flywheel == "character" else None
    if not request.beside_open_turn:
        only_one(studio.store, whose, studio.flows.run_statuses)(())
    return studio.flows.start_turn(
        request.flywheel, name, request.recipe or character.recipe, beside_open_turn=request.beside_open_turn
    )


@router.post("/turns/{name}/{number}/end")
def end_open_turn(studio: TheStudio, name: CharacterName, number: TurnNumber, request: EndTurn) -> TurnEnding:
    """Ends a turn, also one whose run failed, crashed, was cancelled or deleted. What was decided is kept."""
    studio.library.character(name)
    _, said = end_turn(studio.store, name, number, author=request.author, runs=studio.flows)
    return TurnEnding(said=said)


@router.get("/turns")
def list_turns(studio: TheStudio) -> list[TurnWithRun]:
    """All turns, the newest first, with the state of their runs if the server answers."""
    turns = studio.overview.turns().shown
    runs, _ = run_statuses(studio, tuple(turn.flow_run for turn in turns))
    return [TurnWithRun(turn=turn, run=runs.get(turn.flow_run), run_address=_address(studio, turn)) for turn in turns]


@router.get("/turns/{name}/{number}")
def get_turn(studio: TheStudio, name: CharacterName, number: TurnNumber) -> TurnPage:
    """One turn: steps with times and peak memory, gates, loss, comparison."""
    studio.overview.library_of(name).character(name)
    turn = studio.overview.turn(name, number)
    runs, message = run_statuses(studio, (turn.flow_run,))
    return TurnPage(turn=turn, run=runs.get(turn.flow_run), run_address=_address(studio, turn), server_message=message)


def run_statuses(studio: Studio, flow_runs: tuple[str, ...]) -> tuple[dict[str, RunStatus], str]:
    """How runs stand, and why that is not known if it is not."""
    if studio.flows is None or not flow_runs:
        return {}, ""
    try:
        known = studio.flows.run_statuses(flow_runs)
        return {id_: known.get(id_) or deleted_run(id_) for id_ in flow_runs}, ""
    except ServerError as error:
        return {}, error.what


def character_view(studio: Studio, name: str) -> CharacterView:
    """A character and what it has so far; raises NotFoundError."""
    library = studio.overview.library_of(name)
    character = library.character(name)
    pool = library.pool(name)
    champion = library.champion(name)
    facts = library.facts(name)
    return CharacterView(
        character=character,
        sources=tuple(dict.fromkeys(file.digest for file in library.sources(name))),
        pool=len(pool),
        pool_real=sum(entry.real for entry in pool),
        held_out=0 if facts is None or facts.held_out is None else len(studio.store.get_images(facts.held_out)),
        coverage=coverage_of(pool, ()),
        turns=len(library.turns(name)),
        champion=None if champion is None else champion.lora.name,
        champion_pass_rate=None if champion is None else champion.scorecard.pass_rate,
        ingest=studio.drop_in.report(name),
        consent=library.consent(name),
    )


def character_line(studio: Studio, name: str) -> CharacterLine:
    """A character in a list, as of a moment ago."""
    library = studio.overview.library

    def build() -> CharacterLine:
        pool, champion = library.pool(name), library.champion(name)
        return CharacterLine(
            character=library.character(name),
            sources=tuple(dict.fromkeys(file.digest for file in library.sources(name))),
            pool=len(pool),
            pool_real=sum(entry.real for entry in pool),
            turns=len(library.turns(name)),
            champion=None if champion is None else champion.lora.name,
            champion_pass_rate=None if champion is None else champion.scorecard.pass_rate,
        )

    return studio.overview.of_character(name, "line", build)


def _address(studio: Studio, turn: TurnView) -> str | None:
    return None if studio.flows is None else studio.flows.run_address(turn.flow_run)
