"""Checks of triplets: can the editor learn from this pair, and does it teach only what its prompt says?

An edit that also shifts or zooms the picture teaches the editor to shift and zoom everything. That can be measured only where most of the
picture stays: where source and target do not match after any small move, an angle or a pose was changed, and nothing is said.

A reference that is the target itself, as where a person corrected an edit with one of the character's photos, teaches to copy it.
"""

from collections.abc import Sequence
from typing import Literal

from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.documents.triplets import Triplet, TripletCheck, TripletProblem
from flenwheel_core.images.difference import UNCHANGED_BELOW, Pair, Pixels, _largest_difference, _small, check_pair
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture


def check_triplets(store: Store, triplets: Sequence[Triplet]) -> tuple[TripletCheck, ...]:
    """One check a triplet, in order. Later copies of an earlier lesson are the duplicates."""
    checks = []
    seen: dict[tuple[str, str], list[Pixels]] = {}
    for triplet in triplets:
        problems = _prompt_problems(triplet)
        try:
            pair = Pair(load_picture(store, triplet.source), load_picture(store, triplet.target))
            references = [_small(load_picture(store, digest)) for digest in triplet.references]
        except NotFoundError as error:
            problems.append(TripletProblem(code="missing_picture", detail=error.what))
        else:
            problems += check_pair(pair)
            small = _small(pair.target)
            if any(_largest_difference(small, other) < UNCHANGED_BELOW for other in references):
                problems.append(TripletProblem(code="answer_given", detail="one of its references is the right answer"))
            lesson = (triplet.source, " ".join(triplet.prompt.lower().split()))
            if any(_largest_difference(small, other) < UNCHANGED_BELOW for other in seen.get(lesson, [])):
                problems.append(
                    TripletProblem(code="duplicate", detail="the same edit with the same result is there already")
                )
            seen.setdefault(lesson, []).append(small)
        checks.append(TripletCheck(target=triplet.target, outcome=_outcome(problems), problems=tuple(problems)))
    return tuple(checks)


def _prompt_problems(triplet: Triplet) -> list[TripletProblem]:
    return [] if triplet.prompt.strip() else [TripletProblem(code="no_prompt")]


def _outcome(problems: Sequence[TripletProblem]) -> Literal["pass", "unsure", "fail"]:
    doubtful = {"shifted", "zoomed"}
    if any(problem.code not in doubtful for problem in problems):
        return "fail"
    return "unsure" if problems else "pass"
