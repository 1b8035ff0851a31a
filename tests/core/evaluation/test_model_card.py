"""The card's plan and the scoring of its cells."""

from dataclasses import replace

import numpy as np
import pytest

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.documents.prompts import CARD_CELLS, CELLS_BY_ID
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.evaluation.model_card import model_card_items
from flenwheel_core.evaluation.scorecard import Look, score_card
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.screening import limits_of
from flenwheel_core.images.quality import Measures
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.screening import ScreeningRecipe

HERO = CharacterRef(name="hero", trigger="ohwx_char", class_word="person", kind="person")
FINGERPRINT = Fingerprint(
    verifier="v",
    verifier_version="1",
    images=("a" * 64,),
    embeddings=((1.0, 0.0),),
    centroid=(1.0, 0.0),
    distance="cosine",
    leave_one_out=(0.0,),
    threshold=0.3,
    unsure_above=0.4,
)
LIMITS = limits_of(ScreeningRecipe(), FINGERPRINT, strict=False)


def look(
    cell: str,
    *,
    distance: float | None = 0.1,
    read: Labels | None = None,
    shade: int = 100,
    size: int | None = None,
) -> Look:
    wanted = CELLS_BY_ID[cell]
    record = ImageRecord(
        digest="b" * 64,
        width=128,
        height=128,
        kind=ImageKind.SYNTHETIC,
        seed=1,
        stage="generate",
        request="0" * 64,
        item=cell,
        cell=cell,
        labels=wanted.labels(),
    )
    thumbnail = np.full((32, 32, 3), shade, dtype=np.uint8)
    measures = Measures(128, 128, 500.0, float(shade), 0.0, 0, 0, thumbnail)
    vector = None if distance is None else (1 - distance, float(np.sqrt(1 - (1 - distance) ** 2)))
    return Look(record, measures, Embedded(vector, subject_size=size), read if read is not None else wanted.labels())


def scored(*looks: Look, person: bool = False):  # type: ignore[no-untyped-def]
    return score_card(looks, FINGERPRINT, LIMITS, lora=None, person=person)


def test_the_plan_covers_all_cells_with_fixed_prompts_and_seeds() -> None:
    recipe = load_recipe("nano")
    items = model_card_items(HERO, recipe)
    per_cell = recipe.benchmark.seeds_per_cell
    assert len(items) == 23 * per_cell == len({item.key for item in items})
    assert {item.cell for item in items} == {cell.id for cell in CARD_CELLS}
    assert len({item.seed for item in items}) == len(items)
    assert items == model_card_items(HERO, recipe)
    sad = next(item for item in items if item.cell == "profile-left-sad")
    assert "ohwx_char" in sad.prompt and "sad" in sad.prompt and "profile-left" in sad.prompt


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (look("front-sad"), True),
        (look("front-sad", distance=0.35), False),
        (look("front-sad", read=Labels(angle="front", expression="angry")), False),
        (look("front-sad", read=Labels(angle="half-left", expression="sad")), False),
        (look("front-sad", read=Labels()), True),
        (look("front-sad", shade=3), False),
        (look("sitting", read=Labels(angle="half-left", expression="sad", pose="sitting")), True),
        (look("sitting", read=Labels(pose="standing")), False),
    ],
)
def test_a_cell_passes_only_with_the_right_character_shown_as_asked(given: Look, passed: bool) -> None:
    assert scored(given).cells[0].passed is passed


def test_a_face_that_cannot_be_seen_is_no_failure_in_profile_but_is_one_from_the_front() -> None:
    card = scored(look("profile-left-sad", distance=None), look("front-sad", distance=None), look("front-angry"))
    assert [(cell.measured, cell.passed) for cell in card.cells] == [(False, False), (True, False), (True, True)]
    assert card.pass_rate == 0.5


def test_a_tiny_face_proves_nothing() -> None:
    card = scored(look("standing", size=30), look("front-sad", size=30), look("front-sad", size=90))
    assert [(cell.measured, cell.passed) for cell in card.cells] == [(False, False), (True, False), (True, True)]
    assert card.cells[1].reasons[0].code == "face_too_small"


def test_hints_about_people_tell_sides_apart_only() -> None:
    half = look("profile-left-sad", read=Labels(angle="half-left"))
    wrong_side = look("profile-left-sad", read=Labels(angle="half-right"))
    card = scored(half, wrong_side, person=True)
    assert [cell.angle_ok for cell in card.cells] == [True, False]
    assert [cell.angle_ok for cell in scored(half).cells] == [False]


def test_what_was_read_from_a_whole_face_of_a_person_counts() -> None:
    seen = look("profile-left-sad", read=Labels(angle="half-left", expression="sad"))
    certain = replace(seen, embedded=replace(seen.embedded, labels_certain=True))
    (cell,) = scored(certain, person=True).cells
    assert (cell.angle_ok, cell.expression_ok, cell.passed) == (False, True, False)


@pytest.mark.parametrize(("size", "expected"), [(90, (False, True)), (40, (None, None))])
def test_the_face_of_a_body_counts_where_it_is_large_enough(
    size: int, expected: tuple[bool | None, bool | None]
) -> None:
    seen = look("standing", size=size, read=Labels(angle="half-left", expression="neutral"))
    certain = replace(seen, embedded=replace(seen.embedded, labels_certain=True))
    (cell,) = scored(certain, person=True).cells
    assert (cell.angle_ok, cell.expression_ok) == expected
    assert scored(seen, person=False).cells[0].angle_ok is None


def test_a_profile_of_a_person_is_judged_by_its_angle_alone() -> None:
    seen = look("profile-left-sad", distance=None, read=Labels(angle="profile-left"))
    profile = replace(seen, embedded=Embedded(None, "profile_face", subject_size=90, labels_certain=True))
    (cell,) = scored(profile, person=True).cells
    assert (cell.measured, cell.angle_ok, cell.expression_ok) == (False, True, None)
    assert [reason.code for reason in cell.reasons] == ["profile_face"]


def test_drift_is_measured_from_turn_one() -> None:
    first = scored(look("front-sad", distance=0.0))
    later = score_card(
        [look("front-sad", distance=0.2)], FINGERPRINT, LIMITS, lora=None, person=False, first_turn=first
    )
    assert later.drift == pytest.approx(0.2, abs=1e-4)
    assert first.drift is None
