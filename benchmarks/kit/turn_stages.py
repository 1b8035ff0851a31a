"""Stand-ins for the stages of a turn that compute next to nothing: for tests of everything around the stages.

They run in the real worker process, resume like the real ones, and give results that depend on their requests only.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence

from PIL import Image

from flenwheel_core.base.ids import derive_seed, digest_bytes
from flenwheel_core.documents.images import ANGLES, ImageKind, ImageRecord, Labels
from flenwheel_core.documents.loras import LoraRecord, LossPoint
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.documents.scores import CellScore, Comparison, Fingerprint, Scorecard, Screening
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.critic_score import CriticScoreRequest, CriticScoreResult
from flenwheel_core.requests.critic_train import CriticTrainRequest, CriticTrainResult
from flenwheel_core.requests.enrich import EnrichRequest, EnrichResult
from flenwheel_core.requests.export import ExportedFile, ExportRequest, ExportResult
from flenwheel_core.requests.generate import GenerateRequest, GenerateResult
from flenwheel_core.requests.ingest import IngestRequest, IngestResult
from flenwheel_core.requests.screen import ScreenRequest, ScreenResult
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.stage import KeptFiles, Stage, StageContext, register
from flenwheel_core.stages.critic_score import critic_score as real_critic_score
from flenwheel_core.stages.critic_train import critic_train as real_critic_train
from flenwheel_core.store.pictures import save_picture

NOBODY = "0" * 64
VERSION = "tiny"
SIDE_PX = 64
WALKED = "walked.jsonl"
"""In a training's scratch folder: from which step its processes began, and which steps they did, for who measures what was lost."""


def pause() -> None:
    """How long an item or a step takes: the environment variable TURN_STAGES_SECONDS."""
    time.sleep(float(os.environ.get("TURN_STAGES_SECONDS", "0")))


def picture(seed: int) -> Image.Image:
    colour = hashlib.sha256(str(seed).encode()).digest()
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), (colour[0], colour[1], colour[2]))
    image.paste((colour[3], colour[4], colour[5]), (16, 16, 48, 48))
    return image


def ingest(request: IngestRequest, context: StageContext) -> IngestResult:
    records = []
    for number, file in enumerate(request.files):
        labels = Labels(angle=ANGLES[number % 5], expression="neutral", pose="portrait")
        record = ImageRecord(
            digest=NOBODY,
            width=1,
            height=1,
            kind=ImageKind.SOURCE,
            caption=file.caption or "photo",
            stage="ingest",
            request=request.key(),
            item=file.name,
            labels=labels,
        )
        records.append(save_picture(context.store, picture(int(file.digest[:8], 16)), record))
    fingerprint = Fingerprint(
        verifier="tiny",
        verifier_version=VERSION,
        images=tuple(record.digest for record in records),
        embeddings=tuple((1.0, 0.0) for _ in records),
        centroid=(1.0, 0.0),
        distance="cosine",
        leave_one_out=tuple(0.0 for _ in records),
        threshold=0.5,
        unsure_above=0.7,
    )
    missing = (
        () if len(records) >= request.recipe.minimum_images else (f"{request.recipe.minimum_images} usable pictures",)
    )
    return IngestResult(
        sources=context.store.put_images(records),
        count=len(records),
        fingerprint=fingerprint,
        problems=(),
        missing=missing,
    )


def _make(
    request: EnrichRequest | GenerateRequest,
    items: Sequence[EditItem | GenerateItem],
    kind: ImageKind,
    context: StageContext,
) -> list[ImageRecord]:
    journal = context.store.stage_items(request, ImageRecord)
    done = {record.item: record for record in journal.read()}
    for number, item in enumerate(items, start=1):
        context.check_stop()
        if item.key not in done:
            pause()
            record = ImageRecord(
                digest=NOBODY,
                width=1,
                height=1,
                kind=kind,
                parents=(item.source,) if isinstance(item, EditItem) else (),
                prompt=item.prompt,
                seed=item.seed,
                sampler=request.sampler,
                model="tiny",
                loras=request.loras,
                stage=request.stage,
                request=request.key(),
                item=item.key,
                turn=request.turn,
                template=item.template,
                cell=item.cell,
                labels=item.labels,
            )
            done[item.key] = save_picture(context.store, picture(item.seed), record)
            journal.append(done[item.key])
        context.progress.step(number, len(items), "pictures")
    return [done[item.key] for item in items]


def enrich(request: EnrichRequest, context: StageContext) -> EnrichResult:
    records = _make(request, request.items, ImageKind.ENRICHED, context)
    return EnrichResult(images=context.store.put_images(records), count=len(records))


def generate(request: GenerateRequest, context: StageContext) -> GenerateResult:
    records = _make(request, request.items, ImageKind.SYNTHETIC, context)
    return GenerateResult(images=context.store.put_images(records), count=len(records))


def screen(request: ScreenRequest, context: StageContext) -> ScreenResult:
    """Every seventh picture fails."""
    rows = [
        Screening(
            image=record.digest,
            outcome="fail" if number % 7 == 6 else "pass",
            verifier="tiny",
            verifier_version=VERSION,
            similarity=0.9,
        )
        for number, record in enumerate(context.store.get_images(request.images))
    ]
    failed = sum(row.outcome == "fail" for row in rows)
    return ScreenResult(
        screenings=context.store.put_screenings(rows), passed=len(rows) - failed, unsure=0, failed=failed
    )


