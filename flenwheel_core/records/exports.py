"""Which export belongs to which LoRA, and what publishing one asks for."""

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.ids import Digest
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.publishing.hub import require_repository, require_token
from flenwheel_core.publishing.object_store import require_address
from flenwheel_core.publishing.rules import require_shareable
from flenwheel_core.records.commercial_use import used_models
from flenwheel_core.requests.export import ExportRequest, ExportResult
from flenwheel_core.requests.publish import PublishRequest, PublishResult, Target, What
from flenwheel_core.store import Store


class PublishChoice(Document):
    """What a person chose."""

    to: Target
    place: str = ""
    what: What = "model"
    public: bool = False
    allowed_by: str = ""
    """What allows it where the licences known here do not."""
    ordered: bool = False
    """An order of the service goes to the place that the service was set up with; whoever ordered it answers for whose face it is."""
    again: bool = True
    """Look at the place, although it was published there before: somebody may have removed it, or published something else."""


def champion_export(store: Store, character: str, turn: int | None = None) -> tuple[ExportRequest, ExportResult]:
    """The newest champion's export, or that of a turn. Raises NotFoundError if there is none."""
    library = Library(store)
    library.character(character)
    champions = [line for line in library.champions(character) if turn is None or line.turn == turn]
    if not champions:
        raise NotFoundError(f"{character} has no champion{'' if turn is None else f' from turn {turn}'} yet.")
    request, result = find_export(store, champions[-1].lora.digest)
    # What was said since the export counts: it goes into the card of what is published.
    consent = library.consent(character) or request.consent
    return request.model_copy(update={"consent": consent}), result


def find_export(store: Store, lora: Digest) -> tuple[ExportRequest, ExportResult]:
    """The export of a LoRA, of its newest version; raises NotFoundError if it was not exported."""
    found: list[tuple[ExportRequest, ExportResult]] = []
    for path in store.files.list("stages/export"):
        if path.endswith("/manifest.json"):
            result = ExportResult.from_bytes(store.files.read(path), where=path)
            request = store.get_request(ExportRequest, path.split("/")[-2])
            if request is not None and any(file.digest == lora for file in result.files):
                if request.key() == path.split("/")[-2]:
                    return request, result
                found.append((request, result))
    if found:
        return found[-1]
    raise NotFoundError(
        "That LoRA was not exported.", why="its turn has not reached the export.", remedy="Wait for the turn to end."
    )


def has_export(store: Store, lora: Digest) -> bool:
    """Whether a LoRA was exported."""
    try:
        find_export(store, lora)
    except NotFoundError:
        return False
    return True


def export_again(store: Store, character: str) -> ExportRequest | None:
    """The export that a champion lacks which a person took in place of another state of its training.

    None if it has one, or if no other state of its training that was champion was ever exported. Grid, comparison and benchmark are the
    other state's and are left out, as are samples of later steps; the card says what was tried.
    """
    champions = Library(store).champions(character)
    if not champions or has_export(store, champions[-1].lora.digest):
        return None
    now = champions[-1]
    for line in reversed(champions[:-1]):
        if line.lora.request == now.lora.request and has_export(store, line.lora.digest):
            request, _ = find_export(store, line.lora.digest)
            return request.model_copy(
                update={
                    "lora": now.lora,
                    "scorecard": None,
                    "comparison": None,
                    "grid": None,
                    "samples": tuple(one for one in request.samples if one.step <= now.lora.steps),
                }
            )
    return None


def check_choice(store: Store, settings: Settings, export: ExportRequest, choice: PublishChoice) -> PublishChoice:
    """The choice with its place filled in. Raises InputError for what could not work, before anything is made or sent."""
    if choice.to == "hub":
        require_repository(choice.place)
        models = [one.model for one in used_models(store, export)]
        require_shareable(export.lora.name, models, public=choice.public, allowed_by=choice.allowed_by)
        require_consent(export)
        require_token()
        return choice
    if choice.public:
        raise InputError("Only a repository of the Hub can be made public.", remedy="Leave out --public.")
    if choice.to == "s3":
        if choice.what == "space":
            raise InputError("A demo runs on the Hub or from a folder.", remedy="Choose hub or folder.")
        place = require_address(choice.place or settings.publish_url or "")
        if not choice.ordered:
            require_consent(export)
        return choice.model_copy(update={"place": place})
    if not choice.place.strip():
        raise InputError("No folder is named.", remedy="Give one: --place FOLDER.")
    return choice


def require_consent(export: ExportRequest) -> None:
    """Raises InputError for a person of whom nobody said whose face it is: nothing of it leaves this machine."""
    if export.character.kind == "person" and export.consent is None:
        name = export.character.name
        raise InputError(
            f"{export.lora.name} shows a person, and nobody said whose face it is.",
            why="what is published can be copied by others and cannot be called back.",
            remedy=f"Ask that person, then say so: flenwheel character consent {name} --whose NAME --vouched-by YOU.",
        )


def publish_request(
    store: Store, export: ExportRequest, exported: ExportResult, choice: PublishChoice
) -> PublishRequest:
    """The request of a checked choice."""
    request = PublishRequest(
        export=export,
        files=exported.files,
        what=choice.what,
        to=choice.to,
        place=choice.place,
        public=choice.public,
        allowed_by=choice.allowed_by.strip(),
    )
    while choice.again and store.get_result(request, PublishResult) is not None:
        request = request.model_copy(update={"again": request.again + 1})
    return request
