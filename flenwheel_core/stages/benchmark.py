"""The benchmark: the same cells, prompts and seeds for the challenger and the champion, on the model card or on the style card."""

from collections.abc import Sequence

from flenwheel_core.documents.images import ImageRecord, LoraUse
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import Comparison, Scorecard
from flenwheel_core.evaluation.bleed import bleed_score
from flenwheel_core.evaluation.grid import draw_grid
from flenwheel_core.evaluation.likeness import likeness_score
from flenwheel_core.evaluation.promotion.characters import compare
from flenwheel_core.evaluation.promotion.styles import compare_styles
from flenwheel_core.evaluation.scorecard import Look, score_card
from flenwheel_core.evaluation.style_card import score_style
from flenwheel_core.identity.people import character_in
from flenwheel_core.identity.screening import FingerprintSpace, limits_of
from flenwheel_core.identity.subject_rules import rules_of
from flenwheel_core.identity.verifiers import open_verifier, require_same_version
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.card_looks import Eyes, chunks, look_at
from flenwheel_core.stages.generate import draw_once
from flenwheel_core.stages.style_reference import features_in, style_reference
from flenwheel_core.store.pictures import encode_png, load_picture


def benchmark(request: BenchmarkRequest, context: StageContext) -> BenchmarkResult:
    """Scorecards of the challenger and, if there is one, of the champion, and what their comparison says."""
    with open_verifier(request.verifier, context.settings) as verifier:
        # A missing or another verifier is found out before anything is drawn.
        require_same_version(verifier, request.fingerprint)
    drawn = [_draw(request, request.items, lora, context) for lora in _loras(request)]
    bleeding = [_draw(request, request.bleed_items, lora, context) for lora in _loras(request)]
    eyes = Eyes(
        request.verifier,
        request.reader,
        clip=request.style.content if request.style is not None else None,
        learned_words=request.character.words,
        fingerprint=request.fingerprint,
    )
    looks = [look_at(records, eyes, context) for records in drawn]
    measure_card = _style_card if request.character.kind == "style" else _model_card
    cards, comparison = measure_card(request, looks, context)
    cards = _with_bleed(cards, bleeding, request, context)
    cards = _with_likeness(cards, looks, request, context)
    challenger, champion = cards[0], cards[1] if len(cards) > 1 else None
    grid = draw_grid(challenger, champion, lambda digest: load_picture(context.store, digest))
    return BenchmarkResult(
        challenger=challenger,
        champion=champion,
        comparison=comparison,
        images=context.store.put_images([record for records in (*drawn, *bleeding) for record in records]),
        grid=context.store.put_blob(encode_png(grid, {})),
    )


def _loras(request: BenchmarkRequest) -> tuple[str | None, ...]:
    return (request.challenger,) if request.champion is None else (request.challenger, request.champion)


def _draw(
    request: BenchmarkRequest, items: tuple[GenerateItem, ...], lora: str | None, context: StageContext
) -> tuple[ImageRecord, ...]:
    """Pictures of one LoRA. They are kept as a generation of their own: a champion is drawn once, ever."""
    if not items:
        return ()
    drawing = GenerateRequest(
        character=request.character,
        items=items,
        base=request.base,
        loras=(LoraUse(digest=lora, weight=request.lora_weight),) if lora is not None else (),
        sampler=request.sampler,
        turn=0,
    )
    return draw_once(drawing, context)


def _with_bleed(
    cards: Sequence[Scorecard],
    drawn: Sequence[tuple[ImageRecord, ...]],
    request: BenchmarkRequest,
    context: StageContext,
) -> list[Scorecard]:
    """The cards with how often each LoRA gives its character's face to somebody else, where that was drawn."""
    if not request.bleed_items:
        return list(cards)
    space, limits = (
        FingerprintSpace(request.fingerprint),
        limits_of(request.screening, request.fingerprint, strict=False),
    )
    beside, found = request.character.kind == "person", []
    with open_verifier(request.verifier, context.settings) as verifier:
        for card, records in zip(cards, drawn, strict=True):
            seen = [one for images in chunks(records, context) for one in verifier.embed(images)]
            found.append(card.model_copy(update={"bleed": bleed_score(seen, space, limits, beside=beside)}))
    return found


def _with_likeness(
    cards: Sequence[Scorecard], looks: Sequence[Sequence[Look]], request: BenchmarkRequest, context: StageContext
) -> list[Scorecard]:
    """The cards with how like each LoRA's pictures are to real ones that were never trained on, where some were kept back."""
    if request.held_out is None:
        return list(cards)
    space = FingerprintSpace(request.fingerprint)
    with open_verifier(request.verifier, context.settings) as verifier:
        images = chunks(context.store.get_images(request.held_out), context)
        real = [character_in(one, space)[0] for part in images for one in verifier.embed(part)]
    drawn = [[look.embedded for look in seen] for seen in looks]
    return [
        card.model_copy(update={"real_likeness": likeness_score(seen, real)})
        for card, seen in zip(cards, drawn, strict=True)
    ]


def _model_card(
    request: BenchmarkRequest, looks: Sequence[Sequence[Look]], context: StageContext
) -> tuple[list[Scorecard], Comparison | None]:
    """The model cards of a character's LoRAs, and what they say beside each other."""
    cards = []
    for lora, seen in zip(_loras(request), looks, strict=True):
        limits = limits_of(request.screening, request.fingerprint, strict=False)
        person = request.character.kind == "person"
        cards.append(
            score_card(seen, request.fingerprint, limits, lora=lora, person=person, first_turn=request.first_turn)
        )
    compared = compare(cards[1], cards[0], request.recipe, request.first_turn) if len(cards) > 1 else None
    return cards, compared


def _style_card(
    request: BenchmarkRequest, looks: Sequence[Sequence[Look]], context: StageContext
) -> tuple[list[Scorecard], Comparison | None]:
    """The style cards of a style's LoRAs, and what they say beside each other."""
    reference = style_reference(request.style, context)
    limits = limits_of(request.screening, request.fingerprint, strict=False, rules=rules_of(request.character.kind))
    features = [features_in([look.record.digest for look in seen], context) for seen in looks]
    cards = [
        score_style(seen, found, reference, request.fingerprint, limits, lora=lora)
        for lora, seen, found in zip(_loras(request), looks, features, strict=True)
    ]
    if len(cards) == 1:
        return cards, None
    assert request.style is not None
    pictures, margin = (features[1], features[0]), request.style.content_margin
    return cards, compare_styles(cards[1], cards[0], pictures, reference.style, request.recipe, margin)
