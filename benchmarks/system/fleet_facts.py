"""What the simulation of a fleet stands on: figures of this program's own result files and recipe, and what had to be assumed, each with
its reason. Nothing measured is written down here a second time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.result_file import RESULTS
from benchmarks.system.server_answers import SECONDS as ANSWERS_SECONDS
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.train import TrainingRecipe

RECIPE = "flux_character_24gb"
DAY_SECONDS = 86_400.0
HOUR_SECONDS = 3_600.0


@dataclass(frozen=True)
class Assumed:
    """A figure that nobody measured for this program, and why it is what it is."""

    value: float
    unit: str
    reason: str


CARD_DAYS_TO_A_FAILURE = Assumed(
    16_384 * 54 / 419,
    "card days",
    "419 unplanned stops of 16 384 H100 in 54 days (Llama 3, arXiv 2407.21783); other cards: see the sweep",
)
REPAIR_HOURS = Assumed(4.0, "hours", "a person or a spare machine; not measured")
RENTED_HOURS = Assumed(
    12.0, "hours", "mean until an interruptible machine is taken back; differs by market, see the sweep"
)
RENTED_BACK_HOURS = Assumed(0.5, "hours", "until another one is rented and has fetched the weights; not measured")
RENTED_SHARE = Assumed(0.2, "share", "of the cards; a choice")
CHECKPOINT_SECONDS = Assumed(
    float(Settings.model_fields["checkpoint_minutes"].default) * 60,
    "s",
    "a training's state in the store is no older: the default of FLENWHEEL_CHECKPOINT_MINUTES",
)
MACHINE_LEASE_SECONDS = Assumed(
    float(Settings.model_fields["lease_seconds"].default),
    "s",
    "a machine that is silent for so long loses its runs: the default of FLENWHEEL_LEASE_SECONDS",
)
LOOK_SECONDS = Assumed(3.0, "s a picture", "how long a person looks; not measured")
CHARACTERS_PER_REVIEWER = Assumed(50.0, "characters", "1 000 reviewers for 50 000 characters; a choice")
INTERACTIVE_SHARE = Assumed(0.3, "share", "turns that somebody began and waits for; not measured")
FIRST_TURNS_SHARE = Assumed(1 / 3, "share", "a character has three turns in all; not measured")
INGEST_SECONDS = Assumed(
    60.0, "s", "was timed beside three other stages only, which is no figure; little beside the rest"
)
EDITOR_TRAININGS = Assumed(0.05, "a turn", "an editor learns after the triplets of some twenty turns; not measured")
PICTURE_MIB = Assumed(1.5, "MiB", "a PNG of 1024 x 1024; not measured")
TRAINED_NUMBERS = Assumed(
    65.4e6, "numbers", "rank 16 on attention and MLP of FLUX.1's 57 blocks: 16 x (in + out) of each linear"
)
CHECKPOINT_BYTES_A_NUMBER = Assumed(12.0, "bytes", "fp32 weight and two moments; eight-bit optimizers need less")
STORE_PUTS = Assumed(3_500.0, "a second", "S3's documented rate for one partitioned prefix; not measured")
DOCUMENTS_A_STAGE = Assumed(10.0, "objects", "request, result, manifest, tables of a stage; not measured")
OWNED_HOUR = Assumed(0.35, "$ a card hour", "a 24 GB card on the open market; prices move")
RENTED_HOUR = Assumed(0.20, "$ a card hour", "the same, interruptible; prices move")
STORE_MONTH = Assumed(0.023, "$ a GB and month", "S3 standard's list price")
REVIEWER_HOUR = Assumed(15.0, "$ an hour", "if people are paid; many review their own characters")
CARD_FACTOR = Assumed(
    1.0, "x", "time of a 24 GB card against the H200 held to 24 GiB that was measured; no such card was measured"
)

ASSUMED = {name.lower(): value for name, value in list(globals().items()) if isinstance(value, Assumed)}


@dataclass(frozen=True)
class Stage:
    """A stage on a card."""

    name: str
    start_seconds: float
    """Until work begins, on a machine that has done it before."""
    cold_seconds: float
    """The same on a machine that is new."""
    work_seconds: float
    grain_seconds: float
    """Work that a lost card can cost at most: an item, or what lies between two checkpoints."""
    after_seconds: float
    """On processors, after the card is free again: screening."""
    written: int
    """Pictures it makes."""


@dataclass(frozen=True)
class Gate:
    """A look of a person; no card, no process."""

    pictures: int


Step = Stage | Gate


@dataclass(frozen=True)
class Source:
    """Where a measured figure was read."""

    file: str
    case: str
    figure: str
    value: float


@dataclass(frozen=True)
class Facts:
    """Figures of the result files, and the steps of turns made from them."""

    first_turn: tuple[Step, ...]
    later_turn: tuple[Step, ...]
    edit_training: Stage
    step_overhead_seconds: float
    """What Prefect adds to a stage, with the card free."""
    resume_seconds: float
    """From the answer at a gate until the next stage."""
    lease_seconds: float
    """Until a stage whose machine is gone is begun elsewhere."""
    server_runs_per_second: float
    """Runs that one Prefect server on SQLite was seen to carry, on two cores."""
    studio_gate_seconds: float
    """Studio, opening a gate."""
    studio_picture_seconds: float
    """Studio, a picture shown and decided."""
    gate_database_bytes: float
    """What a suspended run leaves in the server's database."""
    sources: tuple[Source, ...]

    def card_seconds(self, steps: tuple[Step, ...]) -> float:
        return sum(step.start_seconds + step.work_seconds for step in steps if isinstance(step, Stage))

    def objects(self, stage: Stage) -> float:
        """Objects that a stage writes to the store."""
        checkpoints = stage.work_seconds / stage.grain_seconds if stage.name.endswith("train") else 0.0
        return stage.written + checkpoints + DOCUMENTS_A_STAGE.value

    def mean_card_seconds(self) -> float:
        """Of a turn, over first and later ones and with its part of an editor's training."""
        first = FIRST_TURNS_SHARE.value
        editor = EDITOR_TRAININGS.value * self.card_seconds((self.edit_training,))
        return first * self.card_seconds(self.first_turn) + (1 - first) * self.card_seconds(self.later_turn) + editor


