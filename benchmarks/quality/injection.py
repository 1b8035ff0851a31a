"""Linear injection in the nano world: drawn characters that the head learned from, and others that nothing has seen.

    python -m benchmarks.quality.injection --threads 1            # what a shared processor of two cores carried: about an hour
    python -m benchmarks.quality.injection --identities 1500 --epochs 60 --batch 64 --evaluated 24 --gpu auto --work FOLDER

The second line is for a card, and was not run yet: eight thousand steps of 64 pictures in place of 2700 of 4, on five times as many
characters. With a work folder that stays, a run that was cut off goes on; its parts (`--parts`) may be run one after the other.

Nano FLUX plays the part of Qwen-Image: it is the nano base that draws from text, with prompt embeddings that a residual can be added to.
The features are those of the nano Qwen2.5-VL. Verifier and reader are the nano ones; no part has seen the characters of this benchmark.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.result_file import RESULTS, Row, command_line, write_part, write_result
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Labels, Sampler
from flenwheel_core.documents.wording import fill
from flenwheel_core.images.sheets import Tile, contact_sheet
from flenwheel_core.injection.measures import Gain, best_gain, verdict_of
from flenwheel_core.nano.world import HELD_OUT_FROM, View, caption, description, make_character, make_view, render
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe, LearningStage, Place
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.train import SigmaRecipe
from flenwheel_core.requests.inject import (
    InjectionFigures,
    InjectionIdentity,
    InjectionPhoto,
    InjectionPrompt,
    InjectRequest,
    InjectResult,
    InjectTrainRequest,
    InjectTrainResult,
    Method,
)
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import INJECT, INJECT_TRAIN
from flenwheel_core.runner.stage_runs import stage_runs
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png, load_picture

FIRST_KNOWN = HELD_OUT_FROM + 500_000
FIRST_UNKNOWN = HELD_OUT_FROM + 600_000
MEASURED_VIEWS = 6
PARTS = ("flow", "regression", "oracle")
ALPHAS = (1.0, 2.0, 3.0)
SEEDS = (1234, 5678)
DRAW = Sampler(steps=12, guidance=3.5, true_cfg=1.0, width=128, height=128)
EDIT = Sampler(steps=12, guidance=1.0, true_cfg=1.0, width=128, height=128)
SHOWN = (
    Labels(pose="portrait", angle="front", expression="neutral", background="studio", lighting="day"),
    Labels(pose="portrait", angle="half-left", expression="smiling", background="forest", lighting="sunset"),
    Labels(pose="portrait", angle="half-right", expression="angry", background="beach", lighting="day"),
)
NOISY = SigmaRecipe(logit_mean=0.7)
"""Who somebody is, is decided at high noise."""


def identity(seed: int, photos: int, store: Store, *, known: bool = False) -> InjectionIdentity:
    """A drawn character: portraits in its own clothes, with captions, and others that only measure."""
    character = make_character(seed)
    views = [
        replace(make_view(seed * 100 + i, portrait_share=1.0), clothing=None, style="photo")
        for i in range(photos + MEASURED_VIEWS)
    ]
    images = [store.put_blob(encode_png(render(character, view), {})) for view in views]
    words = " and ".join(description(character))
    found = []
    for view, image in zip(views[:photos], images, strict=False):
        text = plain(seed, view)
        found.append(
            InjectionPhoto(image=image, caption=text, described=text.replace("a person", f"a person with {words}"))
        )
    return InjectionIdentity(
        name=f"character{seed}", photos=tuple(found), held_out=tuple(images[photos:]), known=known, description=words
    )


def plain(seed: int, view: View) -> str:
    """A view's caption, with `a person` for who it is."""
    return caption(make_character(seed), view, name="person").replace("photo of person", "photo of a person")


def prompts() -> tuple[InjectionPrompt, ...]:
    recipe = load_recipe("nano")
    return tuple(
        InjectionPrompt(
            text=fill("{shot} a person, {shown}", labels, recipe.phrases),
            labels=labels,
            edit=fill("same person, {shown}", labels, recipe.phrases),
        )
        for labels in SHOWN
    )


