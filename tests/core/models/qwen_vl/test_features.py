"""What Qwen-VL sees, as features for injection: both families, both kinds, kept by content."""

from pathlib import Path

import pytest
import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.prompt_model import FeatureKind
from flenwheel_core.models.registry import open_features
from tests.kit.tiny_vl import KINDS, drawn_picture, save_tiny_vl


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("kind", ["eyes", "hidden"])
def test_pictures_become_tokens_of_the_models_width(tmp_path: Path, family: str, kind: FeatureKind) -> None:
    folder = save_tiny_vl(tmp_path / "vl", family)
    settings = Settings(workspace=tmp_path, gpu="cpu")
    pictures = [drawn_picture(seed, 112, 112) for seed in (1, 2)]
    with open_features(str(folder), settings, kind=kind) as model:
        first, second = model.features(pictures)
        assert first.shape == second.shape and first.shape[1] == model.width == 128
        assert int(len(first) ** 0.5) ** 2 == len(first)
        assert not torch.allclose(first, second) and torch.equal(model.features(pictures[1:])[0], second)
        version = model.version
    with open_features(str(folder), settings, kind=kind) as model:
        assert torch.equal(model.features(pictures[:1])[0], first) and model.version == version


def test_hidden_states_are_those_of_the_network_itself(tmp_path: Path) -> None:
    """The question stands before the picture: states at the picture's places have read it."""
    folder = save_tiny_vl(tmp_path / "vl", "qwen2.5")
    settings = Settings(workspace=tmp_path, gpu="cpu")
    with (
        open_features(str(folder), settings, kind="eyes") as eyes,
        open_features(str(folder), settings, kind="hidden") as hidden,
    ):
        picture = drawn_picture(3, 112, 112)
        seen, read = eyes.features([picture])[0], hidden.features([picture])[0]
    assert seen.shape == read.shape and not torch.allclose(seen, read, atol=0.1)
