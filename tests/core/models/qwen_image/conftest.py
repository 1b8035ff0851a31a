"""Tiny editors on disk, made once."""

from pathlib import Path

import pytest

from tests.kit.tiny_editor import save_tiny


@pytest.fixture(scope="session")
def editor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen-Image-Edit folder with random weights."""
    return save_tiny(tmp_path_factory.mktemp("editor"))