@dataclass(frozen=True)
class World:
    """What the parts of the benchmark share. Each is made once: a killed benchmark goes on from its work folder."""

    settings: Settings
    store: Store
    head: HeadRecipe
    learning: LearningRecipe
    known: tuple[InjectionIdentity, ...]
    unknown: tuple[InjectionIdentity, ...]
    evaluated: int

    @classmethod
    def of(cls, arguments: argparse.Namespace, work: Path) -> "World":
        settings = Settings(workspace=work, gpu=arguments.gpu, threads=arguments.threads)
        store, photos = Store(settings.store_url), arguments.photos
        return cls(
            settings,
            store,
            HeadRecipe(place=arguments.place, tokens=arguments.tokens, cells=2),
            LearningRecipe(
                epochs=arguments.epochs, batch_size=arguments.batch, learning_rate=arguments.rate, sigma=NOISY
            ),
            tuple(identity(FIRST_KNOWN + i, photos, store, known=True) for i in range(arguments.identities)),
            tuple(identity(FIRST_UNKNOWN + i, photos, store) for i in range(arguments.evaluated)),
            arguments.evaluated,
        )

    def train(
        self, identities: tuple[InjectionIdentity, ...], learning: LearningRecipe
    ) -> tuple[InjectTrainResult, Row]:
        """The trained head, and its row."""
        request = InjectTrainRequest(
            identities=identities,
            features="nano",
            base="nano",
            head=self.head,
            learning=learning,
            width=128,
            height=128,
        )
        made = run_in_child(INJECT_TRAIN, request, self.settings, say)
        runs = [
            run for run in stage_runs(self.store).read() if run.request == request.key() and run.event == "finished"
        ]
        row: Row = {
            "case": "training_oracle" if learning.oracle_steps else f"training_{learning.stages[-1]}",
            "identities": len(identities),
            "photos": made.facts.photos,
            "steps": sum(curve.losses[-1].step for curve in made.curves if curve.losses),
            "training_seconds": runs[-1].seconds if runs else None,
            **{f"{curve.stage}_loss": curve.losses[-1].loss for curve in made.curves},
        }
        print(row, flush=True)
        return made, row

    def draw(
        self,
        identities: tuple[InjectionIdentity, ...],
        head: str,
        seeds: tuple[int, ...],
        controls: tuple[Method, ...],
        oracle: str | None = None,
    ) -> InjectResult:
        request = InjectRequest(
            identities=identities,
            features="nano",
            base="nano",
            head=head,
            oracle=oracle,
            prompts=prompts(),
            alphas=ALPHAS,
            seeds=seeds,
            sampler=DRAW,
            controls=controls,
            editor="nano" if "editor" in controls else None,
            edit_sampler=EDIT if "editor" in controls else None,
            verifier="nano",
            reader="nano",
        )
        result = run_in_child(INJECT, request, self.settings, say)
        print(result.verdict, flush=True)
        return result

    @property
    def drawn(self) -> tuple[InjectionIdentity, ...]:
        return (*self.known[: self.evaluated], *self.unknown)


def of_head(world: World, after: LearningStage, grid: Path | None = None) -> list[Row]:
    """The head after captions alone, or after captions and pictures, with the controls."""
    stages: tuple[LearningStage, ...] = ("regression",) if after == "regression" else ("regression", "flow")
    trained, first = world.train(world.known, world.learning.model_copy(update={"stages": stages}))
    both = after == "flow"
    controls: tuple[Method, ...] = ("shuffled", "caption", "editor") if both else ("shuffled",)
    result = world.draw(world.drawn, trained.head, SEEDS if both else SEEDS[:1], controls)
    rows = [row(one, after) for one in result.figures if one.method == "injection" or both]
    if grid is not None:
        save_grid(world.store, result, grid)
    return [first, *rows, *gains(result.figures, after), {"case": f"verdict_{after}", "verdict": result.verdict}]


def of_oracle(world: World, count: int, steps: int) -> list[Row]:
    """What the residual itself, learned for some unknown characters, would bring: the best that a head could do."""
    bounded = world.unknown[:count]
    quick = world.learning.model_copy(
        update={"stages": ("regression",), "epochs": 1.0, "oracle_steps": steps * count, "oracle_rate": 0.05}
    )
    trained, first = world.train(bounded, quick)
    result = world.draw(bounded, trained.head, SEEDS, ("oracle",), trained.oracle)
    return [first, *(row(one, "flow") for one in result.figures if one.method == "oracle")]


