"""The decision about one candidate, case by case: what counts against a picture, and what only lacks evidence."""

from dataclasses import replace

import numpy as np
import pytest

from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.screening import (
    Finding,
    FingerprintSpace,
    Identity,
    LabelLimits,
    judge_copy,
    judge_identity,
    judge_labels,
    judge_quality,
    judge_writing,
    limits_of,
    outcome_of,
    sorted_reasons,
)
from flenwheel_core.identity.subject_rules import STYLE_RULES
from flenwheel_core.identity.writing import Writing
from flenwheel_core.images.duplicates import Match
from flenwheel_core.images.quality import Measures
from flenwheel_core.recipes.screening import ScreeningRecipe

RECIPE = ScreeningRecipe()
FINGERPRINT = Fingerprint(
    verifier="face-dlib",
    verifier_version="1",
    images=("a" * 64, "b" * 64),
    embeddings=((1.0, 0.0), (0.0, 1.0)),
    centroid=(0.5, 0.5),
    distance="euclidean",
    leave_one_out=(0.1, 0.1),
    threshold=0.5,
    unsure_above=0.6,
    sharpness=(400.0, 500.0),
)
LIMITS = limits_of(RECIPE, FINGERPRINT, strict=False)
FRONT, PROFILE, FAR = Labels(angle="front"), Labels(angle="profile-left"), Labels(angle="front", pose="standing")


def measures(
    *, sharpness: float = 450, brightness: float = 120, clipped: float = 0.0, side: int = 512, shade: int = 0
) -> Measures:
    return Measures(side, side, sharpness, brightness, clipped, 0, 0, np.full((32, 32, 3), shade, dtype=np.uint8))


def face(size: int = 120, problem: str | None = None, sharpness: float | None = 450.0) -> Embedded:
    return Embedded((0.0,), problem, subject_size=size, sharpness=sharpness)


def at(distance: float, nearest: float = 0.3) -> Identity:
    return Identity(distance, 0.9, "a" * 64, nearest)


def told(findings: list[Finding]) -> tuple[str, list[str]]:
    return outcome_of(findings), [reason.code for reason in sorted_reasons(findings)]


@pytest.mark.parametrize(
    ("embedded", "identity", "asked", "expected"),
    [
        (face(), at(0.49), FRONT, ("pass", ["identity_ok"])),
        (face(), at(0.55), FRONT, ("unsure", ["borderline_identity"])),
        (face(), at(0.61), FRONT, ("fail", ["wrong_identity"])),
        (face(), at(0.61), PROFILE, ("fail", ["wrong_identity"])),
        (face(size=40), at(0.2), FRONT, ("unsure", ["face_too_small"])),
        (face(size=40), at(0.9), FRONT, ("unsure", ["face_too_small"])),
        (face(problem="extra_faces"), at(0.3), FRONT, ("unsure", ["extra_faces", "identity_ok"])),
        (face(problem="extra_faces"), at(0.9), FRONT, ("fail", ["wrong_identity", "extra_faces"])),
        (Embedded(None, "no_face"), None, FRONT, ("fail", ["no_face"])),
        (Embedded(None, "no_face"), None, PROFILE, ("unsure", ["no_face"])),
        (Embedded(None, "no_face"), None, FAR, ("unsure", ["no_face"])),
        (Embedded(None, "no_face"), None, Labels(), ("unsure", ["no_face"])),
    ],
)
def test_identity(
    embedded: Embedded, identity: Identity | None, asked: Labels, expected: tuple[str, list[str]]
) -> None:
    assert told(judge_identity(embedded, identity, asked, LIMITS)) == expected


