"""The pages: Jinja templates that show what the API gives, and scripts that use it."""

from pathlib import Path
from typing import Annotated, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from deployments.access.door import Caller
from deployments.studio.evidence_api import evidence_view
from deployments.studio.framing_api import framing_notes
from deployments.studio.gate_api import Offset, gate_summaries, gate_view, kind_of
from deployments.studio.gate_models import GateName, ImageDigest
from deployments.studio.library_api import (
    CharacterName,
    TurnNumber,
    TurnWithRun,
    character_line,
    character_view,
    get_recipes,
    get_turn,
    run_statuses,
)
from deployments.studio.record_api import lineage_view
from deployments.studio.security import csrf_token
from deployments.studio.sessions import LIFETIME_SECONDS
from deployments.studio.studio import Studio, TheStudio
from flenwheel_core.base.ids import short
from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.characters import SubjectKind
from flenwheel_core.documents.decisions import REASONS
from flenwheel_core.documents.images import ImageKind
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.gates.flow_server import GOES_ON
from flenwheel_core.gates.kinds import KINDS
from flenwheel_core.library.injections import Injections
from flenwheel_core.library.studies import Studies
from flenwheel_core.plans.subjects import plan_of
from flenwheel_core.recipes.loading import DEFAULT_RECIPE
from flenwheel_core.records.gallery import LoraView

router = APIRouter()

GALLERY_PAGE = 60
LIST_PAGE = 24
"""Gates, characters or turns on a page."""
OWN_PATH = r"^/([A-Za-z0-9_-][A-Za-z0-9_/-]*)?$"
"""Where a login leads back to: a page of the studio, never another site."""
BackTo = Annotated[str, Query(max_length=300, pattern=OWN_PATH)]
BackToForm = Annotated[str, Form(max_length=300, pattern=OWN_PATH)]
FOR_STRANGERS: dict[str, object] = {"csrf": "", "author": "", "logins": False}
"""Nothing of the workspace is on the pages that need no login."""
Text = Annotated[str, Query(max_length=63)]


def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["short"] = short
    found.filters["query"] = urlencode
    return found


_TEMPLATES = _environment()