def measure(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """The parts that the command line names."""
    world = World.of(arguments, work)
    rows: list[Row] = []
    if "flow" in arguments.parts:
        rows += of_head(world, "flow", arguments.grid)
    if "regression" in arguments.parts:
        rows += of_head(world, "regression")
    if "oracle" in arguments.parts:
        rows += of_oracle(world, arguments.oracles, arguments.oracle_steps)
    return rows


def save_grid(store: Store, result: InjectResult, file: Path) -> None:
    """Two known characters and two unknown ones: a photo, then alpha 0 and each strength, of one prompt and seed."""
    names = [grid.identity for grid in (*result.grids[:2], *result.grids[-2:])]
    tiles = []
    for name in names:
        own = [cell for cell in result.cells if (cell.identity, cell.method, cell.prompt) == (name, "injection", 1)]
        shown = {cell.alpha: cell for cell in own if cell.seed == SEEDS[0]}
        record = next(one for one in store.get_images(result.images) if one.digest == shown[ALPHAS[0]].image)
        seen = "known" if name in names[:2] else "unknown"
        tiles.append(Tile(load_picture(store, record.parents[0]), (f"photo, {seen}",)))
        tiles += [Tile(load_picture(store, cell.image), (f"alpha {alpha:g}",)) for alpha, cell in sorted(shown.items())]
    contact_sheet(tiles, columns=2 + len(ALPHAS), tile_px=128).save(file)


def row(figures: InjectionFigures, after: str) -> Row:
    """Such as `flow_unknown_1`: injection after that stage, unknown characters, alpha 1; `shuffled_unknown_1`; `caption_unknown`."""
    group = "known" if figures.known else "unknown"
    name = after if figures.method == "injection" else figures.method
    strength = f"_{figures.alpha:g}" if figures.alpha or figures.method == "injection" else ""
    return {
        "case": f"{name}_{group}{strength}",
        "method": figures.method,
        "alpha": figures.alpha,
        "group": group,
        "characters": figures.identities,
        "pictures": figures.pictures,
        "identity": figures.identity,
        "prompt_kept": figures.prompt_kept,
        "diversity": figures.diversity,
        "copy_paste": figures.copy_paste,
        "sharpness": figures.sharpness,
        "turned_degrees": figures.turned_degrees,
    }


def gains(figures: Sequence[InjectionFigures], after: str) -> list[Row]:
    """What is claimed: identity over that of shuffled photos, at the best strength."""
    found: list[Row] = []
    for known in (True, False):
        best = best_gain(figures, known=known)
        if best is not None:
            found.append(
                {
                    "case": f"gain_{after}_{'known' if known else 'unknown'}",
                    "alpha": best.alpha,
                    "identity_over_shuffled": best.gain,
                    "prompt_lost": best.lost,
                    "works": best.works,
                }
            )
    return found


def said_again(rows: Sequence[Row]) -> list[Row]:
    """The rows with their sentences made anew from the gains among them: nothing is measured."""
    gains_of = {
        str(one["case"]): Gain(
            float(str(one["alpha"])),
            float(str(one["identity_over_shuffled"])),
            None if one["prompt_lost"] is None else float(str(one["prompt_lost"])),
            "shuffled",
        )
        for one in rows
        if str(one["case"]).startswith("gain_")
    }

    def again(one: Row) -> Row:
        kind, _, after = str(one["case"]).partition("_")
        if kind != "verdict":
            return one
        unknown, known = (gains_of.get(f"gain_{after}_{group}") for group in ("unknown", "known"))
        return {**one, "verdict": verdict_of(unknown, known)}

    return [again(one) for one in rows]


def whole_command(arguments: Sequence[str]) -> str:
    """The command that measures all rows: without the part that ran, its work folder and its picture."""
    kept: list[str] = []
    left_out = False
    for argument in arguments:
        if argument.startswith("--"):
            left_out = argument.partition("=")[0] in ("--parts", "--work", "--grid")
        if not left_out:
            kept.append(argument)
    return command_line("benchmarks.quality.injection", kept)


def say(event: ProgressEvent) -> None:
    if event.kind == "note" or (event.done or 0) % 100 == 0:
        print(event.line(), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--identities", type=int, default=300, help="characters that the head learns from")
    parser.add_argument("--photos", type=int, default=6, help="photos of each")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--place", choices=Place.__args__, default="tokens")  # type: ignore[attr-defined]
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--evaluated", type=int, default=6, help="known and unknown characters that are drawn, each")
    parser.add_argument("--oracles", type=int, default=3, help="unknown characters whose residual itself is learned")
    parser.add_argument("--oracle-steps", type=int, default=250, help="steps for each of them")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--gpu", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--work", type=Path, help="a folder that is kept: a killed benchmark goes on from there")
    parser.add_argument("--grid", type=Path, help="a file for a picture of some characters")
    parser.add_argument("--out", type=Path, help="folder for the result file")
    parser.add_argument("--again", action="store_true", help="measure nothing: make the sentences of the file anew")
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(given)
    folder = arguments.out or RESULTS
    if arguments.again:
        found = json.loads((folder / "injection.json").read_text())
        command = whole_command(found["command"].split()[3:])
        write_result("injection", said_again(found["rows"]), folder=folder, command=command, measured=found)
        return
    if arguments.work is not None:
        rows = measure(arguments, arguments.work)
    else:
        with tempfile.TemporaryDirectory() as work:
            rows = measure(arguments, Path(work))
    for one in rows:
        print(one, flush=True)
    write_part("injection", rows, folder=folder, command=whole_command(given))


if __name__ == "__main__":
    main()
