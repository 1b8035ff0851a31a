"""Pictures that are learned far less than their like are doubtful; bodies and profiles are not, only because they are learned less."""

import random

from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.loras import PictureLook
from flenwheel_core.evaluation.doubts import find_doubts, with_left_out
from flenwheel_core.recipes.doubts import DoubtsRecipe

RECIPE = DoubtsRecipe(look=(0.05, 0.25))


def digest(number: int) -> str:
    return f"{number:064x}"


def looks(learned: list[float], step: int) -> list[PictureLook]:
    return [PictureLook(step=step, image=digest(i), base_loss=1.0, loss=1 - one) for i, one in enumerate(learned)]


def pool(seed: int) -> tuple[list[float], dict[str, Labels]]:
    """30 heads of which 60 % is learned, 10 bodies of which 30 % is."""
    chance = random.Random(seed)
    learned = [chance.gauss(0.6, 0.04) for _ in range(30)] + [chance.gauss(0.3, 0.04) for _ in range(10)]
    poses = ["portrait"] * 30 + ["standing"] * 10
    return learned, {digest(i): Labels(pose=pose, angle="front") for i, pose in enumerate(poses)}  # type: ignore[arg-type]


def test_planted_pictures_are_found_and_bodies_are_left_alone() -> None:
    found, wrongly = 0, 0
    for seed in range(20):
        learned, labels = pool(seed)
        learned[3], learned[35] = 0.3, 0.05
        doubts = find_doubts(looks(learned, 20), labels, RECIPE, "mira-t1-v1")
        images = {one.image for one in doubts}
        found += len(images & {digest(3), digest(35)})
        wrongly += len(images - {digest(3), digest(35)})
    assert found == 40
    assert wrongly <= 8, "of 760 good ones, at 3 deviations"


def test_the_worst_come_first_and_no_more_than_the_recipe_says() -> None:
    learned, labels = pool(1)
    learned[:4] = [0.3, 0.1, 0.2, 0.25]
    doubts = find_doubts(looks(learned, 20), labels, RECIPE.model_copy(update={"most": 2}), "v1")
    assert [one.image for one in doubts] == [digest(1), digest(2)]
    assert doubts[0].deviations > doubts[1].deviations > 3


def test_the_evidence_says_the_course_and_what_the_others_taught() -> None:
    learned, labels = pool(2)
    learned[0] = 0.1
    both = [*looks(learned, 20), *looks([min(0.9, one + 0.2) for one in learned], 100)]
    doubts = find_doubts(both, labels, RECIPE, "v1")
    assert [point.step for point in doubts[0].course] == [20, 100]
    after = looks([0.15, *learned[1:]], 100)
    doubt, *_ = with_left_out(doubts, both, after, frozenset([digest(1), digest(2)]), labels)
    assert doubt.left_out is not None and doubt.left_out.gain == 0.15 and 0.5 < doubt.left_out.usual < 0.7
    said = " ".join(doubt.sentences())
    assert "After step 20 of v1 10%" in said and "After step 100: 30%" in said and "Trained without it, 15%" in said


def test_too_few_pictures_or_no_looks_give_no_doubts() -> None:
    learned, labels = pool(3)
    assert find_doubts(looks([0.0, *learned[:5]], 20), labels, RECIPE, "v1") == ()
    assert find_doubts([], labels, RECIPE, "v1") == ()
