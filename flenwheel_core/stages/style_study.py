"""The stage `style_study`: draws the same scenes in several ways, measures each, and finds a LoRA's default strength."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flenwheel_core.documents.images import ImageRecord, LoraUse
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import Scorecard, StyleScore
from flenwheel_core.evaluation.kernel_distance import kernel_distance
from flenwheel_core.evaluation.scorecard import Look
from flenwheel_core.evaluation.style_card import Reference, score_style
from flenwheel_core.evaluation.style_distance import default_strength
from flenwheel_core.evaluation.style_ranks import style_rank
from flenwheel_core.identity.screening import limits_of
from flenwheel_core.identity.style_descriptors import StyleDescriptors, Vectors
from flenwheel_core.identity.subject_rules import rules_of
from flenwheel_core.identity.verifiers import open_verifier, require_same_version
from flenwheel_core.images.style_features import StyleFeatures
from flenwheel_core.models.references import ModelRole, resolve_model
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.style_study import (
    NearestPainting,
    StudiedPhotos,
    StudiedWay,
    StyleStudyRequest,
    StyleStudyResult,
    Way,
)
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.card_looks import Eyes, chunks, look_at
from flenwheel_core.stages.generate import draw_once
from flenwheel_core.stages.style_reference import features_in, style_reference


@dataclass(frozen=True)
class _Seen:
    """One way's pictures, measured."""

    way: Way
    records: tuple[ImageRecord, ...]
    looks: list[Look]
    features: list[StyleFeatures]
    card: Scorecard


def style_study(request: StyleStudyRequest, context: StageContext) -> StyleStudyResult:
    """Every way's measures, gains over naming the style, nearest paintings, and the default strength of the chosen LoRA."""
    with open_verifier(request.verifier, context.settings) as verifier:
        require_same_version(verifier, request.fingerprint)
    if request.against.content is not None:
        with open_verifier(request.against.content, context.settings):
            pass  # what is missing is found out before anything is drawn
    descriptors = _descriptors(request, context)
    reference = style_reference(request.against, context)
    seen = []
    for number, way in enumerate(request.ways):
        context.progress.note(f"way {number + 1} of {len(request.ways)}: {way.name}")
        seen.append(_see(request, way, reference, context))
    named = min((one for one in seen if one.way.lora is None and one.way.words), key=_distance, default=None)
    photos = context.store.get_images(request.photos) if request.photos is not None else ()
    *kids, photos_kid = _kids(request, [*(one.records for one in seen), photos], context)
    ranks, own = _ranks(request, seen, descriptors, context)
    ways = tuple(
        StudiedWay(
            way=one.way,
            images=context.store.put_images(one.records),
            style=_style(one.card),
            pass_rate=one.card.pass_rate,
            kid=kid,
            csd=rank,
            clip_t=one.card.prompt_fidelity,
            gain=None if named is None or one is named else _gain(one.features, named, reference),
            nearest=_nearest(one, reference),
        )
        for one, kid, rank in zip(seen, kids, ranks, strict=True)
    )
    return StyleStudyResult(
        ways=ways,
        photos=_photos(request, photos_kid, named, reference, context),
        named=None if named is None else named.way.name,
        csd_own=own,
        strength=strength_of(ways, request.chosen_lora, request.against.content_margin),
    )


def strength_of(ways: Sequence[StudiedWay], lora: str | None, margin: float) -> float | None:
    """The default strength of a LoRA among those that it was drawn at; None for fewer than two, or for none.

    What it may cost of the content is told against its bare base.
    """
    own = sorted((one for one in ways if lora is not None and one.way.lora == lora), key=lambda one: one.way.strength)
    if len(own) < 2:
        return None
    bare = next(
        (one for one in ways if one.way.lora is None and not one.way.words and one.way.base == own[0].way.base), None
    )
    known = bare is not None and all(one.style.content is not None for one in own)
    return default_strength(
        [one.way.strength for one in own],
        [one.style.distance for one in own],
        [1.0 if one.style.content is None else one.style.content for one in own],
        base=bare.style.content if known and bare is not None else None,
        margin=margin,
    )


