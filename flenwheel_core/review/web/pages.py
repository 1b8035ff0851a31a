"""The pages: Jinja templates that show what the API gives, and scripts that use it."""

from pathlib import Path
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape

from flenwheel_core.domain.decisions import REASONS
from flenwheel_core.ids import short
from flenwheel_core.review.web.gate_api import gate_view, list_gates
from flenwheel_core.review.web.gate_models import GateName
from flenwheel_core.review.web.security import COOKIE, csrf_token, session_cookie
from flenwheel_core.review.web.studio import Studio, TheStudio

router = APIRouter()

KINDS = {"enriched": "enriched images", "synthetic": "synthetic images", "triplets": "triplets for the editor"}


def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["short"] = short
    found.filters["query"] = urlencode
    return found


_TEMPLATES = _environment()


def render(studio: Studio, template: str, **values: object) -> HTMLResponse:
    """A page."""
    page = _TEMPLATES.get_template(template)
    text = page.render(csrf=csrf_token(studio.secret), author=studio.settings.author, **values)
    return HTMLResponse(text)


@router.get("/")
def home(studio: TheStudio) -> Response:
    """Open gates first: they are what waits for a person."""
    return render(studio, "home.html", section="Gates", gates=list_gates(studio), kinds=KINDS)


@router.get("/gates/{gate}")
def gate(studio: TheStudio, gate: GateName) -> Response:
    """The review of one gate."""
    return render(studio, "gate.html", section="Gates", kinds=KINDS, gate=gate_view(studio, gate, ask_server=False), reasons=REASONS)


@router.get("/login")
def login_form(studio: TheStudio, wrong: bool = False) -> Response:
    """Asks for the token."""
    return render(studio, "login.html", section="", wrong=wrong)


@router.post("/login")
def login(request: Request, studio: TheStudio, token: str = Form(max_length=500)) -> Response:
    """Trades the token for a cookie."""
    import hmac

    wanted = studio.settings.token.get_secret_value() if studio.settings.token is not None else ""
    if not hmac.compare_digest(token.encode(), wanted.encode()):
        return RedirectResponse("/login?wrong=true", status_code=303)
    answer = RedirectResponse("/", status_code=303)
    secure = request.url.scheme == "https"
    cookie = session_cookie(studio.secret, wanted)
    answer.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
    return answer
