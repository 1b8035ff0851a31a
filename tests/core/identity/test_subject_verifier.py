"""The subject verifier on tiny models of the real classes: any vision folder works, and says which one it is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2ForImageClassification,
    ViTConfig,
    ViTModel,
)

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.identity.subject_verifier import GENERAL_RULE, IDENTITY_RULE, SubjectVerifier
from flenwheel_core.nano.world import make_character, make_view, render
from tests.kit.stage_world import tiny_vision_model
from tests.kit.tiny_eyes import VISION, saved, tiny_clip


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [render(make_character(seed), make_view(seed)) for seed in range(5)]


@pytest.mark.parametrize("kind", ["dinov2", "vit", "clip-vision"])
def test_every_kind_gives_unit_vectors_that_repeat(kind: str, tmp_path: Path, pictures: list[Image.Image]) -> None:
    torch.manual_seed(1)
    if kind == "dinov2":
        folder = tiny_vision_model(tmp_path / kind)
    elif kind == "vit":
        folder = saved(ViTModel(ViTConfig(**VISION)), tmp_path / kind)
    else:
        folder = saved(CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION, projection_dim=16)), tmp_path / kind)
    verifier = SubjectVerifier(folder)
    vectors = np.asarray([found.embedding for found in verifier.embed(pictures)])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert len({tuple(row) for row in vectors.round(5)}) == len(pictures)
    again = SubjectVerifier(folder)
    assert again.embed(pictures) == verifier.embed(pictures)
    assert again.version == verifier.version
    assert verifier.prompt_fidelity(verifier.embed(pictures[:1]), ["a"]) == [None]


def test_clip_also_says_how_well_a_picture_fits_its_prompt(tmp_path: Path, pictures: list[Image.Image]) -> None:
    verifier = SubjectVerifier(tiny_clip(tmp_path / "clip"))
    embedded = verifier.embed(pictures[:2])
    found = verifier.prompt_fidelity(embedded, ["ab", "zy"])
    assert all(value is not None and -1 <= value <= 1 for value in found)
    assert found != verifier.prompt_fidelity(embedded, ["zy", "ab"])


def test_other_weights_are_another_version(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = saved(ViTModel(ViTConfig(**VISION)), tmp_path / "first")
    second = saved(ViTModel(ViTConfig(**VISION)), tmp_path / "second")
    assert SubjectVerifier(first).name == SubjectVerifier(second).name == "subject-vitmodel"
    assert SubjectVerifier(first).version != SubjectVerifier(second).version


def test_wide_pictures_keep_their_edges(tmp_path: Path) -> None:
    verifier = SubjectVerifier(tiny_vision_model(tmp_path / "dino"))
    wide = Image.new("RGB", (128, 64), "white")
    edged = wide.copy()
    edged.paste("black", (0, 0, 12, 64))
    plain, marked = verifier.embed([wide, edged])
    assert np.abs(np.subtract(plain.embedding, marked.embedding)).max() > 1e-3  # type: ignore[arg-type]


def test_a_model_trained_for_identity_has_a_rule_of_its_own(tmp_path: Path, pictures: list[Image.Image]) -> None:
    general = SubjectVerifier(tiny_vision_model(tmp_path / "dino"))
    assert general.threshold_rule == GENERAL_RULE and general.sees_whole_picture
    torch.manual_seed(1)
    classifier = Dinov2ForImageClassification(
        Dinov2Config(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=64,
            patch_size=16,
            id2label={index: f"dimension {index}" for index in range(12)},
            label2id={f"dimension {index}": index for index in range(12)},
        )
    )
    trained = SubjectVerifier(saved(classifier, tmp_path / "trained"))
    assert trained.threshold_rule == IDENTITY_RULE and not trained.sees_whole_picture
    assert len(trained.embed(pictures[:1])[0].embedding or ()) == 12


def test_a_folder_without_a_model_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="subject verifier"):
        SubjectVerifier(tmp_path)
