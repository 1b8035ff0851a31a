"""A turn that ended: steps with times and memory, a trained LoRA with samples and a curve, a benchmark, a champion."""

import math
from datetime import timedelta

from flenwheel_core.documents.images import ImageRecord, Sampler
from flenwheel_core.documents.loras import LoraRecord, LossPoint, SampleImage
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.documents.scores import CellScore, Comparison, Fingerprint, Scorecard
from flenwheel_core.evaluation.grid import draw_grid
from flenwheel_core.library.characters import Library, Promotion, TurnEnded
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.train import TrainItem, TrainRequest, TrainResult
from flenwheel_core.runner.stage_runs import StageRun, stage_runs
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png, load_picture
from tests.kit.gate_world import CHARACTER, NOW, draw

FINGERPRINT = Fingerprint(
    verifier="subject", verifier_version="test", images=("a" * 64,), embeddings=((1.0,),), centroid=(1.0,), distance="cosine",
    leave_one_out=(0.1,), threshold=0.25, unsure_above=0.4,
)  # fmt: skip


def fill_turn(store: Store, sources: list[ImageRecord], number: int = 1, recipe: bytes = b"recipe") -> LoraRecord:
    """Turn `number` of the character, run by `run-N`, promoted."""
    library = Library(store)
    flow_run = f"00000000-0000-4000-8000-{number:012d}"
    library.open_turn("mira", flow_run, store.put_blob(recipe))
    lora = _train(store, sources, number, flow_run)
    card, comparison = _benchmark(store, sources, lora, number, flow_run)
    promotion = Promotion(at=NOW, lora=lora, scorecard=card, turn=number, flow_run=flow_run, reasons=comparison.reasons)
    library.promote("mira", promotion)
    report = store.put_blob(b"# Turn\n\nAll went well.")
    library.end_turn(
        "mira",
        TurnEnded(at=NOW, number=number, flow_run=flow_run, outcome="promoted", challenger=card, report=report),
    )
    return lora


def _train(store: Store, sources: list[ImageRecord], number: int, flow_run: str) -> LoraRecord:
    request = TrainRequest(
        character=CHARACTER.ref(), name=f"mira-v{number}", base="nano", recipe=TrainingRecipe(), seed=number,
        items=tuple(TrainItem(image=s.digest, caption=s.caption or "", real=True) for s in sources), sampler=Sampler(),
    )  # fmt: skip
    lora = LoraRecord(
        digest=store.put_blob(b"safetensors %d" % number), name=f"mira-v{number}", target="generator", base_model="nano",
        trigger=CHARACTER.trigger, class_word="person", rank=16, alpha=16, steps=400, images=len(sources),
        dataset="d" * 64, request=request.key(),
    )  # fmt: skip
    losses = tuple(LossPoint(step=s, loss=0.4 * math.exp(-s / 120) + 0.05) for s in range(10, 401, 10))
    samples = tuple(
        SampleImage(
            step=step,
            prompt=prompt,
            seed=7,
            image=store.put_blob(encode_png(draw(sources[0].labels, step + i, 128), {})),
        )
        for i, prompt in enumerate(("photo of ohwx_mira person", "ohwx_mira person smiling, profile"))
        for step in (100, 200, 400)
    )
    _record(store, "train", number, request, TrainResult(lora=lora, losses=losses, samples=samples), flow_run)
    return lora


def _benchmark(
    store: Store, sources: list[ImageRecord], lora: LoraRecord, number: int, flow_run: str
) -> tuple[Scorecard, Comparison]:
    request = BenchmarkRequest(
        character=CHARACTER.ref(), base="nano", challenger=lora.digest, fingerprint=FINGERPRINT, verifier="subject",
        items=(), recipe=BenchmarkRecipe(), sampler=Sampler(),
    )  # fmt: skip
    cells = tuple(
        CellScore(cell=cell.id, image=sources[i % len(sources)].digest, seed=i, passed=i % 3 != 0, identity=0.8)
        for i, cell in enumerate(CARD_CELLS)
    )
    card = Scorecard(
        lora=lora.digest, cells=cells, pass_rate=0.5 + 0.1 * number, pass_rate_low=0.4 + 0.1 * number,
        pass_rate_high=0.6 + 0.1 * number, identity=0.7 + 0.03 * number, identity_p05=0.5 + 0.03 * number,
        diversity=9.5 - 0.2 * number, verifier="subject", verifier_version="test",
    )  # fmt: skip
    comparison = Comparison(
        promote=True, reasons=("The pass rate is higher: 60 % against 50 %.",), pass_rate_gain=0.1, identity_gain=0.03,
        diversity_gain=-0.2,
    )  # fmt: skip
    grid = draw_grid(card, card, lambda digest: load_picture(store, digest), tile_px=64)
    result = BenchmarkResult(
        challenger=card, champion=card, comparison=comparison, images=store.put_images(sources),
        grid=store.put_blob(encode_png(grid, {})),
    )  # fmt: skip
    _record(store, "benchmark", number, request, result, flow_run)
    return card, comparison


def _record(store: Store, step: str, number: int, request: StageRequest, result: StageResult, flow_run: str) -> None:
    store.put_document(f"turns/mira/{number:04d}/{step}", request)
    store.put_request(request)
    run = {
        "stage": request.stage,
        "request": request.key(),
        "host": "box",
        "pid": 1,
        "slot": "box:0",
        "flow_run": flow_run,
    }
    stage_runs(store).append(StageRun.model_validate({"event": "started", "at": NOW, **run}))
    ended = {
        "event": "finished",
        "at": NOW + timedelta(seconds=90),
        "seconds": 90.0,
        "peak_vram_gib": 10.7,
        "peak_ram_gib": 3.2,
    }
    stage_runs(store).append(StageRun.model_validate({**run, **ended}))
    store.put_result(request, result)