@pytest.mark.parametrize(
    ("given", "embedded", "expected"),
    [
        (measures(), face(), ("unsure", [])),
        (measures(sharpness=1), face(), ("unsure", [])),
        (measures(), face(sharpness=100), ("unsure", ["blurred"])),
        (measures(), face(sharpness=20), ("fail", ["blurred"])),
        (measures(sharpness=20), Embedded((0.0,)), ("fail", ["blurred"])),
        (measures(sharpness=20), Embedded(None, "no_face"), ("unsure", [])),
        (measures(side=64), face(), ("fail", ["too_small"])),
        (measures(brightness=5), face(), ("fail", ["badly_exposed"])),
        (measures(brightness=250), face(), ("fail", ["badly_exposed"])),
        (measures(clipped=0.3), face(), ("unsure", ["badly_exposed"])),
        (measures(clipped=0.7), face(), ("fail", ["badly_exposed"])),
    ],
)
def test_quality(given: Measures, embedded: Embedded, expected: tuple[str, list[str]]) -> None:
    # No finding at all is `unsure` here: quality alone never passes a picture.
    assert told(judge_quality(given, embedded, LIMITS)) == expected


def test_exposure_is_judged_against_the_references() -> None:
    drawing_on_black = limits_of(
        RECIPE, FINGERPRINT, strict=False, references=[measures(brightness=20, clipped=0.6), measures()]
    )
    assert judge_quality(measures(brightness=18, clipped=0.65), face(), drawing_on_black) == []
    bright_references = limits_of(RECIPE, FINGERPRINT, strict=False, references=[measures(brightness=120)])
    dark = judge_quality(measures(brightness=50), face(), bright_references)
    assert [(outcome, reason.detail) for outcome, reason in dark] == [("unsure", "darker than every reference")]


def test_a_copy_is_one_only_if_the_person_is_as_near_as_the_picture() -> None:
    copy = Match(index=0, bits=4, mirrored=True, difference=1.0)
    assert told(judge_copy(copy, at(0.1, nearest=0.05), LIMITS)) == ("fail", ["near_copy"])
    assert judge_copy(copy, at(0.1, nearest=0.4), LIMITS) == []
    assert told(judge_copy(copy, None, LIMITS)) == ("fail", ["near_copy"])
    assert judge_copy(None, at(0.0, nearest=0.0), LIMITS) == []


def test_labels_never_count_against_people_and_count_more_at_gate_b() -> None:
    asked, read = Labels(angle="front", expression="sad"), Labels(angle="half-left", expression="sad")
    person, gate_a, gate_b = (
        LabelLimits(RECIPE, person=person, strict=strict)
        for person, strict in ((True, True), (False, False), (False, True))
    )
    assert judge_labels(asked, read, {}, person) == []
    assert told(judge_labels(asked, read, {}, gate_a)) == ("unsure", ["wrong_angle"])
    assert told(judge_labels(asked, read, {}, gate_b)) == ("fail", ["wrong_angle"])
    assert judge_labels(asked, Labels(), {}, gate_b) == []


@pytest.mark.parametrize("strict", [False, True])
def test_what_was_read_from_a_whole_face_is_a_question_and_never_a_removal(strict: bool) -> None:
    asked, read = Labels(angle="front", expression="sad"), Labels(angle="half-left", expression="smiling")
    limits = LabelLimits(RECIPE, person=True, strict=strict, certain=True)
    findings = judge_labels(asked, read, {"angle": 0.7, "expression": 1.0}, limits)
    assert [(outcome, reason.code, reason.value) for outcome, reason in findings] == [
        ("unsure", "wrong_angle", 0.7),
        ("unsure", "wrong_expression", 1.0),
    ]


@pytest.mark.parametrize("person", [True, False])
@pytest.mark.parametrize(
    ("belief", "outcome", "limit"), [(0.5, "pass", 0.6), (0.7, "unsure", 0.6), (0.95, "fail", 0.95)]
)
def test_limits_of_belief_that_people_put_into_the_recipe_decide(
    belief: float, outcome: str, limit: float, person: bool
) -> None:
    recipe = ScreeningRecipe(expression_unsure_from=0.6, expression_fail_from=0.95)
    asked, read = Labels(expression="sad", pose="sitting"), Labels(expression="smiling", pose="standing")
    limits = LabelLimits(recipe, person=person, strict=True, certain=True)
    expression, pose = judge_labels(asked, read, {"expression": belief, "pose": 0.99}, limits)
    assert (expression[0], expression[1].limit) == (outcome, limit)
    assert pose[0] == ("unsure" if person else "fail"), "limits of expressions say nothing about poses"


