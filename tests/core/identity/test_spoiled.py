"""The detectors of spoiled faces: small, repeatable, silent where nothing can be judged. What they miss is measured in benchmarks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.screening import judge_spoiled, limits_of
from flenwheel_core.identity.spoiled import (
    HEADS,
    FaceSpoilDetector,
    NanoSpoilDetector,
    gradients,
    open_spoil_detector,
    texture,
)
from flenwheel_core.nano.world import make_character, make_view, render, spoil
from flenwheel_core.recipes.screening import ScreeningRecipe
from tests.kit.faces import astronaut

FACE = (170.0, 90.0, 270.0, 190.0)
NOBODY = Embedded(None, "no_face")


def limits(recipe: ScreeningRecipe) -> float:
    fingerprint = Fingerprint(
        verifier="face",
        verifier_version="1",
        images=(),
        embeddings=(),
        centroid=(),
        distance="euclidean",
        leave_one_out=(),
        threshold=0.5,
        unsure_above=0.6,
    )
    found = judge_spoiled(0.7, limits_of(recipe, fingerprint, strict=False))
    return found[0][1].limit or 0 if found else 1


def test_the_heads_are_a_few_kilobytes() -> None:
    assert sum(path.stat().st_size for path in HEADS.iterdir()) < 8192


def test_a_spoiled_face_is_a_question_and_never_a_removal() -> None:
    assert limits(ScreeningRecipe()) == 0.5
    assert limits(ScreeningRecipe(spoiled_unsure_above=0.8)) == 1


def test_most_smeared_drawings_are_told_from_right_ones() -> None:
    pairs = [(make_character(1_600_000 + at), make_view(3_000_000 + at, portrait_share=1)) for at in range(24)]
    detector = NanoSpoilDetector(1)
    right = detector.chances([render(*pair) for pair in pairs], [NOBODY] * 24)
    smeared = [spoil("smeared_face", *pair, at).image for at, pair in enumerate(pairs)]
    caught = detector.chances(smeared, [NOBODY] * 24)
    assert sum((chance or 0) > 0.5 for chance in right) <= 2
    assert sum((chance or 0) > 0.5 for chance in caught) >= 18
    assert detector.chances(smeared[:3], [NOBODY] * 3) == pytest.approx(caught[:3], abs=1e-3)


def test_a_photograph_is_judged_by_its_face_only() -> None:
    photo, detector = astronaut(), FaceSpoilDetector()
    face = Embedded((0.0,), subject_size=100, box=FACE)
    small, profile = Embedded((0.0,), subject_size=40, box=FACE), Embedded(None, "profile_face", box=FACE)
    first, again, *silent = detector.chances([photo] * 5, [face, face, small, profile, NOBODY])
    assert first is not None and first == again < 0.5
    assert silent == [None, None, None]
    pixels = np.asarray(photo).copy()
    part = pixels[80:200, 160:280]
    pixels[80:200, 160:280] = np.roll(part, 30, axis=1) // 2 + part[::-1] // 2
    torn = detector.chances([Image.fromarray(pixels)], [face])[0]
    assert torn is not None and torn > first


def test_skin_like_wax_is_caught_and_a_face_too_small_for_skin_is_not_asked() -> None:
    import cv2

    photo, detector = astronaut(), FaceSpoilDetector()
    pixels = np.asarray(photo)
    for _ in range(3):
        pixels = np.asarray(cv2.bilateralFilter(pixels, 0, 30, 3), np.uint8)
    wax = Image.fromarray(pixels)
    face, small = (Embedded((0.0,), subject_size=size, box=FACE) for size in (100, 90))
    chances = detector.chances([photo, wax, wax], [face, face, small])
    assert all(chance is not None for chance in chances)
    first, waxen, unasked = (chance or 0 for chance in chances)
    assert first < 0.5 < waxen and unasked < waxen


def test_texture_does_not_change_with_light_and_contrast() -> None:
    photo = astronaut()
    darker = photo.point(lambda value: int(value * 0.7 + 20))
    before, after = texture(photo, FACE), texture(darker, FACE)
    assert before is not None and after is not None and before.shape == (21,)
    assert float(np.abs(before - after).mean()) < 0.15


@pytest.mark.parametrize("edge", ["left", "top", "right", "bottom"])
def test_skin_at_the_pictures_edge_is_read_without_the_black_beyond_it(edge: str) -> None:
    """The picture is cut so that a little of the face's box lies outside; and so that half of it does."""
    photo = astronaut()
    whole = texture(photo, FACE)
    assert whole is not None

    def cut(pixels: int) -> np.ndarray | None:
        left, top, right, bottom = (int(side) for side in FACE)
        sides = {
            "left": (left + pixels, 0, photo.width, photo.height),
            "top": (0, top + pixels, photo.width, photo.height),
            "right": (0, 0, right - pixels, photo.height),
            "bottom": (0, 0, photo.width, bottom - pixels),
        }[edge]
        moved = (FACE[0] - sides[0], FACE[1] - sides[1], FACE[2] - sides[0], FACE[3] - sides[1])
        return texture(photo.crop(sides), moved)

    seen = cut(18)
    assert seen is not None and float(np.abs(seen - whole).mean()) < 0.12
    assert cut(50) is None and cut(100) is None


def test_a_face_that_is_half_outside_is_judged_by_its_shape_alone() -> None:
    photo, detector = astronaut(), FaceSpoilDetector()
    half = photo.crop((220, 0, 512, 512))
    box = (FACE[0] - 220, FACE[1], FACE[2] - 220, FACE[3])
    large, small = (Embedded((0.0,), subject_size=size, box=box) for size in (100, 90))
    asked, unasked = detector.chances([half, half], [large, small])
    assert asked == unasked


def test_gradients_do_not_change_with_the_light() -> None:
    chip = np.asarray(astronaut().crop((150, 60, 300, 210)))
    darker = (chip * 0.6).astype(np.uint8)
    assert gradients(chip).shape == (576,)
    assert float(np.abs(gradients(chip) - gradients(darker)).mean()) < 0.05


@pytest.mark.parametrize(
    ("reader", "verifier", "kind"),
    [
        ("nano@1", "nano@1", NanoSpoilDetector),
        ("face", "face:Dlib", FaceSpoilDetector),
        (None, "/a/dino", type(None)),
        ("nano@1", "style", type(None)),
    ],
)
def test_other_drawings_and_styles_have_no_detector(
    tmp_path: Path, reader: str | None, verifier: str, kind: type
) -> None:
    with open_spoil_detector(reader, verifier, Settings(workspace=tmp_path, gpu="cpu")) as found:
        assert isinstance(found, kind)
