"""Commands that need no character: what they print can be given to other programs."""

from pathlib import Path

import pytest

from deployments.cli.app import main
from flenwheel_core.models.embedded import weights_folder


def test_folders_of_the_shipped_models_are_ordinary_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nano", "weights"])
    assert not ended.value.code
    folders = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert folders["flux"] == str(weights_folder("flux")) and {"editor", "vlm", "embedder", "reader"} <= folders.keys()
    for folder in map(Path, folders.values()):
        assert (folder / "model_index.json").exists() or list(folder.glob("*.safetensors"))
