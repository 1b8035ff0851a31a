"""Readers: grouped classifiers decide each group by itself; the face reader hints and stays silent without a face."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Dinov2Config, Dinov2ForImageClassification, ViTImageProcessor

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Labels
from flenwheel_core.identity.readers import ClassifierReader, open_reader
from tests.kit.faces import astronaut, needs_people_weights, turned_man, without_face

NAMES = ("angle=front", "angle=half-left", "expression=sad", "expression=angry", "hair=bald", "hair=short")


def reader_folder(folder: Path, bias: list[float], names: tuple[str, ...] = NAMES) -> Path:
    """A classifier that always answers its bias."""
    config = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    model = Dinov2ForImageClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor(bias))
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_every_group_is_decided_by_itself_and_foreign_groups_are_left_out(tmp_path: Path) -> None:
    folder = reader_folder(tmp_path / "reader", [0.0, 5.0, 9.0, 1.0, 99.0, 0.0])
    read = ClassifierReader(folder, "here", None).read([Image.new("RGB", (32, 32))] * 3)
    assert read == [Labels(angle="half-left", expression="sad")] * 3


def test_how_sure_a_reading_is_comes_beside_it(tmp_path: Path) -> None:
    names = ("angle=front", "angle=half-left", "expression=sad", "expression=angry")
    folder = reader_folder(tmp_path / "reader", [0.0, 2.0, 0.0, 0.0], names)
    ((labels, beliefs),) = ClassifierReader(folder, "here", None).look([Image.new("RGB", (32, 32))])
    assert labels.angle == "half-left" and beliefs["angle"] == pytest.approx(np.exp(2) / (1 + np.exp(2)), abs=1e-3)
    assert set(beliefs) == {name for name, value in labels.model_dump().items() if value is not None}


def test_what_is_not_certain_stays_unknown(tmp_path: Path) -> None:
    names = ("angle=front", "angle=half-left", "angle=half-right", "expression=sad", "expression=angry")
    folder = reader_folder(tmp_path / "reader", [0.1, 0.2, 0.0, 4.0, 0.0], names)
    assert ClassifierReader(folder, "here", None).read([Image.new("RGB", (32, 32))]) == [Labels(expression="sad")]


def test_a_classifier_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = reader_folder(tmp_path / "cats", [0.0, 0.0], ("cat", "dog"))
    with pytest.raises(InputError, match="as reader"), open_reader(str(folder), Settings()):
        pass


def test_the_face_reader_gives_a_hint_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))  # an installation without the weights for people
    with open_reader("face", Settings()) as reader:
        assert reader.read([astronaut(), without_face("coffee")]) == [Labels(angle="front"), Labels()]


@needs_people_weights
def test_the_face_reader_reads_angle_and_expression() -> None:
    with open_reader("face", Settings()) as reader:
        assert reader.read([astronaut(), turned_man(), without_face("coffee")]) == [
            Labels(angle="front", expression="smiling"),
            Labels(angle="profile-right"),
            Labels(),
        ]
