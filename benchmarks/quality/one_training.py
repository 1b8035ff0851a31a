"""One held-out nano character with what its first LoRA is trained on: what the benchmarks of a single training have in common.

Sources as a user brings them, of which some are held back and never trained on; edits of them that the simulated reviewer took, by the
bare editor; trainings and cards through the stages. Nothing here needs a server or a flow. Everything is kept in the folder: benchmarks
that ask for the same training share it.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.kit.stage_here import stage_here
from benchmarks.result_file import RESULTS
from flenwheel_core.base.ids import Digest, derive_seed
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import ImageRecord, LoraUse
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.evaluation.model_card import model_card_items
from flenwheel_core.images.folder import find_sources
from flenwheel_core.library.captioners import CaptionerLibrary
from flenwheel_core.library.characters import Character, PoolEntry
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.nano.demo import FIRST_HELD_OUT_SEED, load_truth, save_truth, write_sources
from flenwheel_core.nano.reviewer import judge
from flenwheel_core.plans.ingest_request import ingest_request
from flenwheel_core.plans.pictures import plan_edits
from flenwheel_core.plans.source_files import keep_files
from flenwheel_core.plans.training_set import made_caption, training_items
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.train import TrainItem, TrainRequest, TrainResult
from flenwheel_core.runner.stage import ENRICH, GENERATE, INGEST, TRAIN, Stage
from flenwheel_core.store import Store

FIRST_SEED = FIRST_HELD_OUT_SEED + 6500
SOURCES = 12
TRIGGER, CLASS_WORD = "ohwx_char", "person"
Request = TypeVar("Request", bound=StageRequest)
Result = TypeVar("Result", bound=StageResult)


@dataclass(frozen=True)
class Subject:
    """A character in a workspace of its own, and the recipe that it is trained with."""

    folder: Path
    index: int
    recipe: Recipe
    edits: int
    """Edits that are made; those the reviewer takes are trained on."""
    held: int
    """Sources that are held back."""
    gpu: str = "cpu"

    @property
    def name(self) -> str:
        return f"held-out-{self.index}"

    @property
    def settings(self) -> Settings:
        root = self.folder / self.name
        return Settings(workspace=root, store=None, gpu="cpu", slot=self.name, threads=1)

    @property
    def store(self) -> Store:
        return Store(self.settings.store_url, self.settings.store_options)

    @property
    def ref(self) -> CharacterRef:
        return CharacterRef(name=self.name, trigger=TRIGGER, class_word=CLASS_WORD, kind="subject")

    def stage(self, stage: Stage[Request, Result], request: Request) -> Result:
        """The result of a stage, made in this process."""
        settings = self.settings.model_copy(update={"gpu": self.gpu if stage.name == TRAIN.name else "cpu"})
        return stage_here(stage, request, settings)


@dataclass(frozen=True)
class Prepared:
    """What was made of a subject before its training."""

    pool: tuple[PoolEntry, ...]
    fingerprint: Fingerprint
    held_out: Digest | None
    """Image set of the sources that are held back."""

    def items(self, subject: Subject, more: Sequence[PoolEntry] = ()) -> tuple[TrainItem, ...]:
        """The training set as a turn makes it."""
        pool, recipe = [*self.pool, *more], subject.recipe
        return training_items(pool, recipe.pool.real_share, bodies_from=recipe.train.bodies_from)


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks of single trainings have; `about` is the module's docstring."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the workspaces; a second run goes on there"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--characters", type=int, default=10)
    parser.add_argument("--edits", type=int, default=30, help="edits made for each character")
    parser.add_argument("--steps", type=int, help="of a training as long as the recipe's, if not its own")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread")
    parser.add_argument("--gpu", default="cpu", help="auto trains on the card")
    return parser


def one_recipe(steps: int | None, gpu: str) -> Recipe:
    """The nano recipe, its models pinned, without sample pictures; with so many steps, if not its own."""
    recipe = load_recipe("nano")
    changes: dict[str, object] = {"sampling": recipe.train.sampling.model_copy(update={"every_steps": 0})}
    if gpu != "cpu":  # models this small are over before a compiler is done with them
        changes |= {"weight_format": "bf16", "compile": False, "cuda_graphs": True}
    if steps is not None:
        changes |= {"steps": steps, "min_epochs": None}
    return pin_recipe(recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)}), Settings())


def prepare(subject: Subject) -> Prepared:
    """Sources, edits and the reviewer's verdicts; at a second call what is there."""
    root, store, recipe = subject.settings.root, subject.store, subject.recipe
    root.mkdir(parents=True, exist_ok=True)
    sources_folder = root / "sources"
    truth = write_sources(
        sources_folder, FIRST_SEED + subject.index, trigger=TRIGGER, class_word=CLASS_WORD, number=SOURCES
    )
    save_truth(root / "truth.json", truth)
    character = Character(name=subject.name, trigger=TRIGGER, class_word=CLASS_WORD, kind="subject", recipe="nano")
    files = keep_files(store, find_sources(sources_folder)).files
    taken = subject.stage(INGEST, ingest_request(character, files, recipe, CaptionerLibrary(store)))
    assert taken.fingerprint is not None
    records = store.get_images(taken.sources)
    held = _held_back(records, subject.held)
    sources = [record for record in records if record.digest not in {one.digest for one in held}]
    pool = [PoolEntry(image=one, caption=one.caption or "", real=True, turn=1, gate=None) for one in sources]
    if subject.edits:
        request = EnrichRequest(
            character=subject.ref,
            sources=store.put_images(sources),
            items=plan_edits(sources, pool, recipe, turn=1, round_=1)[: subject.edits],
            editor=recipe.models.editor,
            sampler=recipe.enrich.sampler,
            turn=1,
        )
        edited = store.get_images(subject.stage(ENRICH, request).images)
        good = {one.image for one in judge(store, subject.settings, edited, truth) if one.verdict is Verdict.GOOD}
        pool += [made_entry(one, subject) for one in edited if one.digest in good]
    return Prepared(tuple(pool), taken.fingerprint, store.put_images(held) if held else None)


