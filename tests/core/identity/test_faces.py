"""The face verifier on real photographs, with the network off."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from flenwheel_core.base.errors import MissingWeightsError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Labels
from flenwheel_core.identity import face_weights
from flenwheel_core.identity.expressions import KNOWN_FROM
from flenwheel_core.identity.face_verifier import FaceVerifier
from flenwheel_core.identity.face_weights import FACE_MODELS, RECOGNITION, package_file, provide_weights
from flenwheel_core.identity.faces import FaceFinder
from flenwheel_core.identity.verifiers import open_verifier
from tests.kit.faces import astronaut, honest_variants, needs_people_weights, turned_man, without_face


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceVerifier]:
    yield FaceVerifier(FACE_MODELS["Dlib"], tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def reference(verifier: FaceVerifier) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.asarray(verifier.embed([astronaut()])[0].embedding)


@pytest.mark.parametrize("variant", ["mirrored", "turned", "larger", "compressed", "darker", "soft", "cropped"])
def test_the_same_person_stays_within_the_floor(verifier: FaceVerifier, reference: np.ndarray, variant: str) -> None:  # type: ignore[type-arg]
    found = verifier.embed([honest_variants(astronaut())[variant]])[0]
    assert found.embedding is not None
    assert np.linalg.norm(np.asarray(found.embedding) - reference) < verifier.threshold_rule.floor


def test_embeddings_are_those_of_dlib_itself(verifier: FaceVerifier, reference: np.ndarray) -> None:  # type: ignore[type-arg]
    import dlib

    finder = FaceFinder()
    image = astronaut()
    chip = finder.chip(image, finder.find(image, 0.3)[0])
    network = dlib.face_recognition_model_v1(str(package_file(RECOGNITION)))
    np.testing.assert_array_equal(reference, np.asarray(network.compute_face_descriptor(chip)))


def test_batches_give_what_single_pictures_give(verifier: FaceVerifier) -> None:
    images = [astronaut(), without_face("coffee"), ImageOps.mirror(astronaut())]
    together = verifier.embed(images)
    assert together == [verifier.embed([image])[0] for image in images]
    assert [found.problem for found in together] == [None, "no_face", None]


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
def test_pictures_without_a_face_say_so(verifier: FaceVerifier, name: str) -> None:
    assert verifier.embed([without_face(name)])[0].problem == "no_face"


def test_the_patch_on_the_suit_is_no_face() -> None:
    faces = FaceFinder().find(astronaut(), 0.3)
    assert len(faces) == 1
    assert 80 <= faces[0].size_px <= 100


def test_a_second_person_is_noticed(verifier: FaceVerifier) -> None:
    both = Image.new("RGB", (1024, 512))
    both.paste(astronaut(), (0, 0))
    both.paste(ImageOps.mirror(astronaut()), (512, 0))
    found = verifier.embed([both])[0]
    assert found.problem == "extra_faces"
    assert found.embedding is not None


def test_angle_hint_changes_side_with_the_mirror() -> None:
    finder = FaceFinder()
    squeezed = astronaut()
    offset = finder.find(squeezed, 0.3)[0].nose_offset
    mirrored = finder.find(ImageOps.mirror(squeezed), 0.3)[0].nose_offset
    assert abs(offset) < 0.07
    assert offset == pytest.approx(-mirrored, abs=0.03)


def test_small_faces_are_found_and_measured() -> None:
    small = FaceFinder().find(astronaut().resize((256, 256)), 0.3)
    assert 38 <= small[0].size_px <= 52


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(face_weights.SHA256, RECOGNITION, hashlib.sha256(b"other").hexdigest())
    with pytest.raises(MissingWeightsError, match="not the published one"):
        provide_weights(FACE_MODELS["Dlib"], tmp_path)


def test_a_model_without_weights_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="Facenet512"):
        open_verifier("face:Facenet512", Settings(models=tmp_path)).__enter__()


def test_an_unknown_model_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="SFace"):
        open_verifier("face:Dilb", Settings(models=tmp_path))


@needs_people_weights
def test_a_profile_is_found_and_gets_no_embedding(verifier: FaceVerifier) -> None:
    (found,) = verifier.embed([turned_man()])
    assert (found.embedding, found.problem) == (None, "profile_face")
    assert found.labels is not None and found.labels.angle == "profile-right" and found.labels_certain
    assert found.subject_size is not None and 60 < found.subject_size < 100


@needs_people_weights
def test_a_half_view_that_only_the_second_detector_finds_is_embedded(verifier: FaceVerifier) -> None:
    (found,) = verifier.embed([ImageOps.mirror(turned_man())])
    assert found.labels is not None and found.labels.angle == "half-left"
    assert found.embedding is not None


@needs_people_weights
def test_labels_are_read_from_the_whole_face(verifier: FaceVerifier) -> None:
    (found,) = verifier.embed([astronaut()])
    assert found.labels == Labels(angle="front", expression="smiling") and found.labels_certain
    assert found.beliefs["angle"] > 0.9 and found.beliefs["expression"] >= KNOWN_FROM


def test_without_the_second_detector_all_is_as_before(tmp_path: Path) -> None:
    finder = FaceFinder(people=tmp_path)
    assert not finder.sees_profiles
    assert finder.find(turned_man(), 0.3) == []
    (face,) = finder.find(astronaut(), 0.3)
    assert finder.describe(astronaut(), face) == face and face.labels == Labels(angle="front")


@needs_people_weights
def test_embeddings_do_not_change_with_the_second_detector(tmp_path: Path) -> None:
    """Fingerprints made before the weights were fetched stay comparable: small faces are aligned as ever too."""
    for picture in (astronaut(), astronaut().resize((256, 256))):
        before, after = FaceFinder(people=tmp_path).find(picture, 0.3), FaceFinder().find(picture, 0.3)
        assert [face.points for face in before] == [face.points for face in after]


@needs_people_weights
def test_somebody_in_profile_beside_a_frontal_face_is_noticed(verifier: FaceVerifier) -> None:
    both = Image.new("RGB", (1024, 512))
    both.paste(astronaut(), (0, 0))
    both.paste(turned_man(), (512, 0))
    finder = FaceFinder()
    assert len(finder.find(both, 0.3)) == 1
    assert sorted(face.left > 512 for face in finder.find_all(both, 0.3)) == [False, True]
    (found,) = verifier.embed([both])
    assert found.problem == "extra_faces" and found.embedding is not None
    assert found.box is not None and found.box[2] < 512
