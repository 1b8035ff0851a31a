"""One tiny Kontext on disk for all tests of the family."""

from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.flux1.loading import FluxModel
from tests.kit.tiny_kontext import save_tiny


@pytest.fixture(scope="session")
def kontext_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("kontext") / "model")


@pytest.fixture
def kontext(kontext_folder: Path, settings: Settings) -> FluxModel:
    return FluxModel.find(kontext_folder, "tiny", settings)