def made_entry(record: ImageRecord, subject: Subject) -> PoolEntry:
    """A made picture on its way into the pool."""
    words = made_caption(record.labels, subject.ref, subject.recipe)
    return PoolEntry(image=record, caption=words, real=False, turn=1, gate="gate-a")


def _held_back(records: Sequence[ImageRecord], number: int) -> list[ImageRecord]:
    """So many portraits of the first that files hold, other ones than the first picture of each angle."""
    seen: set[str | None] = set()
    repeats = []
    for record in records:
        if record.labels.pose in (None, "portrait"):
            if record.labels.angle in seen:
                repeats.append(record)
            seen.add(record.labels.angle)
    return repeats[:number]


def train_request(
    subject: Subject,
    prepared: Prepared,
    items: tuple[TrainItem, ...],
    name: str,
    *,
    keep_at: tuple[int, ...] = (),
    look_at: tuple[int, ...] = (),
    seed: int = 0,
) -> TrainRequest:
    """A training as a turn asks for it."""
    recipe = subject.recipe
    return TrainRequest(
        character=subject.ref,
        name=name,
        items=items,
        base=recipe.models.base,
        recipe=recipe.train.for_pictures(len(items)),
        seed=derive_seed(recipe.generate.seed, "train", 1, seed) % 2**31,
        sampler=recipe.generate.sampler,
        keep_at=keep_at,
        look_at=look_at,
    )


def train(subject: Subject, request: TrainRequest) -> TrainResult:
    """The training, made or found."""
    return subject.stage(TRAIN, request)


def true_card(subject: Subject, lora: LoraRecord | LoraUse, seed: int = 77) -> list[bool]:
    """Which pictures of a fresh model card the simulated reviewer takes, who knows the truth; the same prompts and seeds for every LoRA.

    The card's seeds are not those of the recipe's benchmark, nor of a choice.
    """
    recipe = subject.recipe.model_copy(
        update={"benchmark": subject.recipe.benchmark.model_copy(update={"seed": seed, "seeds_per_cell": 2})}
    )
    use = lora if isinstance(lora, LoraUse) else LoraUse(digest=lora.digest, weight=recipe.generate.lora_weight)
    items: tuple[GenerateItem, ...] = model_card_items(subject.ref, recipe)
    request = GenerateRequest(
        character=subject.ref,
        items=items,
        base=recipe.models.base,
        loras=(use,),
        sampler=recipe.generate.sampler,
        turn=0,
    )
    records = subject.store.get_images(subject.stage(GENERATE, request).images)
    truth = load_truth(subject.settings.root / "truth.json")
    return [one.verdict is Verdict.GOOD for one in judge(subject.store, subject.settings, records, truth)]