def test_a_limit_of_angles_is_one_of_poses_too() -> None:
    limits = LabelLimits(ScreeningRecipe(angle_fail_from=0.9), person=False, strict=True)
    findings = judge_labels(Labels(pose="sitting"), Labels(pose="standing"), {"pose": 0.8}, limits)
    assert told(findings) == ("unsure", ["wrong_pose"]), "a fitted limit takes the place of gate B's own rule"


def test_a_removal_is_not_put_below_a_question() -> None:
    with pytest.raises(ValueError, match="spoiled_fail_above must not be below"):
        ScreeningRecipe(spoiled_fail_above=0.4)
    with pytest.raises(ValueError, match="angle_fail_from must not be below"):
        ScreeningRecipe(angle_unsure_from=0.9, angle_fail_from=0.8)


@pytest.mark.parametrize("angle", ["front", "profile-left"])
def test_a_profile_that_was_found_is_for_a_person_to_judge(angle: str) -> None:
    embedded = Embedded(None, "profile_face", subject_size=200)
    asked = Labels.model_validate({"angle": angle, "pose": "portrait"})
    assert told(judge_identity(embedded, None, asked, LIMITS)) == ("unsure", ["profile_face"])


def test_gate_b_is_stricter_about_identity() -> None:
    strict = limits_of(RECIPE, FINGERPRINT, strict=True)
    assert strict.threshold == pytest.approx(0.45) and strict.unsure_above == pytest.approx(0.54)
    assert told(judge_identity(face(), at(0.47), FRONT, strict))[0] == "unsure"


def test_a_recipes_threshold_never_leaves_a_gap() -> None:
    wide = limits_of(ScreeningRecipe(identity_threshold=0.9), FINGERPRINT, strict=False)
    assert (wide.threshold, wide.unsure_above) == (0.9, 0.9)


def test_the_nearest_reference_is_named() -> None:
    found = FingerprintSpace(FINGERPRINT).locate((0.1, 0.9))
    assert found.nearest == "b" * 64
    assert found.nearest_distance == pytest.approx(np.hypot(0.1, 0.1), abs=1e-4)
    assert found.distance == pytest.approx(np.hypot(0.4, 0.4), abs=1e-4)


def test_contradictory_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="unsure_above"):
        ScreeningRecipe(identity_threshold=0.6, unsure_above=0.5)
    with pytest.raises(ValueError, match="blurred"):
        ScreeningRecipe(blurred_fail_below=0.5, blurred_unsure_below=0.2)


def test_an_unlike_picture_of_a_style_is_looked_at_and_one_of_a_character_is_not() -> None:
    far = at(0.9)
    character, style = LIMITS, replace(LIMITS, rules=STYLE_RULES)
    assert [(outcome, reason.code) for outcome, reason in judge_identity(face(), far, FRONT, character)] == [
        ("fail", "wrong_identity")
    ]
    assert [(outcome, reason.code) for outcome, reason in judge_identity(face(), far, FRONT, style)] == [
        ("unsure", "wrong_style")
    ]


@pytest.mark.parametrize("belief", [None, 0.99])
@pytest.mark.parametrize("fitted", [None, 0.8])
def test_of_a_style_no_reading_removes_whatever_the_limits(belief: float | None, fitted: float | None) -> None:
    recipe = ScreeningRecipe(expression_fail_from=fitted)
    asked, read = Labels(expression="sad"), Labels(expression="smiling")
    beliefs = {} if belief is None else {"expression": belief}
    for may_fail, expected in ((False, "unsure"), (True, "fail")):
        limits = LabelLimits(recipe, person=False, strict=True, may_fail=may_fail)
        assert judge_labels(asked, read, beliefs, limits)[0][0] == expected


def test_writing_is_a_question_where_the_sources_show_less_of_it() -> None:
    shown = Writing(0.9, 0.03, "bottom")
    ((outcome, reason),) = judge_writing(shown, 0.015, LIMITS)
    assert (outcome, reason.code, reason.value) == ("unsure", "writing", 0.9)
    assert reason.detail == "bottom, 3.0% of the picture; the sources show up to 1.0%"
    assert judge_writing(shown, 0.03, LIMITS) == judge_writing(Writing(0.4, 0.03), 0, LIMITS) == []
    assert judge_writing(None, 0, LIMITS) == []
