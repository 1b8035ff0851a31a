"""What looks at pictures says which weights are damaged, before a library does in its own words."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.identity.spoiled import NanoSpoilDetector
from flenwheel_core.models import embedded
from flenwheel_core.models.embedded import SHIPPED
from flenwheel_core.nano.measure import NanoEmbedder, NanoReader


@pytest.fixture
def _pointers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout without Git LFS: its weights are pointers."""
    for name in ("embedder", "reader"):
        shutil.copytree(SHIPPED / name, tmp_path / name)
        (tmp_path / name / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    monkeypatch.setattr(embedded, "SHIPPED", tmp_path)


@pytest.mark.usefixtures("_pointers")
@pytest.mark.parametrize("kind", [NanoEmbedder, NanoReader, lambda: NanoSpoilDetector(1)])
def test_damaged_weights_are_told(kind: Callable[[], object]) -> None:
    with pytest.raises(MissingWeightsError, match="is no whole safetensors file"):
        kind()
