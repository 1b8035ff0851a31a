"""The stage `choose`: states of a training are tried at several strengths, and the best takes the last one's place if it wins again."""

import numpy as np

from flenwheel_core.adapters.strength import lora_at
from flenwheel_core.documents.choices import State, StateChoice, TriedState
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import Fingerprint, Scorecard
from flenwheel_core.evaluation.promotion.states import beats, best_place
from flenwheel_core.evaluation.scorecard import score_card
from flenwheel_core.identity.embedding_math import as_vectors, centroid_of
from flenwheel_core.identity.people import character_in
from flenwheel_core.identity.screening import FingerprintSpace, limits_of
from flenwheel_core.identity.verifiers import open_verifier, require_same_version
from flenwheel_core.requests.choose import ChooseRequest, ChooseResult
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.card_looks import Eyes, chunks, look_at
from flenwheel_core.stages.generate import draw_once


def choose(request: ChooseRequest, context: StageContext) -> ChooseResult:
    """Draws the small card with every state, then further pictures with the best and the last; the LoRA that was taken."""
    with open_verifier(request.verifier, context.settings) as verifier:
        require_same_version(verifier, request.fingerprint)  # found out before anything is drawn
    measured, held_out = _measured_against(request, context)
    tried = []
    for number, state in enumerate(request.states):
        context.progress.note(f"trying {state.name}, {number + 1} of {len(request.states)}")
        tried.append(TriedState(state=state, card=_card(request, state, request.pick_items, measured, context)))
    last, best = len(tried) - 1, best_place(tried)
    confirmed = None
    if best != last:
        context.progress.note(f"{tried[best].state.name} draws further pictures beside the last state")
        cards = [_card(request, tried[place].state, request.confirm_items, measured, context) for place in (last, best)]
        confirmed = beats(cards[0], cards[1], request.recipe, request.significance)
    taken = best if confirmed is not None and confirmed.promote else last
    choice = StateChoice(
        name=request.lora.name,
        training=request.lora.request,
        tried=tuple(tried),
        taken=taken,
        best=best,
        confirmed=confirmed,
        held_out=held_out,
    )
    return ChooseResult(lora=lora_at(request.lora, tried[taken].state, context.store), choice=choice)


def _measured_against(request: ChooseRequest, context: StageContext) -> tuple[Fingerprint, int]:
    """The fingerprint with the held-out pictures' centre in place of that of the sources, which are trained on; and how many they are."""
    if request.held_out is None:
        return request.fingerprint, 0
    space = FingerprintSpace(request.fingerprint)
    with open_verifier(request.verifier, context.settings) as verifier:
        parts = chunks(context.store.get_images(request.held_out), context)
        found = [character_in(one, space)[0].embedding for part in parts for one in verifier.embed(part)]
    known = [one for one in found if one is not None]
    if not known:
        return request.fingerprint, 0
    centre = centroid_of(as_vectors(known), request.fingerprint.distance)
    return request.fingerprint.model_copy(update={"centroid": tuple(np.round(centre, 8).tolist())}), len(known)


def _card(
    request: ChooseRequest, state: State, items: tuple[GenerateItem, ...], measured: Fingerprint, context: StageContext
) -> Scorecard:
    drawing = GenerateRequest(
        character=request.character,
        items=items,
        base=request.base,
        loras=(LoraUse(digest=state.lora, weight=round(request.lora_weight * state.strength, 6)),),
        sampler=request.sampler,
        turn=0,
    )
    records = draw_once(drawing, context)
    eyes = Eyes(
        request.verifier, request.reader, learned_words=request.character.words, fingerprint=request.fingerprint
    )
    looks = look_at(records, eyes, context)
    limits = limits_of(request.screening, measured, strict=False)
    return score_card(looks, measured, limits, lora=state.lora, person=request.character.kind == "person")
