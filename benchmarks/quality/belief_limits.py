"""Do limits of belief that are fitted to verdicts hold for other characters and people? Writes belief_limits.

Verdicts are the truth: a right picture is good, a wrong one is rejected with its reason. Limits are fitted as `flenwheel screen calibrate`
does on half of the characters or people, and their rates are those of the other half. nano: held-out characters through `ingest` and
`screen`, in right views and with a wrong angle, a wrong expression or a smeared face. people: public photographs, each once asked for what
it shows and once for something else; an angle's neighbour, or an expression by turns.

    python -m benchmarks.quality.belief_limits --pictures FOLDER     # see benchmarks/kit; about nine minutes on two busy cores
    python -m benchmarks.quality.belief_limits --characters 8 --out /tmp/results                      # the nano world alone
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.kit.people_pictures import PeoplePictures, Shown
from benchmarks.quality.screening_truth import nano_subjects, screened
from benchmarks.quality.spoiled import only
from benchmarks.result_file import Row, write_part
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, Labels
from flenwheel_core.documents.scores import BELIEFS, Screening
from flenwheel_core.identity.belief_calibration import Evidence, ReadingKind, evidence, flagged, propose
from flenwheel_core.identity.head_turn import angle_belief
from flenwheel_core.identity.portraits import PortraitReader
from flenwheel_core.identity.screening import LabelLimits, judge_labels, outcome_of, sorted_reasons
from flenwheel_core.recipes.screening import ScreeningRecipe

RECIPE = ScreeningRecipe()
SPOILS: dict[ReadingKind, tuple[str, str]] = {
    "angle": ("wrong_angle", "angle"),
    "expression": ("wrong_expression", "expression"),
    "spoiled": ("smeared_face", "artifacts"),
}
"""The spoiled pictures of the nano world, and what a reviewer says of them."""
Judged = tuple[Screening, FinalDecision]


def nano(characters: int) -> Iterator[Row]:
    """Fitted on every other character."""
    halves: tuple[list[Judged], list[Judged]] = ([], [])
    reasons = dict(SPOILS.values())
    for index, subject in enumerate(nano_subjects(characters)):
        for candidate, row in screened(only(subject, ("right", *reasons)), "subject", "nano", "nano"):
            halves[index % 2].append((row, _decision(row.image, reasons.get(candidate.kind))))
    for kind in SPOILS:
        yield held_out(f"nano_{kind}", *(_evidence(kind, half) for half in halves))


def _decision(image: str, reason: str | None) -> FinalDecision:
    verdict = Verdict.GOOD if reason is None else Verdict.REJECT
    return FinalDecision(image=image, verdict=verdict, reasons=(reason,) if reason else (), author="truth")


def _evidence(kind: ReadingKind, judged: Iterable[Judged]) -> Evidence:
    pairs = list(judged)
    return evidence(kind, [row for row, _ in pairs], [decision for _, decision in pairs])


def held_out(case: str, known: Evidence, other: Evidence) -> Row:
    """What limits fitted to `known` do to `other`, beside the limits of a recipe that says nothing."""
    proposal = propose(known, RECIPE)
    assert proposal is not None, known.too_few()
    before, ask, removal = (
        flagged(other, limit) for limit in (proposal.now.limit, proposal.ask.limit, proposal.removal.limit)
    )
    row: Row = {
        "case": case,
        "fitted_to": len(known.judged),
        "good": other.good,
        "wrong": other.wrong,
        "asks_before_right": before.precision[0],
        "asks_before_found": before.recall[0],
        "asks_from": proposal.ask.limit,
        "asks_right": ask.precision[0],
        "asks_found": ask.recall[0],
        "removes": proposal.removal.limit is not None,
    }
    if proposal.removal.limit is not None:
        row |= {
            "removes_from": proposal.removal.limit,
            "removes_right": removal.precision[0],
            "removes_right_low": removal.precision[1],
            "removes_found": removal.recall[0],
            "removes_good_lost": removal.good_lost[0],
            "removes_good_lost_high": removal.good_lost[2],
        }
    return row


def people(kind: ReadingKind, shown: Iterable[Shown], reader: PortraitReader) -> Row:
    """Fitted on every other person."""
    halves: tuple[list[Judged], list[Judged]] = ([], [])
    values = EXPRESSIONS if kind == "expression" else ANGLES
    for number, one in enumerate(shown):
        found = reader.find(np.asarray(one.image))
        read, beliefs = Labels(), {}
        if found:
            read = Labels.model_validate({kind: getattr(found[0], kind)})
            belief = found[0].expression_belief if kind == "expression" else angle_belief(found[0].turn)
            beliefs = {kind: belief or 0.0}
        others = [value for value in values if value != one.truth]
        for asked, reason in ((one.truth, None), (others[number % len(others)], kind)):
            limits = LabelLimits(RECIPE, person=True, strict=False, certain=True)
            findings = judge_labels(Labels.model_validate({kind: asked}), read, beliefs, limits)
            image = digest_bytes(f"{kind}/{number}/{asked}".encode())
            row = Screening(
                image=image, outcome=outcome_of(findings), reasons=sorted_reasons(findings), verifier="face-dlib",
                verifier_version="1", beliefs=BELIEFS,
            )  # fmt: skip
            halves[one.person % 2].append((row, _decision(image, reason)))
    return held_out(f"people_{kind}", *(_evidence(kind, half) for half in halves))


def rows(pictures: Path | None, characters: int) -> Iterator[Row]:
    """One after the other: each is written when it is there."""
    if characters:
        yield from nano(characters)
    if pictures is not None:
        known, reader = PeoplePictures(pictures), PortraitReader()
        yield people("angle", known.turned(), reader)
        yield people("expression", known.actors(), reader)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=Path, help="folder of the public pictures; without it the nano world alone")
    parser.add_argument("--characters", type=int, default=16, help="of the nano world; 0 leaves it out")
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    for row in rows(given.pictures, given.characters):
        print(row, flush=True)
        write_part("belief_limits", [row], **({"folder": given.out} if given.out else {}))


if __name__ == "__main__":
    main()
