"""Shipped models are ordinary folders, byte for byte the ones that were trained; what did not come along is said plainly."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models import embedded
from flenwheel_core.models.embedded import SHIPPED, NanoPart, is_shipped_here, weights_folder
from flenwheel_core.models.unpacking import is_packed


@pytest.mark.parametrize(
    ("part", "packed"), [("flux", True), ("editor", True), ("vlm", True), ("embedder", False), ("reader", False)]
)
def test_packed_models_are_unpacked_into_the_folder_of_weights(part: NanoPart, packed: bool) -> None:
    folder = weights_folder(part)
    assert folder.is_relative_to(Settings().models if packed else SHIPPED)
    assert not is_packed(folder) and list(folder.rglob("*.safetensors"))


def test_the_vision_language_model_is_part_of_the_editor() -> None:
    assert weights_folder("vlm") == weights_folder("editor") / "text_encoder"


def test_a_copy_without_a_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "SHIPPED", tmp_path)
    assert not is_shipped_here("klein")
    with pytest.raises(MissingWeightsError, match="holds no weights of the nano model klein") as refused:
        weights_folder("klein")
    assert "docs/nano.md" in refused.value.remedy
