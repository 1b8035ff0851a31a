"""The demo: a throw-away workspace, a drawn character, and one whole turn on a real server, with a simulated reviewer at the gates."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from deployments.demo.results import Results, read_editor_score, read_results
from deployments.demo.sources_alone import measure_sources_alone, write_rows
from deployments.prefect.api import FlowRun
from deployments.prefect.gates import resume_gate, waiting_runs
from deployments.workspace.up import Workspace, sole_owner
from flenwheel_core.base.errors import FlenwheelError, InterruptedStageError, first_line
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import GateVerdict
from flenwheel_core.gates.session import Reviews
from flenwheel_core.gates.summary import summarise
from flenwheel_core.images.folder import find_sources
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.nano.reviewer import Truth
from flenwheel_core.plans.source_files import keep_files
from flenwheel_core.requests.benchmark import BenchmarkResult
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import Request, Result, Stage
from flenwheel_core.runner.stage_runs import StageRun, stage_runs
from flenwheel_core.store import Store

NAME = "mira"
TRIGGER = "ohwx_char"
CLASS_WORD = "person"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
POLL_SECONDS = 1.0
PATIENT_ROUNDS = 2
"""The simulated reviewer asks for another round until this one, then goes on with what there is."""

Reviewer = Literal["simulated", "human"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Demo:
    """One demo in one folder."""

    folder: Path
    settings: Settings
    reviewer: Reviewer
    recipe: str
    seed: int
    say: Say
    flywheel: Literal[1, 2] = 1
    """2: the editor then learns from the turn's edits."""
    sources_alone: bool = True
    """Also trains a LoRA of the source pictures alone, to see what the turn was worth."""

    @property
    def store(self) -> Store:
        return Store(self.settings.store_url, self.settings.store_options)

    def run(self, stop: threading.Event) -> Results:
        """The whole turn. Raises FlenwheelError if the turn fails, with the run's own message."""
        from flenwheel_core.nano.demo import save_truth, write_sources

        truth = write_sources(self.folder / "sources", self.seed, trigger=TRIGGER, class_word=CLASS_WORD)
        save_truth(self.folder / "truth.json", truth)
        drawn = len(list((self.folder / "sources").glob("*.png")))
        strangers = drawn - len(truth.source_views)
        odd = f" ({strangers} of somebody else, as it happens to people)" if strangers else ""
        self.say(f"Drew {drawn} pictures of a character the models have never seen{odd}: {self.folder / 'sources'}")
        self._add_character()
        with sole_owner(self.settings):
            workspace = Workspace(self.settings, self.say)
            try:
                workspace.start()
                self.say(f"Prefect {workspace.services.interface_url}   studio {workspace.services.studio_url}")
                self._follow(workspace, workspace.api.start("flywheel-1/turn", {"character": NAME}), truth, stop)
                results = read_results(self.store, NAME, self.folder)
                if self.flywheel == 2:
                    self.say("The editor learns from what was approved and corrected ...")
                    run = workspace.api.start("flywheel-2/turn", {"character": NAME})
                    self._follow(workspace, run, truth, stop)
                    results = replace(results, editor=read_editor_score(self.store, run.id, self.folder))
            finally:
                workspace.stop()
            if self.sources_alone and results.score is not None and not stop.is_set():
                results = self._beside_sources_alone(results, results.score, stop)
        return results

    def _beside_sources_alone(self, results: Results, score: BenchmarkResult, stop: threading.Event) -> Results:
        """The server has stopped: nothing else asks for the processor. The turn's results stand, whatever comes of this."""
        self.say("For comparison, a LoRA of the source pictures alone ...")

        def hear(_: ProgressEvent) -> None:
            if stop.is_set():  # which ends the stage's process
                raise InterruptedStageError("The comparison was stopped.")

        def run(stage: Stage[Request, Result], request: Request) -> Result:
            began = time.monotonic()
            self.say(f"  {stage.name} ...")
            result = run_in_child(stage, request, self.settings, hear)
            self.say(f"  {stage.name} finished ({time.monotonic() - began:.0f} s)")
            return result

        rows = self.folder / "sheets" / "same-prompts.png"
        try:
            alone = measure_sources_alone(self.store, NAME, run)
            cards = {"sources alone": (alone, alone.challenger.lora)}
            if score.champion is not None:
                cards["v1"] = (score, score.champion.lora)
            write_rows(self.store, {**cards, "challenger": (score, score.challenger.lora)}, rows)
        except (FlenwheelError, OSError) as error:
            self.say(f"  left out: {first_line(error)}")
            return results
        return replace(results, sources_alone=alone, pictures=(rows, *results.pictures))

    def _add_character(self) -> None:
        library = Library(self.store)
        library.create_character(
            Character(name=NAME, trigger=TRIGGER, class_word=CLASS_WORD, kind="subject", recipe=self.recipe)
        )
        library.add_sources(NAME, keep_files(self.store, find_sources(self.folder / "sources")).files)

    def _follow(self, workspace: Workspace, run: FlowRun, truth: Truth, stop: threading.Event) -> None:
        """A run to its end, its gates answered."""
        told = Told(self.store, self.say)
        while not stop.is_set():
            workspace.keeper.tend()
            told.tell()
            run = workspace.api.run(run.id)
            if run.state is not None and run.state.type in FINAL:
                _check(run)
                return
            for gate in waiting_runs(workspace.api):
                self._gate(workspace, gate, truth, told)
            time.sleep(POLL_SECONDS)
        raise KeyboardInterrupt

    def _gate(self, workspace: Workspace, gate: str, truth: Truth, told: "Told") -> None:
        reviews = Reviews(self.store)
        if self.reviewer == "human":
            if gate not in told.gates:
                self.say(f"{gate} waits for you: {workspace.services.gate_address(gate)}")
                told.gates.add(gate)
            return
        closed = reviews.closed(gate)
        if closed is None:
            from flenwheel_core.nano.reviewer import AUTHOR, review_gate

            began = time.monotonic()
            session = reviews.get(gate)
            review_gate(self.store, self.settings, gate, truth)
            usable = summarise(reviews.gate(gate), (), "leave_out").usable
            verdict: GateVerdict = "redo" if usable < session.minimum and session.round < PATIENT_ROUNDS else "approve"
            closed = reviews.close(gate, verdict, "leave_out", override_minimum=True, reviewer=AUTHOR)
            self.say(
                f"  {gate}: SIMULATED REVIEWER (judges by the renderer's truth): {closed.good} good, "
                f"{closed.needs_correction} corrected, {closed.reject} rejected: {verdict} ({time.monotonic() - began:.0f} s)"
            )
        session_run = reviews.get(gate).flow_run
        assert session_run is not None
        resume_gate(workspace.api, session_run, closed)


class Told:
    """Says once what each stage did."""

    def __init__(self, store: Store, say: Say) -> None:
        self._journal = stage_runs(store)
        _, self._position = self._journal.read_after(0)
        self._say = say
        self.gates: set[str] = set()

    def tell(self) -> None:
        lines, self._position = self._journal.read_after(self._position)
        for line in lines:
            self._say(_line(line))


def _line(run: StageRun) -> str:
    if run.event == "started":
        return f"  {run.stage} ..."
    how = f"{run.seconds:.0f} s" if run.seconds is not None else ""
    return f"  {run.stage} {run.event} ({how}{'; ' + run.error if run.error else ''})"


def _check(run: FlowRun) -> None:
    assert run.state is not None
    if run.state.type != "COMPLETED":
        raise FlenwheelError(
            f"The turn ended as {run.state.name}.", why=run.state.message or "", remedy="The logs are in the workspace."
        )
