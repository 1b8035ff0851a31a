"""How should a head learn? Rates, weights and noise, searched on characters of the nano world, scored on others.

    python -m benchmarks.quality.injection_search --threads 1 --trials 6

Every trial trains a head on the same characters, from the same seed, and draws the same characters that no trial learned from, at alpha 1,
beside another's photos. The first trial is the default. Two digits of what a short training on few characters shows: whatever wins here by
less than its interval is not shown to be better.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.quality.injection_world import DRAW, FIRST_CHOOSING, FIRST_KNOWN, identity, prompts, say
from benchmarks.result_file import RESULTS, Row, command_line, write_result
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.statistics import sign_flip_test
from flenwheel_core.plans.injection_search import HeadTrial, LearningSpace, search_head
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.requests.inject import InjectRequest, InjectResult, InjectTrainRequest, InjectTrainResult
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import INJECT, INJECT_TRAIN
from flenwheel_core.store import Store

FIRST_TAUGHT = FIRST_KNOWN + 40_000
FIRST_SCORED = FIRST_CHOOSING + 40_000
ALPHA = 1.0
PHOTOS = 4
PROMPTS = 2


def measure(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """A row a trial, in the order in which they were tried."""
    settings = Settings(workspace=work, gpu=arguments.gpu, threads=arguments.threads)
    store = Store(settings.store_url)
    request = InjectTrainRequest(
        identities=tuple(
            identity(FIRST_TAUGHT + i, PHOTOS, store, known=True, measured=0) for i in range(arguments.identities)
        ),
        features="nano",
        base="nano",
        head=HeadRecipe(cells=2),
        learning=LearningRecipe(epochs=arguments.epochs, batch_size=4, checkpoint_every=1000),
        width=128,
        height=128,
    )
    scored = tuple(identity(FIRST_SCORED + i, PHOTOS, store) for i in range(arguments.scored))
    drawn: dict[str, InjectResult] = {}

    def draw(trained: InjectTrainResult) -> InjectResult:
        asked = InjectRequest(
            identities=scored,
            features="nano",
            base="nano",
            head=trained.head,
            prompts=prompts()[:PROMPTS],
            alphas=(ALPHA,),
            seeds=(1234,),
            sampler=DRAW,
            controls=("shuffled",),
            verifier="nano",
            reader="nano",
        )
        drawn[trained.head] = run_in_child(INJECT, asked, settings, say)
        return drawn[trained.head]

    tried: list[HeadTrial] = []

    def told(trial: HeadTrial) -> None:
        tried.append(trial)
        print(row(len(tried), trial), flush=True)

    train = partial(_train, settings=settings)
    best = search_head(
        request,
        LearningSpace(),
        trials=arguments.trials,
        seed=0,
        alpha=ALPHA,
        train=train,
        draw=draw,
        on_trial=told,
    )[0]
    first = tried[0]
    differences = [
        winning - standing
        for winning, standing in zip(gained(drawn[best.trained.head]), gained(drawn[first.trained.head]), strict=True)
    ]
    rows = [row(number, trial) for number, trial in enumerate(tried, start=1)]
    summary: Row = {
        "case": "best_against_default",
        "trial": tried.index(best) + 1,
        "identity_over_default": best.gain.identity.value - first.gain.identity.value,
        "p": sign_flip_test(differences),
        "characters": len(differences),
    }
    return [*rows, summary]


def gained(result: InjectResult) -> list[float]:
    """Identity over another's photos, a number a character, in their order."""
    of: dict[str, list[float]] = {}
    for cell in result.cells:
        if cell.alpha and cell.likeness is not None:
            of.setdefault(cell.identity, []).append(cell.likeness if cell.method == "injection" else -cell.likeness)
    return [2 * sum(found) / len(found) for found in of.values()]


def row(number: int, trial: HeadTrial) -> Row:
    learning, gain = trial.learning, trial.gain
    return {
        "case": f"trial_{number}",
        "learning_rate": learning.learning_rate,
        "flow_rate": learning.flow_rate or learning.learning_rate,
        "cosine": learning.cosine,
        "pull": learning.pull,
        "logit_mean": learning.sigma.logit_mean,
        "identity_over_shuffled": gain.identity.value,
        "low": gain.identity.low,
        "high": gain.identity.high,
        "prompt_lost": None if gain.lost is None else gain.lost.value,
    }


def _train(request: InjectTrainRequest, *, settings: Settings) -> InjectTrainResult:
    return run_in_child(INJECT_TRAIN, request, settings, say)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--identities", type=int, default=60, help="characters that every trial learns from")
    parser.add_argument("--scored", type=int, default=10, help="other characters that every trial is scored on")
    parser.add_argument("--epochs", type=float, default=1.5)
    parser.add_argument("--gpu", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--work", type=Path, help="a folder that stays: a killed search goes on from there")
    parser.add_argument("--out", type=Path, help="folder for the result file")
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(given)
    if arguments.work is not None:
        rows = measure(arguments, arguments.work)
    else:
        with tempfile.TemporaryDirectory() as work:
            rows = measure(arguments, Path(work))
    command = command_line("benchmarks.quality.injection_search", given)
    write_result("injection_search", rows, folder=arguments.out or RESULTS, command=command)


if __name__ == "__main__":
    main()
