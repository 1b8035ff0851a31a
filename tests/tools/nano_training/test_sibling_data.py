"""Latents are made once for one autoencoder and one rendering of the data."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.models import qwen3
from tools.nano_training.names import FOLDER
from tools.nano_training.sibling_data import _latents, room
from tools.nano_training.vae import FluxCodec
from tools.nano_training.workspace import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two pictures of a character, and one of a character with a name."""
    random = np.random.default_rng(0)
    for folder, count in ((tmp_path / "data", 2), (tmp_path / "data" / FOLDER, 1)):
        folder.mkdir()
        np.save(folder / "pictures.npy", random.integers(0, 255, (count, 128, 128, 3), np.uint8))
        np.save(folder / "characters.npy", np.zeros(count, np.int32))
        (folder / "done").write_text("1\n")
    (tmp_path / "work").mkdir()
    return Run(tmp_path / "data", tmp_path / "work", 1.0, time.monotonic(), torch.device("cpu"), 1)


def test_latents_of_another_autoencoder_are_not_taken_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    moments = FluxCodec.moments

    def counted(codec: FluxCodec, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        encoded.append(len(images))
        return moments(codec, images)

    monkeypatch.setattr(FluxCodec, "moments", counted)
    vae = AutoencoderKL.from_pretrained(weights_folder("flux") / "vae", torch_dtype=torch.float32)
    data = room(run, vae, qwen3.load_tokenizer(weights_folder("editor") / "tokenizer"))
    _latents(run, data, vae)
    first = data.latents.clone()
    data.latents.zero_()
    _latents(run, data, vae)
    assert encoded == [2, 1] and torch.equal(data.latents, first)
    with torch.no_grad():
        vae.encoder.conv_in.weight.mul_(1.5)
    _latents(run, data, vae)
    assert encoded == [2, 1, 2, 1] and not torch.equal(data.latents, first)
