"""Commands that run things: up, run, status, approve."""

from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.text import Text

from deployments.prefect_api import FlowRun, PrefectApi, open_api
from deployments.prefect_gates import resume_gate, waiting_runs
from deployments.terminal import plain_console
from deployments.up import is_running, run_workspace
from flenwheel_core.errors import GateError, NotFoundError, ServerError
from flenwheel_core.library import Library
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.review.session import Reviews
from flenwheel_core.review.summary import summarise
from flenwheel_core.services import Services, load_services
from flenwheel_core.settings import Settings
from flenwheel_core.store import Store

console = plain_console()


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    for command in (up, run, status, approve):
        app.command(command)


def up() -> None:
    """Start the workspace: Prefect server, worker, deployments and studio. Ctrl-C stops all of it."""
    settings = Settings()
    console.print(f"Starting FLENwheel in {settings.root} ...")

    def ready(services: Services) -> None:
        console.print(
            f"  Prefect   {services.interface_url}   runs, schedules, gates\n"
            f"  studio    {services.studio_url}   review pictures\n"
            f"  pictures  {settings.store_url}\n"
            f"  GPU slot  {settings.slot_name}\n"
            f"  logs      {services.logs}\n"
            "Ready. Ctrl-C stops everything; suspended turns stay suspended, a running one goes on next time."
        )

    run_workspace(settings, lambda line: console.print(line), ready)
    console.print("Stopped.")


def run(character: str, *, recipe: str | None = None) -> None:
    """Schedule a turn of Flywheel 1 for a character, now.

    Parameters
    ----------
    character
        The character's name.
    recipe
        A recipe's name or path; the character's own if not given.
    """
    settings = Settings()
    known = Library(Store(settings.store_url, settings.store_options)).usable_character(character)
    load_recipe(recipe or known.recipe)
    started = open_api(settings).start("flywheel-1/turn", {"character": character, "recipe": recipe})
    services = load_services(settings)
    console.print(f"Scheduled {started.name} ({started.id}).")
    if services is not None:
        console.print(services.run_address(started.id))
    console.print("It suspends at its gates; `flenwheel status` shows what waits.")


def status() -> None:
    """Show characters, turns, running work and the gates that wait."""
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    services = load_services(settings)
    if is_running(settings) and services is not None:
        console.print(
            f"Running (process {services.pid}): Prefect {services.interface_url}, studio {services.studio_url}"
        )
    else:
        console.print(f"Not running. Start it with `flenwheel up` (workspace {settings.root}).")
    _characters(Library(store))
    _gates(Reviews(store), services)
    if is_running(settings):
        _runs(open_api(settings, patience_seconds=3))


def _characters(library: Library) -> None:
    names = library.characters()
    if not names:
        console.print("No characters yet: flenwheel ingest NAME FOLDER.")
    for name in names:
        pool, champion = library.pool(name), library.champion(name)
        ended = {turn.number: turn.outcome for turn in library.ended_turns(name)}
        turns = ", ".join(f"{turn.number} {ended.get(turn.number, 'open')}" for turn in library.turns(name)) or "none"
        text = Text.assemble((name, "bold"), f": {len(pool)} pictures in the pool; turns: {turns}")
        if champion is not None:
            text.append(f"; champion {champion.lora.name}, pass rate {champion.scorecard.pass_rate:.0%}")
        console.print(text)


def _gates(reviews: Reviews, services: Services | None) -> None:
    for gate in reviews.gates():
        if reviews.closed(gate) is None:
            counts = summarise(reviews.gate(gate), (), "leave_out")
            where = (services.gate_address(gate) if services is not None else None) or f"flenwheel approve {gate}"
            how = f" {gate}: {counts.good} good of {counts.minimum} asked for, {counts.undecided} undecided: {where}"
            console.print(Text.assemble(("waits", "yellow"), how))


def _runs(api: PrefectApi) -> None:
    for found in api.runs(states=["RUNNING", "PENDING", "SCHEDULED", "FAILED", "CRASHED"], limit=20):
        if found.state is not None:
            first = (found.state.message or "").splitlines()[:1]
            console.print(f"  {found.state.name:<12} {found.name} ({found.id[:8]}) {''.join(first)}")


def approve(
    gate: str,
    *,
    verdict: Literal["approve", "redo", "stop"],
    undecided: Literal["leave_out", "take_passed"] = "leave_out",
    override_minimum: bool = False,
    reviewer: Annotated[str | None, Parameter(help="who answers; the setting `author` if not given")] = None,
) -> None:
    """Answer a gate and let its run go on.

    Parameters
    ----------
    gate
        The gate's name, as `flenwheel status` shows it.
    verdict
        approve goes on, redo makes another round with new seeds, stop ends the turn.
    undecided
        What becomes of pictures nobody decided about: left out, or taken if they passed screening.
    override_minimum
        Go on although fewer pictures are good than asked for.
    """
    settings = Settings()
    reviews = Reviews(Store(settings.store_url, settings.store_options))
    session = reviews.get(gate)
    standing = reviews.closed(gate)
    if standing is None:
        summary = summarise(reviews.gate(gate), (), undecided)
        if verdict == "approve" and not override_minimum and not summary.enough:
            raise GateError(
                f"Only {summary.usable} pictures are good; this gate asks for {summary.minimum}.",
                why="training on too few pictures gives a LoRA that knows one pose.",
                remedy="Decide about more pictures, or use --undecided take-passed, --verdict redo or --override-minimum.",
            )
        standing = reviews.close(
            gate, verdict, undecided, override_minimum=override_minimum, reviewer=reviewer or settings.author
        )
        console.print(
            f"{gate}: {standing.verdict} ({standing.good} good, {standing.reject} rejected). The answer is kept."
        )
    elif not _still_waits(settings, gate):
        raise GateError(
            f"The gate {gate} is closed.",
            why=f"{standing.reviewer or 'somebody'} answered it with {standing.verdict}; the first answer stands.",
        )
    if session.flow_run is None:
        return
    try:
        result = resume_gate(open_api(settings), session.flow_run, standing)
    except ServerError as error:
        console.print(f"{error.what} The run goes on as soon as `flenwheel up` runs.")
        return
    console.print("The run goes on." if result.accepted else f"The run was not resumed: {result.reason}")


def _still_waits(settings: Settings, gate: str) -> bool:
    """True if a run waits for this gate although it is answered: the answer could not be handed over then."""
    try:
        return gate in waiting_runs(open_api(settings, patience_seconds=3))
    except (ServerError, NotFoundError):
        return False


def find_run(api: PrefectApi, id_: str) -> FlowRun:
    """The run whose id begins with `id_`; raises NotFoundError."""
    for found in api.runs():
        if found.id.startswith(id_):
            return found
    raise NotFoundError(
        f"There is no flow run {id_!r}.", remedy="`flenwheel status` and the Prefect interface list them."
    )
