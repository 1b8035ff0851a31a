"""Shipped models are ordinary folders, byte for byte the ones that were trained; what did not come along is said plainly."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models import embedded
from flenwheel_core.models.digests import folder_digest, pin_of
from flenwheel_core.models.embedded import SHIPPED, NanoPart, is_shipped_here, weights_folder
from flenwheel_core.models.unpacking import is_packed

PINS: dict[NanoPart, str] = {
    "flux": "ec6e1271bd7e",
    "editor": "25ac6acd17d8",
    "vlm": "a5a223ed1336",
    "embedder": "53d7d48bd2af",
    "reader": "6ad2640d9db2",
}


@pytest.mark.parametrize(
    ("part", "packed"), [("flux", True), ("editor", True), ("vlm", True), ("embedder", False), ("reader", False)]
)
def test_packed_models_are_unpacked_into_the_folder_of_weights(part: NanoPart, packed: bool) -> None:
    folder = weights_folder(part)
    assert folder.is_relative_to(Settings().models if packed else SHIPPED)
    assert not is_packed(folder) and list(folder.rglob("*.safetensors"))


@pytest.mark.parametrize("part", PINS)
def test_shipped_models_keep_their_pins(part: NanoPart) -> None:
    """Recorded requests name these. They change only when other weights are shipped: then write the new ones here."""
    assert pin_of(folder_digest(weights_folder(part))) == PINS[part]


def test_the_folder_of_weights_is_the_one_given(tmp_path: Path) -> None:
    assert weights_folder("flux", tmp_path).is_relative_to(tmp_path)


def test_the_vision_language_model_is_part_of_the_editor() -> None:
    assert weights_folder("vlm") == weights_folder("editor") / "text_encoder"


def test_a_copy_without_a_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "SHIPPED", tmp_path)
    assert not is_shipped_here("klein")
    with pytest.raises(MissingWeightsError, match="holds no weights of the nano model klein") as refused:
        weights_folder("klein")
    assert refused.value.remedy == (
        "Use the recipe nano; in a checkout: train them (docs/nano.md, Training the siblings)."
    )
