"""CSD in its authors' layout against the same weights in transformers' CLIP."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.identity.style_descriptors import FILE, STYLE_LAYER, StyleDescriptors, _pixels
from flenwheel_core.nano.paintings import painting
from tests.kit.tiny_eyes import WIDTH, tiny_csd, tower

SIDE, STYLES = 336, 32


@pytest.mark.parametrize("prefix", ["", "module."])
def test_vectors_are_those_of_the_same_tower_and_its_layer_of_style(tmp_path: Path, prefix: str) -> None:
    model, style = tower(), torch.randn(WIDTH, STYLES)
    pictures = [painting(1, 1), painting(2, 2)]
    found = StyleDescriptors(tiny_csd(tmp_path / "csd", model, style, prefix)).embed(pictures)
    pixels = torch.from_numpy(np.stack([_pixels(one, SIDE) for one in pictures]))
    with torch.no_grad():
        wanted = (model(pixel_values=pixels).pooler_output @ style).numpy()
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_tower_of_smaller_pictures_reads_larger_ones_with_places_between_its_own(tmp_path: Path) -> None:
    model, style = tower(224), torch.randn(WIDTH, STYLES)
    found = StyleDescriptors(tiny_csd(tmp_path / "csd", model, style)).embed([painting(1, 1)])
    pixels = torch.from_numpy(_pixels(painting(1, 1), SIDE)[None])
    with torch.no_grad():
        wanted = (model(pixel_values=pixels, interpolate_pos_encoding=True).pooler_output @ style).numpy()
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-3)


def test_a_folder_without_its_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="no folder of a CSD model") as missing:
        StyleDescriptors(tmp_path)
    assert "models.csd" in missing.value.remedy
    save_file({"head": torch.zeros(1)}, tmp_path / FILE)
    with pytest.raises(MissingWeightsError, match=r"backbone\.class_embedding"):
        StyleDescriptors(tmp_path)


def test_weights_of_which_some_are_missing_or_do_not_fit_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    folder = tiny_csd(tmp_path / "csd", tower(), torch.randn(WIDTH, STYLES))
    whole = load_file(folder / FILE)
    lost = "backbone.transformer.resblocks.1.mlp.c_fc.bias"
    save_file({name: value for name, value in whole.items() if name != lost}, folder / FILE)
    with pytest.raises(MissingWeightsError, match=r"resblocks\.1\.mlp\.c_fc\.bias"):
        StyleDescriptors(folder)
    save_file({**whole, STYLE_LAYER: torch.zeros(WIDTH // 2, STYLES)}, folder / FILE)
    with pytest.raises(MissingWeightsError, match="reads 64"):
        StyleDescriptors(folder)


def test_pictures_of_any_shape_are_read(tmp_path: Path) -> None:
    descriptors = StyleDescriptors(tiny_csd(tmp_path / "csd", tower(), torch.randn(WIDTH, STYLES)))
    wide = Image.new("L", (300, 90), 120)
    assert descriptors.embed([wide, painting(1, 1)]).shape == (2, STYLES)