def render(studio: Studio, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """A page."""
    page = _TEMPLATES.get_template(template)
    standing = {
        "at": studio.settings.studio_path,
        "csrf": csrf_token(studio.secret),
        "author": studio.settings.author,
        "logins": studio.logins.needed,
    }
    text = page.render({**standing, "section": "", **values})
    return HTMLResponse(text, status_code=status)


def problem_page(request: Request, status: int, what: str, why: str, remedy: str) -> Response:
    """An error as a page."""
    studio: Studio = request.app.state.studio
    known = FOR_STRANGERS if request.url.path == "/login" else {}
    return render(studio, "problem.html", status=status, what=what, why=why, remedy=remedy, **known)


@router.get("/")
def home(studio: TheStudio, offset: Offset = 0) -> Response:
    """Open gates first: they are what waits for a person."""
    page = studio.overview.gates(offset=offset, limit=LIST_PAGE)
    return render(
        studio,
        "home.html",
        section="Gates",
        page=page,
        limit=LIST_PAGE,
        waiting=page.waiting,
        gates=gate_summaries(studio, page.shown),
        kinds=KINDS,
        goes_on=GOES_ON,
    )


@router.get("/gates/{gate}")
def gate(studio: TheStudio, gate: GateName) -> Response:
    """The review of one gate."""
    view = gate_view(studio, gate, ask_server=False)
    likeness = "style" if kind_of(studio, view.character) == "style" else "identity"
    kind = KINDS[view.kind]
    told = evidence_view(studio, gate)
    return render(
        studio, "gate.html", section="Gates", kind=kind, gate=view, reasons=REASONS, likeness=likeness, evidence=told
    )


@router.get("/characters")
def characters(studio: TheStudio, offset: Offset = 0) -> Response:
    """Characters, and the drop-in start."""
    page = studio.overview.characters(offset=offset, limit=LIST_PAGE)
    return render(
        studio,
        "characters.html",
        section="Characters",
        page=page,
        limit=LIST_PAGE,
        characters=[character_line(studio, name) for name in page.shown],
        recipes=get_recipes(studio),
        default_recipe=DEFAULT_RECIPE,
        new={kind: plan_of(kind).new for kind in get_args(SubjectKind)},
    )


@router.get("/characters/{name}")
def character(studio: TheStudio, name: CharacterName) -> Response:
    """One character: ingest report, coverage, turns."""
    view, store = character_view(studio, name), studio.overview.store
    return render(
        studio,
        "character.html",
        section="Characters",
        view=view,
        turns=studio.turns.all(name),
        studies=Studies(store).of(name),
        preview=Injections(store).preview(name),
        recipes=get_recipes(studio),
        flow_server=studio.flows is not None,
        framing_notes=framing_notes(studio, name, view.ingest),
    )


@router.get("/turns")
def turns(studio: TheStudio, offset: Offset = 0) -> Response:
    """Turns, live."""
    page = studio.overview.turns(offset=offset, limit=LIST_PAGE)
    found = page.shown
    runs, message = run_statuses(studio, tuple(turn.flow_run for turn in found))
    rows = [
        TurnWithRun(
            turn=turn,
            run=runs.get(turn.flow_run),
            run_address=None if studio.flows is None else studio.flows.run_address(turn.flow_run),
        )
        for turn in found
    ]
    return render(studio, "turns.html", section="Turns", page=page, limit=LIST_PAGE, turns=rows, server_message=message)


@router.get("/turns/{name}/{number}")
def turn(studio: TheStudio, name: CharacterName, number: TurnNumber) -> Response:
    """One turn, live."""
    return render(studio, "turn.html", section="Turns", row=get_turn(studio, name, number))


@router.get("/gallery")
def gallery(
    studio: TheStudio,
    character: Text = "",
    kind: Text = "",
    cell: Text = "",
    offset: Offset = 0,
) -> Response:
    """Pictures by character, kind and cell."""
    known = kind if kind in set(ImageKind) else ""
    page = studio.records.gallery(
        character=character or None,
        kind=ImageKind(known) if known else None,
        cell=cell or None,
        offset=offset,
        limit=GALLERY_PAGE,
    )
    return render(
        studio,
        "gallery.html",
        section="Gallery",
        page=page,
        limit=GALLERY_PAGE,
        characters=studio.library.characters(),
        kinds=[one.value for one in ImageKind],
        cells=[one.id for one in CARD_CELLS],
        chosen={"character": character, "kind": known, "cell": cell},
    )


@router.get("/pictures/{image}")
def picture(studio: TheStudio, image: ImageDigest) -> Response:
    """One picture with its lineage."""
    lineage = lineage_view(studio.records.provenance().lineage(image))
    if lineage.kind == "LoRA":
        return RedirectResponse(f"/loras/{lineage.digest}", status_code=303)
    return render(studio, "picture.html", section="Gallery", lineage=lineage)


@router.get("/loras")
def loras(studio: TheStudio) -> Response:
    """LoRA versions."""
    names = studio.library.characters()
    return render(studio, "loras.html", section="LoRAs", loras=studio.records.loras(), characters=names)


@router.get("/loras/{image}")
def lora(studio: TheStudio, image: ImageDigest) -> Response:
    """One LoRA: samples, loss, benchmarks."""
    view = studio.records.lora(image)
    steps = sorted({sample.step for sample in view.samples})
    return render(studio, "lora.html", section="LoRAs", view=view, steps=steps, strip=_strip(view, steps))


@router.get("/edit-prompts")
def prompts(studio: TheStudio, character: Text = "") -> Response:
    """Which prompt templates work."""
    found = studio.records.prompts(character or None)
    return render(
        studio,
        "prompts.html",
        section="Edit prompts",
        statistics=found,
        intervals=[wilson(row.good, row.reviewed + row.screened_out) for row in found.rows],
        characters=studio.library.characters(),
        chosen=character,
    )


@router.get("/api")
def api(request: Request, studio: TheStudio) -> Response:
    """The API's description for people."""
    return render(studio, "api.html", paths=request.app.openapi()["paths"])


def login_page(studio: Studio, problem: str, back: str, *, status: int = 200) -> HTMLResponse:
    """Asks for the token, and says what was wrong with the last one."""
    return render(studio, "login.html", status=status, problem=problem, back=back, **FOR_STRANGERS)


@router.get("/login")
def login_form(studio: TheStudio, wrong: bool = False, back: BackTo = "/") -> Response:
    """Asks for the token."""
    return login_page(studio, "That is not the token." if wrong else "", back)


@router.post("/login")
def login(
    request: Request, studio: TheStudio, token: Annotated[str, Form(max_length=500)], back: BackToForm = "/"
) -> Response:
    """Trades the token for a cookie."""
    caller: Caller = request.state.caller
    refusal = studio.logins.check(token, caller.client)
    if refusal is not None and refusal.retry_seconds:
        problem = f"{refusal.what} {refusal.remedy}"
        answer = login_page(studio, problem, back, status=refusal.status)
        answer.headers["retry-after"] = str(refusal.retry_seconds)
        return answer
    if refusal is not None:
        again = {"back": back, "wrong": "true"} if back != "/" else {"wrong": "true"}
        return RedirectResponse(f"/login?{urlencode(again)}", status_code=303)
    opened = RedirectResponse(back, status_code=303)
    secure = caller.scheme == "https" or (caller.origin or "").startswith("https:")
    opened.set_cookie(
        studio.logins.cookie,
        studio.logins.sessions.open(),
        httponly=True,
        samesite="strict",
        secure=secure,
        max_age=LIFETIME_SECONDS,
        path=studio.settings.studio_path or "/",
    )
    return opened


@router.post("/logout")
def logout(request: Request, studio: TheStudio) -> Response:
    """Ends this browser's session. A new token ends everybody's."""
    studio.logins.sessions.end(studio.logins.session_of(request.headers))
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(studio.logins.cookie, path=studio.settings.studio_path or "/")
    return answer


def _strip(view: LoraView, steps: list[int]) -> list[dict[str, object]]:
    """Samples by prompt and seed, one place a step."""
    rows: dict[tuple[str, int], dict[int, str]] = {}
    for sample in view.samples:
        rows.setdefault((sample.prompt, sample.seed), {})[sample.step] = sample.image
    return [
        {"prompt": prompt, "seed": seed, "images": [found.get(step) for step in steps]}
        for (prompt, seed), found in rows.items()
    ]
