"""Does the model card rank LoRAs as it must? Four known ones on nano characters that no model was trained on.

none: the bare base. good: trained on renders of the character. spoiled: half of its pictures show somebody else. collapsed: trained on
nothing but the good LoRA's own pictures of one prompt under the prompts of all cells, without prior pictures: a loop without real
images ends so, drawing one view whatever it is asked for, and learning that from its own answers. All run through the stages `ingest`,
`train`, `generate` and `benchmark`. `alarm` is the collapse alarm against the good LoRA; the base is no yardstick and never raises it.

    python -m benchmarks.quality.model_card                       # about eight minutes a character on two cores
    python -m benchmarks.quality.model_card --characters 10 --workers 5 --gpu auto      # on a card
    python -m benchmarks.quality.model_card --steps 20 --characters 1 --out /tmp/results
"""

import argparse
import multiprocessing
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle
from pathlib import Path

from benchmarks.result_file import Row, write_result
from flenwheel_core.base.ids import derive_seed
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageRecord, LoraUse
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.evaluation.model_card import model_card_items
from flenwheel_core.nano.world import HELD_OUT_FROM, caption, make_character, make_view, render
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.requests.train import TrainItem, TrainRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.benchmark import benchmark
from flenwheel_core.stages.generate import generate
from flenwheel_core.stages.ingest import ingest
from flenwheel_core.stages.train import train
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

FIRST_CHARACTER = HELD_OUT_FROM + 900
SOURCES = 14
OWN_PICTURES = 6
CASES = ("none", "good", "spoiled", "collapsed")
HERO = CharacterRef(name="hero", trigger="ohwx_char", class_word="person", kind="subject")


class World:
    """A store and everything the stages need, for one character."""

    def __init__(self, folder: Path, number: int, recipe: Recipe, verifier: str, reader: str | None, gpu: str) -> None:
        self.settings = Settings(workspace=folder, gpu=gpu)
        self.store = Store(self.settings.store_url)
        self.folder = folder
        self.number = number
        self.recipe = recipe
        self.verifier = verifier
        self.reader = reader

    def context(self, name: str) -> StageContext:
        scratch = self.folder / name
        scratch.mkdir(exist_ok=True)
        progress = Progress(name, lambda event: print(event.line(), flush=True), interval_seconds=20)
        return StageContext(self.store, self.settings, scratch, progress, 0, threading.Event())

    def sources(self, seed: int, count: int = SOURCES) -> tuple[SourceFile, ...]:
        """Renders of a character, mostly portraits, with captions that name the trigger."""
        character = make_character(seed)
        files = []
        for index in range(count):
            view = make_view(derive_seed(seed, "source", index), portrait_share=0.85)
            text = caption(character, view, name=f"{HERO.trigger} {HERO.class_word}")
            data = encode_png(render(character, view), {})
            files.append(SourceFile(name=f"{seed}-{index}.png", digest=self.store.put_blob(data), caption=text))
        return tuple(files)

    def ingested(self, files: tuple[SourceFile, ...]) -> tuple[tuple[ImageRecord, ...], Fingerprint]:
        request = IngestRequest(
            character=HERO, files=files, recipe=self.recipe.ingest, verifier=self.verifier, reader=self.reader
        )
        result = ingest(request, self.context("ingest"))
        assert result.fingerprint is not None, result.problems
        return self.store.get_images(result.sources), result.fingerprint

    def trained(self, name: str, items: tuple[TrainItem, ...], recipe: TrainingRecipe) -> str:
        """The digest of a LoRA trained on these pictures."""
        request = TrainRequest(
            character=HERO,
            name=name,
            items=items,
            base=self.recipe.models.base,
            recipe=recipe,
            seed=self.number,
            sampler=self.recipe.generate.sampler,
        )
        return train(request, self.context(f"train-{name}")).lora.digest

    def own_answers(self, lora: str) -> tuple[TrainItem, ...]:
        """The prompts of all cells, each with one of a few pictures that the LoRA drew of one of them."""
        prompts = dict.fromkeys(item.prompt for item in model_card_items(HERO, self.recipe))
        drawn = cycle(self._own_pictures(lora))
        return tuple(TrainItem(image=next(drawn).digest, caption=prompt, real=False) for prompt in prompts)

    def _own_pictures(self, lora: str) -> tuple[ImageRecord, ...]:
        item = model_card_items(HERO, self.recipe)[0]
        items = tuple(
            GenerateItem(key=f"own-{index}", prompt=item.prompt, seed=index, cell=item.cell, labels=item.labels)
            for index in range(OWN_PICTURES)
        )
        request = GenerateRequest(
            character=HERO,
            items=items,
            base=self.recipe.models.base,
            loras=(LoraUse(digest=lora),),
            sampler=self.recipe.generate.sampler,
            turn=1,
        )
        return self.store.get_images(generate(request, self.context("own")).images)

    def measured(self, challenger: str | None, champion: str | None, fingerprint: Fingerprint) -> BenchmarkResult:
        request = BenchmarkRequest(
            character=HERO,
            base=self.recipe.models.base,
            challenger=challenger,
            champion=champion,
            fingerprint=fingerprint,
            verifier=self.verifier,
            reader=self.reader,
            items=model_card_items(HERO, self.recipe),
            screening=self.recipe.screening,
            recipe=self.recipe.benchmark,
            sampler=self.recipe.generate.sampler,
        )
        result = benchmark(request, self.context("benchmark"))
        assert benchmark(request, self.context("benchmark")).to_bytes() == result.to_bytes()
        return result


