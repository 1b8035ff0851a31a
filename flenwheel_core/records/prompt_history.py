"""What closed gates of a character say about prompt templates."""

from collections.abc import Mapping

from flenwheel_core.documents.decisions import FinalDecision
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.documents.scores import Screening
from flenwheel_core.evaluation.prompts import template_statistics, template_weights
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store


def template_success(store: Store, character: str, *, before_turn: int) -> Mapping[str, float]:
    """How often each template gave a good picture in the turns before, 0 to 1; empty if no gate was closed yet."""
    reviews = Reviews(store)
    records: list[ImageRecord] = []
    screenings: list[Screening] = []
    decisions: list[FinalDecision] = []
    for gate in reviews.gates():
        session, closed = reviews.get(gate), reviews.closed(gate)
        if (
            session.character != character
            or session.turn >= before_turn
            or closed is None
            or not session.of_kind.judges_new
        ):
            continue
        records += store.get_images(session.images)
        screenings += () if session.screenings is None else store.get_screenings(session.screenings)
        decisions += reviews.decisions(closed).decisions
    return template_weights(template_statistics(records, screenings, decisions)) if decisions else {}