class _Read:
    """Reads figures and remembers where from."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self._files: dict[str, Mapping[str, Mapping[str, float]]] = {}

    def __call__(self, file: str, case: str, figure: str, *, scale: float = 1.0) -> float:
        if file not in self._files:
            rows = json.loads((RESULTS / f"{file}.json").read_text())["rows"]
            self._files[file] = {row["case"]: row for row in rows}
        value = float(self._files[file][case][figure])
        self.sources.append(Source(file, case, figure, value))
        return value * scale


def read_facts(checkpoint_seconds: float = CHECKPOINT_SECONDS.value) -> Facts:
    """The facts as the result files have them today."""
    read = _Read()
    recipe = load_recipe(RECIPE)
    factor = CARD_FACTOR.value
    edits, drawn = recipe.enrich.target_images, recipe.generate.target_images
    shown = len(CARD_CELLS) * recipe.benchmark.seeds_per_cell
    screening = 1 / read("screening", "faces_512", "images_per_second")

    def items(stage: str, number: int, *, screened: bool = False) -> Stage:
        start = read("dress_rehearsal", f"{stage}_24gib", "first_item_seconds", scale=factor)
        item = read("dress_rehearsal", f"{stage}_24gib", "item_seconds", scale=factor)
        after = number * screening if screened else 0.0
        return Stage(stage, start, start, (number - 1) * item, item, after, number)

    # On a machine that is new, blocks are compiled before the first step; the other row's were compiled already.
    cold = read("dress_rehearsal", "train_24gib", "first_item_seconds", scale=factor)
    warm = read("dress_rehearsal", "train_no_prior_24gib", "first_item_seconds", scale=factor)
    step = read("dress_rehearsal", "train_24gib", "item_seconds", scale=factor)
    edit_start = read("dress_rehearsal", "edit_train_24gib", "first_item_seconds", scale=factor)
    edit_step = read("dress_rehearsal", "edit_train_24gib", "item_seconds", scale=factor)

    # A state costs the training what it costs, however seldom it is saved.
    saving = read("saving", "lora_250_mb", "share_of_time") * CHECKPOINT_SECONDS.value / checkpoint_seconds

    def training(name: str, plan: TrainingRecipe, start: float, cold_start: float, seconds: float) -> Stage:
        grids = plan.steps // plan.sampling.every_steps if plan.sampling.every_steps else 0
        drawn_beside = grids * plan.sampling.prompts
        if name == "train" and plan.prior.method != "off":
            drawn_beside += plan.prior.images
        # Samples and pictures of the prior are drawn as the generator draws.
        work = plan.steps * seconds * (1 + saving) + drawn_beside * generate.grain_seconds
        return Stage(name, start, cold_start, work, checkpoint_seconds, 0.0, 0)

    enrich, generate = items("enrich", edits, screened=True), items("generate", drawn, screened=True)
    train = training("train", recipe.train, warm, cold, step)
    # The model card is drawn by the champion and by the challenger.
    benchmark = Stage(**{**items("generate", 2 * shown, screened=True).__dict__, "name": "benchmark"})
    ingest = Stage("ingest", 0.0, 0.0, INGEST_SECONDS.value, INGEST_SECONDS.value, 0.0, 0)
    first: tuple[Step, ...] = (ingest, enrich, Gate(edits), train, generate, Gate(drawn), train, benchmark)
    later: tuple[Step, ...] = (enrich, Gate(edits), generate, Gate(drawn), train, benchmark)
    stages = sum(isinstance(step, Stage) for step in first)
    answers = json.loads((RESULTS / "server_answers.json").read_text())["command"]
    assert "--seconds" not in answers, "server_answers was measured for another time than its default"
    return Facts(
        first_turn=first,
        later_turn=later,
        edit_training=training("edit_train", recipe.editor.train, edit_start, edit_start, edit_step),
        step_overhead_seconds=read("orchestration", "turn_overhead", "seconds") / stages,
        resume_seconds=read("orchestration", "gate_resume", "seconds"),
        lease_seconds=MACHINE_LEASE_SECONDS.value,
        server_runs_per_second=read("server_answers", "run_now", "runs_finished") / ANSWERS_SECONDS,
        studio_gate_seconds=read("studio", "first_page_10000", "p50_ms", scale=1e-3),
        studio_picture_seconds=read("studio", "next_image_10000", "p50_ms", scale=1e-3)
        + read("studio", "decision_10000", "p50_ms", scale=1e-3),
        gate_database_bytes=read("waiting_gates", "suspended_run", "database_bytes_a_gate"),
        sources=tuple(dict.fromkeys(read.sources)),
    )
