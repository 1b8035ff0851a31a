"""One tiny klein on disk for all tests of the family."""

from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.flux2.loading import Flux2Model
from tests.kit.tiny_klein import save_tiny


@pytest.fixture(scope="session")
def klein_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("klein") / "base")


@pytest.fixture(scope="session")
def distilled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("klein") / "distilled", is_distilled=True)


@pytest.fixture
def model(klein_folder: Path, settings: Settings) -> Flux2Model:
    return Flux2Model.find(klein_folder, "tiny", settings)