def _walked(context: StageContext, step: int, what: str) -> None:
    with (context.scratch / WALKED).open("a") as file:
        file.write(json.dumps({"at": time.time(), "step": step, "what": what}) + "\n")


def train(request: TrainRequest, context: StageContext) -> TrainResult:
    """A chain of digests, one a step; a checkpoint every few steps. An interrupted chain must end the same."""
    folder = context.scratch / "checkpoints"
    folder.mkdir(exist_ok=True)
    state = {"step": 0, "value": digest_bytes(request.to_bytes())}
    saved = max(folder.glob("step-*.json"), default=None)
    if saved is not None:
        state = json.loads(saved.read_text())
    _walked(context, state["step"], "begins")
    while state["step"] < request.recipe.steps:
        pause()
        step = state["step"] + 1
        value = digest_bytes(f"{state['value']}{derive_seed(request.seed, 'train', step)}".encode())
        state = {"step": step, "value": value}
        _walked(context, step, "done")
        if step % request.recipe.checkpoint_every == 0 or context.stop.is_set():
            temporary = folder / "new"
            temporary.write_text(json.dumps(state))
            temporary.replace(folder / f"step-{step:08d}.json")
        context.check_stop()
        context.progress.step(step, request.recipe.steps, "steps")
    lora = LoraRecord(
        digest=context.store.put_blob((2).to_bytes(8, "little") + b"{}" + state["value"].encode()),
        name=request.name,
        target="generator",
        base_model=request.base,
        trigger=request.character.trigger,
        class_word=request.character.class_word,
        rank=4,
        alpha=4,
        steps=request.recipe.steps,
        images=len(request.items),
        dataset=digest_bytes(b"".join(item.image.encode() for item in request.items)),
        request=request.key(),
    )
    return TrainResult(lora=lora, losses=(LossPoint(step=request.recipe.steps, loss=0.1),), samples=())


def benchmark(request: BenchmarkRequest, context: StageContext) -> BenchmarkResult:
    digest = context.store.put_blob(b"benchmark picture")

    def card(lora: str | None, passed: int) -> Scorecard:
        cells = tuple(
            CellScore(cell=item.cell or "", image=digest, seed=item.seed, passed=number < passed, identity=0.9)
            for number, item in enumerate(request.items)
        )
        return Scorecard(
            lora=lora,
            cells=cells,
            pass_rate=passed / len(cells),
            pass_rate_low=0.1,
            pass_rate_high=0.9,
            identity=0.9,
            identity_p05=0.8,
            diversity=5,
            verifier="tiny",
            verifier_version=VERSION,
        )

    grid = save_picture(
        context.store,
        picture(1),
        ImageRecord(
            digest=NOBODY,
            width=1,
            height=1,
            kind=ImageKind.SYNTHETIC,
            stage="benchmark",
            request=request.key(),
            item="grid",
        ),
    )
    comparison = Comparison(
        promote=True, reasons=("It is better.",), pass_rate_gain=0.1, identity_gain=0, diversity_gain=0
    )
    return BenchmarkResult(
        challenger=card(request.challenger, 30),
        champion=card(request.champion, 20) if request.champion else None,
        comparison=comparison if request.champion else None,
        images=context.store.put_images([grid]),
        grid=grid.digest,
    )


def export(request: ExportRequest, context: StageContext) -> ExportResult:
    return ExportResult(files=(ExportedFile(name="lora.safetensors", digest=request.lora.digest),))


def critic_train(request: CriticTrainRequest, context: StageContext) -> CriticTrainResult:
    """The real one, without embeddings: these pictures show nothing."""
    return real_critic_train(request.model_copy(update={"verifier": None}), context)


def critic_score(request: CriticScoreRequest, context: StageContext) -> CriticScoreResult:
    """Likewise."""
    return real_critic_score(request.model_copy(update={"verifier": None}), context)


register(Stage(IngestRequest, IngestResult, "benchmarks.kit.turn_stages:ingest", uses_gpu=False))
register(Stage(EnrichRequest, EnrichResult, "benchmarks.kit.turn_stages:enrich", uses_gpu=True))
register(Stage(ScreenRequest, ScreenResult, "benchmarks.kit.turn_stages:screen", uses_gpu=False))
register(
    Stage(
        TrainRequest,
        TrainResult,
        "benchmarks.kit.turn_stages:train",
        uses_gpu=True,
        kept=KeptFiles("checkpoints/step-*.json"),
    )
)
register(Stage(GenerateRequest, GenerateResult, "benchmarks.kit.turn_stages:generate", uses_gpu=True))
register(Stage(BenchmarkRequest, BenchmarkResult, "benchmarks.kit.turn_stages:benchmark", uses_gpu=True))
register(Stage(ExportRequest, ExportResult, "benchmarks.kit.turn_stages:export", uses_gpu=False))
register(Stage(CriticTrainRequest, CriticTrainResult, "benchmarks.kit.turn_stages:critic_train", uses_gpu=False))
register(Stage(CriticScoreRequest, CriticScoreResult, "benchmarks.kit.turn_stages:critic_score", uses_gpu=False))
