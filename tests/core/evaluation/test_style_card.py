"""The style card on pictures whose manner and content are known: paintings of the painter, of another one, photos."""

import numpy as np
import pytest
from PIL import Image

from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.documents.scores import Fingerprint, Scorecard
from flenwheel_core.evaluation.promotion.styles import compare_styles
from flenwheel_core.evaluation.scorecard import Look
from flenwheel_core.evaluation.style_card import Reference, content_seen, score_style
from flenwheel_core.evaluation.style_distance import Style
from flenwheel_core.identity.fingerprint import make_fingerprint
from flenwheel_core.identity.screening import limits_of
from flenwheel_core.identity.style_verifier import StyleVerifier
from flenwheel_core.identity.subject_rules import rules_of
from flenwheel_core.images.quality import measure
from flenwheel_core.images.style_features import StyleFeatures, features_of
from flenwheel_core.nano.paintings import painting, scene
from flenwheel_core.nano.world.render import render
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from flenwheel_core.recipes.screening import ScreeningRecipe

EYES = StyleVerifier()
LABELS = Labels(background="forest", pose="standing")


@pytest.fixture(scope="module")
def trained() -> list[Image.Image]:
    return [painting(601, seed) for seed in range(8)]


@pytest.fixture(scope="module")
def reference(trained: list[Image.Image]) -> Reference:
    kept = features_of([painting(601, 100 + seed) for seed in range(8)])
    digests = tuple(f"{index:064x}" for index in range(8))
    return Reference(Style(kept), digests, tuple(measure(image) for image in trained))


@pytest.fixture(scope="module")
def fingerprint(trained: list[Image.Image]) -> Fingerprint:
    embedded = [one.embedding or () for one in EYES.embed(trained)]
    names = [f"{index:064x}" for index in range(8)]
    return make_fingerprint(names, embedded, EYES.threshold_rule, verifier="style", verifier_version=EYES.version)


def carded(
    images: list[Image.Image], reference: Reference, fingerprint: Fingerprint, read: Labels = LABELS
) -> tuple[Scorecard, list[StyleFeatures]]:
    looks = [
        Look(
            ImageRecord(
                digest=f"{index:064x}", width=8, height=8, kind=ImageKind.SYNTHETIC, stage="generate", request="a" * 64,
                item=str(index), cell=f"card-{index:02d}", labels=LABELS, seed=index,
            ),
            measure(image), embedded, read,
        )
        for index, (image, embedded) in enumerate(zip(images, EYES.embed(images), strict=True))
    ]  # fmt: skip
    limits = limits_of(
        ScreeningRecipe(blurred_fail_below=0, blurred_unsure_below=0),
        fingerprint,
        strict=False,
        rules=rules_of("style"),
    )
    features = features_of(images)
    return score_style(looks, features, reference, fingerprint, limits, lora="b" * 64), features


def test_the_painter_passes_and_photos_do_not(reference: Reference, fingerprint: Fingerprint) -> None:
    own, own_features = carded([painting(601, 200 + seed) for seed in range(8)], reference, fingerprint)
    photos, photo_features = carded([render(*scene(200 + seed)) for seed in range(8)], reference, fingerprint)
    assert own.style is not None and photos.style is not None
    assert own.style.high < photos.style.low and own.pass_rate > photos.pass_rate + 0.5
    assert {reason.code for cell in photos.cells for reason in cell.reasons} == {"wrong_style"}
    recipe = BenchmarkRecipe()
    gained = compare_styles(photos, own, (photo_features, own_features), reference.style, recipe, 0.02)
    lost = compare_styles(own, photos, (own_features, photo_features), reference.style, recipe, 0.02)
    assert gained.promote and gained.style_gain is not None and gained.style_gain > 0.3
    assert not lost.promote and any(reason.startswith("Worse") and "style" in reason for reason in lost.reasons)


def test_a_repeated_painting_does_not_pass_and_is_named(
    reference: Reference, fingerprint: Fingerprint, trained: list[Image.Image]
) -> None:
    mirrored = trained[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    images = [mirrored, *(painting(601, 300 + seed) for seed in range(5))]
    card, _ = carded(images, reference, fingerprint)
    assert card.style is not None and card.style.copied == 1 and not card.cells[0].passed
    assert [reason.detail for reason in card.cells[0].reasons if reason.code == "near_copy"] == [f"{3:064x}"]


def test_what_costs_content_is_not_promoted(reference: Reference, fingerprint: Fingerprint) -> None:
    images = [painting(601, 200 + seed) for seed in range(8)]
    before, features = carded(images, reference, fingerprint)
    after, _ = carded(images, reference, fingerprint, read=Labels(background="forest", pose="sitting"))
    assert before.style is not None and after.style is not None
    assert (before.style.content, after.style.content) == (1.0, 0.5)
    compared = compare_styles(before, after, (features, features), reference.style, BenchmarkRecipe(), 0.02)
    assert not compared.promote and any("content kept 50%" in reason for reason in compared.reasons)


def test_content_is_told_by_the_reader_else_by_clip_else_not_at_all() -> None:
    assert content_seen(LABELS, Labels(background="forest")) == 0.5
    assert content_seen(Labels(), Labels(background="forest")) is None
    assert content_seen(Labels(), Labels(), 0.21) == pytest.approx(0.6)
    assert content_seen(Labels(), Labels(), 0.9) == 1.0


def test_the_verifier_tells_manner_and_not_what_is_shown() -> None:
    first = np.array([one.embedding for one in EYES.embed([painting(601, seed) for seed in range(6)])])
    other = np.array([one.embedding for one in EYES.embed([painting(608, seed) for seed in range(6)])])
    within = np.linalg.norm(first - first.mean(0), axis=1).mean()
    assert np.linalg.norm(first.mean(0) - other.mean(0)) > within * 0.5
    assert EYES.embed([painting(601, 0)])[0].embedding == EYES.embed([painting(601, 0)])[0].embedding
