from pathlib import Path

import pytest
from diffusers import ZImagePipeline

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.z_image.loading import ZImageModel
from tests.kit.tiny_z_image import save_tiny


@pytest.fixture(scope="session")
def z_image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("z-image") / "model")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workspace=tmp_path / "workspace", store=None, gpu="cpu")


@pytest.fixture
def model(z_image_folder: Path, settings: Settings) -> ZImageModel:
    return ZImageModel.find(z_image_folder, "tiny", settings)


@pytest.fixture
def pipeline(z_image_folder: Path) -> ZImagePipeline:
    loaded = ZImagePipeline.from_pretrained(z_image_folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded
