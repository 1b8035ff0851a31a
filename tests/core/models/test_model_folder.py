"""Parts of a model that are on the card one after the other are really gone before the next one comes."""

import gc
import weakref
from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.models import model_folder
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.model_folder import drawn_after_encoders, encoders_gib
from tests.kit.released_folders import KLEIN_4B, write_klein
from tests.kit.tiny_klein import save_tiny


def test_no_name_keeps_an_encoder_while_its_memory_is_given_back(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card kept 8.1 GiB of klein's encoder while it drew, since a variable of a loop still named it."""
    model = Flux2Model.find(save_tiny(tmp_path / "klein"), "tiny", settings)
    gone: list[bool] = []
    with model.text_encoder() as pipeline:
        encoder = weakref.ref(pipeline.text_encoder)

        def look() -> None:
            gc.collect()
            gone.append(encoder() is None)

        monkeypatch.setattr(model_folder, "free_memory", look)
    assert gone == [True]


def test_the_peak_of_drawing_is_the_encoders_where_they_need_more(tmp_path: Path) -> None:
    folder = write_klein(tmp_path / "klein", KLEIN_4B)
    assert encoders_gib(folder) == pytest.approx(7.49, abs=0.01)
    line, peak = drawn_after_encoders(folder, "fp8 weights, 7.1 GiB", 7.1, 23.5)
    assert line == "fp8 weights, 7.1 GiB; encoder in bf16, 8.1 GiB before" and peak == pytest.approx(8.09, abs=0.01)
    line, peak = drawn_after_encoders(folder, "nf4 weights, 6.0 GiB", 6.0, 7.0)
    assert line.endswith("encoder in nf4, 3.6 GiB before") and peak == 6.0
