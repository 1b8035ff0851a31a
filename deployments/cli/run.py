"""Commands that run things: up, worker, run, status, approve, end."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from deployments.access.door import is_loopback
from deployments.cli.models import fetch_wanted
from deployments.cli.terminal import plain_console
from deployments.prefect.api import PrefectApi, open_api
from deployments.prefect.flow_server import PrefectFlowServer
from deployments.prefect.gates import resume_gate, waiting_runs
from deployments.workspace.cluster import run_cluster_machine
from deployments.workspace.joining import run_worker
from deployments.workspace.up import is_running, run_workspace
from flenwheel_core.base import given_settings
from flenwheel_core.base.errors import GateError, NotFoundError, ServerError, UserError
from flenwheel_core.base.services import Services, gate_address, load_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.slots import slots_named
from flenwheel_core.documents.decisions import GateVerdict, UndecidedPolicy
from flenwheel_core.gates.flow_server import GOES_ON
from flenwheel_core.gates.session import Reviews
from flenwheel_core.gates.summary import check_answer, summarise
from flenwheel_core.library.characters import Library
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.plans.subjects import usable_recipe
from flenwheel_core.recipes.loading import lasting_name, load_recipe
from flenwheel_core.records.open_turns import OpenTurn, end_turn, in_words, only_one, open_turns, run_in_words
from flenwheel_core.store import Store

console = plain_console()


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    for command in (up, worker, run, status, approve, end):
        app.command(command)


def up(
    *,
    server: bool = False,
    join: str | None = None,
    studio: bool = False,
    fetch: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False)] = (),
) -> None:
    """Start the workspace: Prefect server, worker, deployments and studio. Ctrl-C stops all of it.

    With an option: only that part of a cluster of several machines, which share a store, Postgres and Redis.

    Parameters
    ----------
    server
        Prefect's API servers and background services.
    join
        A worker for each card of this machine, for the server at this address, such as http://MACHINE:4200.
    studio
        The web app, for the server that FLENWHEEL_SERVER_URL or --join names, or that runs here.
    fetch
        With --join: fetch the models of this recipe (its name, or the path of a .toml file) before any work is taken, but
        for what was left out here with --without. May be repeated.
    """
    settings = Settings()
    if fetch and join is None:
        raise UserError(
            "--fetch is for a machine that joins.",
            remedy=f"flenwheel up --join URL --fetch {fetch[0]}; elsewhere: flenwheel models fetch {fetch[0]}",
        )
    if server or join is not None or studio:
        address = None if join is None else server_address(join)
        for name in fetch:
            load_recipe(name)  # a name that is none is refused before hours of fetching another's models

        def prepare() -> None:
            for name in fetch:
                fetch_wanted(name)

        run_cluster_machine(
            settings, lambda line: console.print(line), server=server, join=address, studio=studio, prepare=prepare
        )
        console.print("Stopped.")
        return
    if settings.server_url is not None:
        raise UserError(
            "This machine belongs to a cluster.",
            why=f"FLENWHEEL_SERVER_URL is {settings.server_url}, and a server of its own would be another one.",
            remedy=f"Say which part it runs: flenwheel up --join {settings.server_url}, --studio, or --server.",
        )
    console.print(f"Starting FLENwheel in {settings.root} ...")

    def ready(services: Services) -> None:
        console.print(
            f"  Prefect   {services.interface_url}   runs, schedules, gates\n"
            f"  studio    {services.studio_url}   review pictures\n"
            f"  pictures  {settings.store_url}\n"
            f"  GPU slot  {', '.join(slot.name for slot in slots_named(settings))}\n"
            f"  logs      {services.logs}\n"
            f"{_elsewhere(settings)}"
            "Ready. Ctrl-C stops everything; suspended turns stay suspended, a running one goes on next time."
        )

    run_workspace(settings, lambda line: console.print(line), ready)
    console.print("Stopped.")


def server_address(given: str) -> str:
    """The address of a server. Raises UserError for what is none."""
    try:
        return given_settings.server_address(given.strip())
    except ValueError as error:
        raise UserError(
            f"{given!r} is no address of a server.", why=f"{error}.", remedy="Give one such as http://MACHINE:4200."
        ) from None


def worker() -> None:
    """Start a worker for the server that PREFECT_API_URL names: on another machine, or for a second card in a workspace of its own."""
    run_worker(Settings(), lambda line: console.print(line))
    console.print("Stopped.")


def _elsewhere(settings: Settings) -> str:
    if is_loopback(settings.host) or settings.studio_url is not None:
        return ""
    return "  Messages about gates link to this machine only, until FLENWHEEL_STUDIO_URL and FLENWHEEL_PREFECT_URL are set.\n"


def run(character: str, *, recipe: str | None = None, beside_open_turn: bool = False) -> None:
    """Schedule a turn of Flywheel 1 for a character or a style, now.

    Parameters
    ----------
    character
        The character's name.
    recipe
        A recipe's name or path; the character's own if not given.
    beside_open_turn
        Begin although an earlier turn still waits at a gate or works.
    """
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    known = Library(store).usable_character(character)
    usable_recipe(recipe or known.recipe, known.kind)
    server = PrefectFlowServer(settings)
    if not beside_open_turn:
        only_one(store, character, server.run_statuses)(())
    started = server.start_turn(
        "character", character, lasting_name(recipe) if recipe else None, beside_open_turn=beside_open_turn
    )
    console.print(f"Scheduled a turn of {character} ({started.flow_run}).")
    address = server.run_address(started.flow_run)
    if address is not None:
        console.print(address)
    console.print("It suspends at its gates; `flenwheel status` shows what waits.")


def end(character: str, number: int | None = None) -> None:
    """End an open turn of a character, also one whose run failed, crashed, was cancelled or deleted in Prefect.

    What was decided and made is kept; nothing is promoted. A run that waits at a gate gets the answer stop.

    Parameters
    ----------
    character
        The character's name.
    number
        The turn's number; its newest open turn if not given.
    """
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    Library(store).character(character)
    console.print(end_open_turn(settings, store, character, number))


def end_open_turn(settings: Settings, store: Store, character: str | None, number: int | None) -> str:
    """Ends a turn of a character or of the editor; without a running server only the record is written.

    Raises ServerError if a server is there and does not answer: the run would go on after its turn.
    """
    server = PrefectFlowServer(settings) if _has_server(settings) else None
    _, said = end_turn(store, character, number, author=settings.author, runs=server)
    return said


def _has_server(settings: Settings) -> bool:
    """True where there is a server: a cluster's, wherever it runs, or this workspace's own while it runs."""
    return settings.server_url is not None or is_running(settings)


def status() -> None:
    """Show characters, turns, running work and the gates that wait."""
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    services = load_services(settings)
    server = None
    if _has_server(settings) and (settings.server_url or services) is not None:
        console.print(_where(settings, services))
        if open_api(settings).healthy():
            server = PrefectFlowServer(settings)
        else:
            console.print("The Prefect server does not answer right now; what is in the store is shown.")
    else:
        console.print(f"Not running. Start it with `flenwheel up` (workspace {settings.root}).")
    _characters(store, server)
    _gates(settings, Reviews(store), server)
    if server is not None:
        _runs(open_api(settings, patience_seconds=3))


def _where(settings: Settings, services: Services | None) -> str:
    """Where the server answers, and what of it runs here."""
    here = is_running(settings) and services is not None
    if services is None or not here:
        return f"Of the cluster whose server is {settings.server_url}; nothing of it runs in this workspace."
    studio = f", studio {services.studio_url}" if services.studio_url is not None else ""
    return f"Running (process {services.pid}): Prefect {services.interface_url}{studio}"


def _characters(store: Store, server: PrefectFlowServer | None) -> None:
    library = Library(store)
    names = library.characters()
    if not names:
        console.print("No characters yet: flenwheel ingest NAME FOLDER.")
    for name in names:
        pool, champion = library.pool(name), library.champion(name)
        ended = {turn.flow_run: turn.outcome for turn in library.ended_turns(name)}
        turns = _turns(library.turns(name), ended, open_turns(store, name), server)
        text = Text.assemble((name, "bold"), f": {len(pool)} pictures in the pool; turns: {turns}")
        if champion is not None:
            text.append(f"; champion {champion.lora.name}, pass rate {champion.scorecard.pass_rate:.0%}")
        console.print(text)
    editor = EditorLibrary(store)
    if editor.turns():
        over = {run.flow_run: run.outcome for run in editor.ended_runs()}
        turns = _turns(editor.turns(), over, open_turns(store, None), server)
        console.print(Text.assemble(("the editor", "bold"), f": turns: {turns}"))


def _turns(
    turns: Sequence[TurnOpened], ended: Mapping[str, str], left: list[OpenTurn], server: PrefectFlowServer | None
) -> str:
    """The turns in a line, each with how it ended or how it stands."""
    known = server.run_statuses(tuple(turn.flow_run for turn in left)) if server is not None else None
    words = dict(ended) | {turn.flow_run: in_words(turn, known) for turn in left}
    return ", ".join(f"{turn.number} {words[turn.flow_run]}" for turn in turns) or "none"


def _gates(settings: Settings, reviews: Reviews, server: PrefectFlowServer | None) -> None:
    sessions = [reviews.get(gate) for gate in reviews.gates() if reviews.closed(gate) is None]
    runs = tuple(session.flow_run for session in sessions if session.flow_run is not None)
    known = server.run_statuses(runs) if server is not None else {}
    for session in sessions:
        gate, counts = session.gate, summarise(reviews.gate(session.gate), (), "leave_out")
        where = gate_address(settings, gate) or f"flenwheel approve {gate}"
        status = known.get(session.flow_run or "")
        waits = server is None or session.flow_run is None or (status is not None and status.state in GOES_ON)
        mark = "waits" if waits else f"open (its run {run_in_words(status)})"
        how = f" {gate}: {counts.good} good of {counts.minimum} asked for, {counts.undecided} undecided: {where}"
        console.print(Text.assemble((mark, "yellow"), how))


def _runs(api: PrefectApi) -> None:
    for found in api.runs(states=["RUNNING", "PENDING", "SCHEDULED", "FAILED", "CRASHED"], limit=20):
        if found.state is not None:
            first = (found.state.message or "").splitlines()[:1]
            console.print(f"  {found.state.name:<12} {found.name} ({found.id}) {''.join(first)}")


def approve(
    gate: str,
    *,
    verdict: GateVerdict,
    undecided: UndecidedPolicy = "leave_out",
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
        check_answer(
            reviews.gate(gate),
            verdict,
            undecided,
            override_minimum=override_minimum,
            remedy="Decide about more pictures, or use --undecided take_passed, --verdict redo or --override-minimum.",
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