def captioned(records: Sequence[ImageRecord]) -> tuple[TrainItem, ...]:
    """Real pictures with their captions."""
    return tuple(TrainItem(image=one.digest, caption=one.caption or "", real=True) for one in records)


def run_character(world: World, grids: Path | None) -> list[Row]:
    """One row a case; every measurement is made twice and must be the same."""
    seed = FIRST_CHARACTER + world.number
    records, fingerprint = world.ingested(world.sources(seed))
    strangers, _ = world.ingested(world.sources(seed + 500))
    recipe = world.recipe.train
    good = world.trained("good", captioned(records), recipe)
    half = len(records) // 2
    spoiled = world.trained("spoiled", captioned([*records[:half], *strangers[half:]]), recipe)
    without_prior = recipe.model_copy(update={"prior": recipe.prior.model_copy(update={"share": 0.0})})
    collapsed = world.trained("collapsed", world.own_answers(good), without_prior)
    loras = dict(zip(CASES, (None, good, spoiled, collapsed), strict=True))
    rows: list[Row] = []
    for case, lora in loras.items():
        result = world.measured(lora, None if case == "good" else good, fingerprint)
        if grids is not None:
            grids.mkdir(parents=True, exist_ok=True)
            (grids / f"{world.number}-{case}.png").write_bytes(world.store.get_blob(result.grid))
        card, comparison = result.challenger, result.comparison
        rows.append(
            {
                "case": case,
                "character": world.number,
                "pass_rate": card.pass_rate,
                "pass_rate_low": card.pass_rate_low,
                "pass_rate_high": card.pass_rate_high,
                "identity": card.identity,
                "identity_p05": card.identity_p05,
                "angle_rate": card.angle_rate,
                "expression_rate": card.expression_rate,
                "pose_rate": card.pose_rate,
                "diversity": card.diversity,
                "alarm": comparison.collapse_alarm if comparison is not None else False,
                "promoted_over_good": comparison.promote if comparison is not None else None,
            }
        )
        print(rows[-1], flush=True)
    return rows


def measure_character(
    number: int, *, recipe: Recipe, verifier: str, reader: str | None, gpu: str, grids: Path | None
) -> list[Row]:
    """One character in a world of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return run_character(World(Path(folder), number, recipe, verifier, reader, gpu), grids)


def mean_rows(rows: Sequence[Row], characters: int) -> list[Row]:
    """One row a case: means over the characters, and in how many the alarm rang."""
    figures = ("pass_rate", "identity", "identity_p05", "angle_rate", "expression_rate", "pose_rate", "diversity")
    means: list[Row] = []
    for case in CASES:
        own = [row for row in rows if row["case"] == case]
        row: dict[str, str | int | float | bool | None] = {"case": case, "characters": characters}
        for figure in figures:
            values = [float(one[figure]) for one in own if one[figure] is not None]  # type: ignore[arg-type]
            row[figure] = sum(values) / len(values) if values else None
        row["alarm"] = sum(bool(one["alarm"]) for one in own) / len(own)
        row["promoted_over_good"] = None if case == "good" else sum(bool(one["promoted_over_good"]) for one in own)
        means.append(row)
    return means


def use_threads(number: int) -> None:
    """What a worker process computes with."""
    import torch

    torch.set_num_threads(number)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--characters", type=int, default=3)
    parser.add_argument("--steps", type=int, help="training steps; the nano recipe's if unset")
    parser.add_argument("--seeds", type=int, help="pictures a cell; the nano recipe's if unset")
    parser.add_argument("--verifier", default="nano")
    parser.add_argument("--reader", default="nano")
    parser.add_argument("--gpu", default="cpu", help="cpu, or auto for the card")
    parser.add_argument("--workers", type=int, default=1, help="characters at a time")
    parser.add_argument("--threads", type=int, default=2, help="threads of each")
    parser.add_argument("--grids", type=Path, help="folder for the grid pictures")
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    recipe = load_recipe("nano")
    sampling = recipe.train.sampling.model_copy(update={"every_steps": 0})
    training = recipe.train.model_copy(update={"sampling": sampling, "steps": given.steps or recipe.train.steps})
    card = recipe.benchmark.model_copy(update={"seeds_per_cell": given.seeds or recipe.benchmark.seeds_per_cell})
    recipe = recipe.model_copy(update={"train": training, "benchmark": card})
    measure = partial(
        measure_character,
        recipe=recipe,
        verifier=given.verifier,
        reader=given.reader or None,
        gpu=given.gpu,
        grids=given.grids,
    )
    with ProcessPoolExecutor(
        given.workers, multiprocessing.get_context("spawn"), initializer=use_threads, initargs=(given.threads,)
    ) as pool:
        rows = [row for found in pool.map(measure, range(given.characters)) for row in found]
    each = [{**row, "case": f"{row['case']}_{row['character']}"} for row in rows]
    write_result(
        "model_card", [*mean_rows(rows, given.characters), *each], **({"folder": given.out} if given.out else {})
    )


if __name__ == "__main__":
    main()
