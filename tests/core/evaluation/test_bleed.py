"""Bleed: somebody else within the character's identity limit, and only where somebody else can be told."""

import pytest

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.evaluation.bleed import bleed_items, bleed_score
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.screening import FingerprintSpace, limits_of
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.screening import ScreeningRecipe

ANA, TWIN, BEN = (1.0, 0.0), (0.9, 0.1), (0.0, 1.0)
FINGERPRINT = Fingerprint(
    verifier="face",
    verifier_version="1",
    images=("a" * 64,),
    embeddings=(ANA,),
    centroid=ANA,
    distance="euclidean",
    leave_one_out=(0.0,),
    threshold=0.5,
    unsure_above=0.6,
)
LIMITS = limits_of(ScreeningRecipe(), FINGERPRINT, strict=False)
SPACE = FingerprintSpace(FINGERPRINT)


def people(*vectors: tuple[float, float], size: int = 100) -> Embedded:
    first, *others = [Embedded(vector, subject_size=size) for vector in vectors]
    return Embedded(first.embedding, subject_size=size, others=tuple(others))


def test_beside_a_person_everybody_but_the_nearest_is_somebody_else() -> None:
    seen = [people(BEN, ANA), people(TWIN, ANA), people(ANA), Embedded(None, "no_face")]
    score = bleed_score(seen, SPACE, LIMITS, beside=True)
    assert (score.pictures, score.measured, score.rate) == (4, 2, 0.5)
    assert 0 < score.low < 0.5 < score.high < 1 and score.text().startswith("50%")


def test_tiny_faces_and_single_ones_say_nothing() -> None:
    score = bleed_score([people(ANA, TWIN, size=20), people(ANA)], SPACE, LIMITS, beside=True)
    assert (score.measured, score.rate) == (0, None) and "not measurable" in score.text()


def test_another_of_the_class_must_not_be_the_character() -> None:
    score = bleed_score([people(ANA), people(BEN), people(BEN)], SPACE, LIMITS, beside=False)
    assert (score.measured, score.rate) == (3, pytest.approx(1 / 3, abs=1e-4))


@pytest.mark.parametrize(
    ("kind", "said", "unsaid"),
    [
        ("person", "ohwx_ana woman standing beside another woman", ""),
        ("subject", "woman", "ohwx_ana"),
        ("style", None, ""),
    ],
)
def test_people_are_drawn_beside_somebody_else_and_others_without_their_trigger(
    kind: str, said: str | None, unsaid: str
) -> None:
    character = CharacterRef(name="ana", trigger="ohwx_ana", class_word="woman", kind=kind)
    items = bleed_items(character, load_recipe("nano"))
    assert items == bleed_items(character, load_recipe("nano"))
    if said is None:
        assert items == ()
        return
    assert len({item.seed for item in items}) == len(items) == load_recipe("nano").benchmark.bleed_pictures
    assert all(said in item.prompt and (not unsaid or unsaid not in item.prompt) for item in items)