def _see(request: StyleStudyRequest, way: Way, reference: Reference, context: StageContext) -> _Seen:
    drawing = GenerateRequest(
        character=request.character,
        items=tuple(_worded(scene, way.words) for scene in request.scenes),
        base=way.base,
        loras=(LoraUse(digest=way.lora, weight=way.strength),) if way.lora is not None else (),
        sampler=way.sampler,
        turn=0,
    )
    records = draw_once(drawing, context)
    eyes = Eyes(request.verifier, request.reader, request.against.content, learned_words=way.words)
    looks = look_at(records, eyes, context)
    features = features_in([record.digest for record in records], context)
    limits = limits_of(request.screening, request.fingerprint, strict=False, rules=rules_of(request.character.kind))
    card = score_style(looks, features, reference, request.fingerprint, limits, lora=way.lora)
    return _Seen(way, records, looks, features, card)


def _worded(scene: GenerateItem, words: str) -> GenerateItem:
    return scene.model_copy(update={"prompt": f"{scene.prompt}, {words}" if words else scene.prompt})


def _style(card: Scorecard) -> StyleScore:
    assert card.style is not None
    return card.style


def _distance(seen: _Seen) -> float:
    return _style(seen.card).distance


def _gain(features: Sequence[StyleFeatures], named: _Seen, reference: Reference) -> tuple[float, float, float]:
    value, low, high = reference.style.gain(features, named.features)
    return (round(value, 5), round(low, 5), round(high, 5))


def _photos(
    request: StyleStudyRequest, kid: float | None, named: _Seen | None, reference: Reference, context: StageContext
) -> StudiedPhotos | None:
    """What nobody drew: it tells how much of a way's distance is that of the world from its painting."""
    if request.photos is None:
        return None
    features = features_in([record.digest for record in context.store.get_images(request.photos)], context)
    found = reference.style.distance(features)
    return StudiedPhotos(
        images=request.photos,
        distance=round(found.total, 5),
        low=round(found.low, 5),
        high=round(found.high, 5),
        kid=kid,
        gain=None if named is None else _gain(features, named, reference),
    )


def _nearest(seen: _Seen, reference: Reference) -> tuple[NearestPainting, ...]:
    return tuple(
        NearestPainting(
            image=look.record.digest,
            painting=reference.paintings[near.index],
            bits=near.bits,
            mirrored=near.mirrored,
            copied=near.copied,
        )
        for look, near in zip(seen.looks, reference.nearest(seen.looks), strict=True)
    )


def _kids(
    request: StyleStudyRequest, sets: Sequence[Sequence[ImageRecord]], context: StageContext
) -> list[float | None]:
    """KID of each set of pictures to the held-out paintings; None for all without a CLIP, and for a set without pictures."""
    clip = request.against.content
    if clip is None:
        return [None] * len(sets)
    with open_verifier(clip, context.settings) as model:

        def vectors(records: Sequence[ImageRecord]) -> list[tuple[float, ...]]:
            return [one.embedding or () for images in chunks(records, context) for one in model.embed(images)]

        paintings = vectors(context.store.get_images(request.against.held_out))
        found = [kernel_distance(vectors(one), paintings) if one else None for one in sets]
    return [None if value is None else round(value, 6) for value in found]


def _descriptors(request: StyleStudyRequest, context: StageContext) -> StyleDescriptors | None:
    if request.against.csd is None:
        return None
    return StyleDescriptors(resolve_model(request.against.csd, ModelRole.VERIFIER, context.settings))


def _ranks(
    request: StyleStudyRequest, seen: Sequence[_Seen], model: StyleDescriptors | None, context: StageContext
) -> tuple[list[float | None], float | None]:
    """CSD's rank of each way against the bare base's pictures, and that of the paintings trained on; None for all without CSD.

    The bare base is not ranked: it is what the others are ranked against.
    """
    bare = next((one for one in seen if one.way.lora is None and not one.way.words), None)
    if model is None or bare is None:
        return [None] * len(seen), None

    def vectors(records: Sequence[ImageRecord]) -> Vectors:
        return np.concatenate([model.embed(images) for images in chunks(records, context)])

    context.progress.loading("CSD")
    held_out, trained = (
        vectors(context.store.get_images(which)) for which in (request.against.held_out, request.against.paintings)
    )
    pictures = [vectors(one.records) for one in seen]
    others = pictures[seen.index(bare)]
    asked = [*(own for one, own in zip(seen, pictures, strict=True) if one is not bare), trained]
    ranks = [
        None if one is bare else round(style_rank(own, held_out, others, asked), 4)
        for one, own in zip(seen, pictures, strict=True)
    ]
    return ranks, round(style_rank(trained, held_out, others, asked), 4)
