"""The model-card benchmark: the same 23 cells, prompts and seeds for the challenger and the champion."""

from collections.abc import Iterator, Sequence

from PIL import Image

from flenwheel_core.documents.images import ImageRecord, Labels, LoraUse
from flenwheel_core.documents.scores import Scorecard
from flenwheel_core.evaluation.grid import draw_grid
from flenwheel_core.evaluation.promotion.characters import compare
from flenwheel_core.evaluation.scorecard import Look, score_card
from flenwheel_core.identity.people import character_in
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.readers import open_reader
from flenwheel_core.identity.screening import FingerprintSpace, limits_of
from flenwheel_core.identity.verifiers import open_verifier, require_same_version, separate_reader
from flenwheel_core.images.quality import Measures, measure
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.generate import GenerateRequest, GenerateResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.generate import generate
from flenwheel_core.store.pictures import encode_png, load_picture

CHUNK = 32


def benchmark(request: BenchmarkRequest, context: StageContext) -> BenchmarkResult:
    """Scorecards of the challenger and, if there is one, of the champion, and what their comparison says."""
    with open_verifier(request.verifier, context.settings) as verifier:
        # A missing or another verifier is found out before anything is drawn.
        require_same_version(verifier, request.fingerprint)
    drawn = [_draw(request, lora, context) for lora in _loras(request)]
    cards = [_score(request, records, lora, context) for records, lora in zip(drawn, _loras(request), strict=True)]
    challenger, champion = cards[0], cards[1] if len(cards) > 1 else None
    comparison = compare(champion, challenger, request.recipe, request.first_turn) if champion is not None else None
    grid = draw_grid(challenger, champion, lambda digest: load_picture(context.store, digest))
    return BenchmarkResult(
        challenger=challenger,
        champion=champion,
        comparison=comparison,
        images=context.store.put_images([record for records in drawn for record in records]),
        grid=context.store.put_blob(encode_png(grid, {})),
    )


def _loras(request: BenchmarkRequest) -> tuple[str | None, ...]:
    return (request.challenger,) if request.champion is None else (request.challenger, request.champion)


def _draw(request: BenchmarkRequest, lora: str | None, context: StageContext) -> tuple[ImageRecord, ...]:
    """The card's pictures of one LoRA. They are kept as a generation of their own: a champion is drawn once, ever."""
    drawing = GenerateRequest(
        character=request.character,
        items=request.items,
        base=request.base,
        loras=(LoraUse(digest=lora, weight=request.lora_weight),) if lora is not None else (),
        sampler=request.sampler,
        turn=0,
    )
    done = context.store.get_result(drawing, GenerateResult)
    if done is None:
        context.store.put_request(drawing)
        done = generate(drawing, context)
        context.store.put_result(drawing, done)
    return context.store.get_images(done.images)


def _score(
    request: BenchmarkRequest, records: Sequence[ImageRecord], lora: str | None, context: StageContext
) -> Scorecard:
    context.check_stop()
    return score_card(
        _look(request, records, context),
        request.fingerprint,
        limits_of(request.screening, request.fingerprint, strict=False),
        lora=lora,
        person=request.character.kind == "person",
        first_turn=request.first_turn,
    )


def _look(request: BenchmarkRequest, records: Sequence[ImageRecord], context: StageContext) -> list[Look]:
    """Embeds, reads and measures the drawn pictures, a chunk at a time."""
    embedded: list[Embedded] = []
    measures: list[Measures] = []
    fidelity: list[float | None] = []
    space = FingerprintSpace(request.fingerprint)
    context.progress.loading(f"verifier {request.verifier}")
    with open_verifier(request.verifier, context.settings) as verifier:
        for images in _chunks(records, context):
            found = [character_in(one, space)[0] for one in verifier.embed(images)]
            embedded += found
            measures += [measure(image) for image in images]
            prompts = [record.prompt or "" for record in records[len(fidelity) : len(fidelity) + len(images)]]
            fidelity += verifier.prompt_fidelity(found, prompts)
    reads = [one.labels or Labels() for one in embedded]
    wanted = separate_reader(request.reader, request.verifier)
    if wanted is not None:
        context.progress.loading(f"reader {wanted}")
        with open_reader(wanted, context.settings) as reader:
            reads = [labels for images in _chunks(records, context) for labels in reader.read(images)]
    return [Look(*parts) for parts in zip(records, measures, embedded, reads, fidelity, strict=True)]


def _chunks(records: Sequence[ImageRecord], context: StageContext) -> Iterator[list[Image.Image]]:
    for start in range(0, len(records), CHUNK):
        yield [load_picture(context.store, record.digest) for record in records[start : start + CHUNK]]
