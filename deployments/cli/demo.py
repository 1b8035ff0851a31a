"""The command `demo`."""

import os
import signal
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Literal

from cyclopts import App
from rich.text import Text

from deployments.cli.terminal import plain_console
from deployments.demo.demo import Demo, Reviewer
from deployments.demo.results import editor_board, scoreboard
from flenwheel_core.base.settings import Settings

console = plain_console()


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(demo)


def demo(
    *,
    flywheel: Literal[1, 2] = 1,
    reviewer: Reviewer = "simulated",
    recipe: str = "nano",
    seed: int = 1_000_003,
    folder: Path = Path("demo-workspace"),
    sources_alone: bool = True,
) -> None:
    """Run one whole turn on a drawn character, in a throw-away workspace with a real server: minutes, no card, no download.

    Parameters
    ----------
    flywheel
        1: one turn of the character flywheel; 2: the editor then learns from its edits and is compared on ones it never saw.
    reviewer
        simulated: gates are answered from the renderer's ground truth; human: they wait for you in the studio.
    recipe
        The recipe of the turn.
    seed
        The character; seeds from 1000000 on were never used for training.
    folder
        Everything goes into a new folder below this one.
    sources_alone
        At the end, train a LoRA on the source pictures alone and fill the same model card, to see what the turn was worth.
    """
    began = time.monotonic()
    place = folder.absolute() / datetime.now().strftime("%Y%m%d-%H%M%S")
    settings = Settings(
        workspace=place / "workspace", store=None, gpu="cpu", slot="demo", threads=os.cpu_count(), host="127.0.0.1"
    )
    console.print(Text.assemble(("FLENwheel demo", "bold"), f" in {place}"))
    if reviewer == "simulated":
        console.print(
            Text.assemble(
                ("The gates are answered by a SIMULATED REVIEWER", "yellow"),
                ", not by a person; --reviewer human leaves them to you.",
            )
        )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    results = Demo(place, settings, reviewer, recipe, seed, _say, flywheel, sources_alone).run(stop)
    took = f" after {time.monotonic() - began:.0f} s."
    console.print(Text.assemble("\nThe turn ended: ", (results.outcome, "bold"), took))
    if results.score is not None:
        console.print(scoreboard(results.score, results.sources_alone))
        if results.score.comparison is not None:
            for reason in results.score.comparison.reasons:
                console.print(f"  {reason}")
    if results.editor is not None:
        console.print(editor_board(results.editor))
        console.print(results.editor.summary())
    console.print(f"report          {results.report}")
    for path in results.pictures:
        console.print(f"contact sheet   {path}")
    if results.exported is not None:
        for path in sorted(results.exported.iterdir()):
            console.print(f"exported        {path}")
    console.print(f"Look around: FLENWHEEL_WORKSPACE={settings.root} flenwheel up")


def _say(line: str) -> None:
    console.print(line)
