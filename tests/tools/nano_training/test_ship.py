"""Trained weights take their place among the shipped ones, packed, and come back as they were trained."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline, ZImagePipeline
from safetensors.numpy import load_file, save_file

from flenwheel_core.base.errors import InputError
from flenwheel_core.models.embedded import SHIPPED, NanoPart, weights_folder
from flenwheel_core.models.unpacking import is_packed, unpacked
from tests.kit.siblings import random_siblings
from tools.nano_training.ship import main, ship

VAE = "diffusion_pytorch_model.safetensors"


def test_a_retrained_model_is_packed_and_its_record_kept(tmp_path: Path) -> None:
    trained, weights = tmp_path / "trained", tmp_path / "weights"
    shutil.copytree(weights_folder("flux"), trained / "flux")
    shutil.copytree(SHIPPED / "reader", trained / "reader")
    (trained / "training.json").write_text('{"flux": {"steps": 7}}')
    weights.mkdir()
    (weights / "training.json").write_text('{"vlm": {"steps": 3}}')
    (weights / "flux").mkdir()
    (weights / "flux" / "of_before.json").write_text("{}")
    assert ship(trained, weights) == ["flux", "reader"]
    assert json.loads((weights / "training.json").read_text()) == {"vlm": {"steps": 3}, "flux": {"steps": 7}}
    assert is_packed(weights / "flux") and not is_packed(weights / "reader")
    again = unpacked(weights, "flux", tmp_path / "kept")
    files = [path.relative_to(again) for path in again.rglob("*") if path.is_file()]
    assert Path("of_before.json") not in files
    assert all((again / file).read_bytes() == (trained / "flux" / file).read_bytes() for file in files)


def test_siblings_are_shipped_in_little_room_and_open_as_they_were(tmp_path: Path) -> None:
    trained, weights = random_siblings(tmp_path / "trained"), tmp_path / "weights"
    weights.mkdir()
    for name in ("flux", "editor"):
        (weights / name).symlink_to(SHIPPED / name)
    main([str(trained), "--weights", str(weights)])
    size = sum(path.stat().st_size for name in ("klein", "zimage") for path in (weights / name).rglob("*"))
    assert size < 11 * 2**20
    for name, source, kind in (("klein", "klein", Flux2KleinPipeline), ("zimage", "z_image", ZImagePipeline)):
        folder = unpacked(weights, name, tmp_path / "kept")
        shipped, made = (kind.from_pretrained(one) for one in (folder, trained / "siblings" / source))
        for part in ("transformer", "text_encoder", "vae"):
            ours, theirs = (getattr(pipeline, part).state_dict() for pipeline in (shipped, made))
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(weight.float(), theirs[key].float()) for key, weight in ours.items()), part
        assert shipped.tokenizer.chat_template == made.tokenizer.chat_template


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def siblings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_siblings(tmp_path_factory.mktemp("trained")) / "siblings"


@pytest.mark.parametrize("sibling", ["klein", "z_image"])
def test_siblings_of_another_autoencoder_are_refused_before_anything_is_replaced(
    siblings: Path, tmp_path: Path, sibling: str
) -> None:
    trained, weights = tmp_path / "trained", tmp_path / "weights"
    shutil.copytree(siblings, trained / "siblings")
    shutil.copytree(SHIPPED / "reader", trained / "reader")
    _alter(trained / "siblings" / sibling / "vae" / VAE)
    (weights / "reader").mkdir(parents=True)
    (weights / "reader" / "of_before.json").write_text("{}")
    shutil.copytree(SHIPPED / "flux", weights / "flux")
    before = bytes_of(weights)
    with pytest.raises(InputError, match="another autoencoder"):
        ship(trained, weights)
    assert bytes_of(weights) == before


def test_siblings_are_compared_with_the_flux_that_comes_along(siblings: Path, tmp_path: Path) -> None:
    trained, weights = tmp_path / "trained", tmp_path / "weights"
    shutil.copytree(siblings, trained / "siblings")
    shutil.copytree(weights_folder("flux"), trained / "flux")
    _alter(trained / "flux" / "vae" / VAE)
    weights.mkdir()
    (weights / "flux").symlink_to(SHIPPED / "flux")
    with pytest.raises(InputError, match="another autoencoder"):
        ship(trained, weights)
    assert (weights / "flux").is_symlink()


@pytest.mark.parametrize(
    ("part", "file"), [("flux", f"vae/{VAE}"), ("editor", "tokenizer/tokenizer.json"), ("flux", "vae/config.json")]
)
def test_what_siblings_borrow_is_not_swapped_behind_them(
    siblings: Path, tmp_path: Path, part: NanoPart, file: str
) -> None:
    trained, weights = tmp_path / "trained", tmp_path / "weights"
    weights.mkdir()
    for name in ("flux", "editor"):
        shutil.copytree(SHIPPED / name, weights / name)
    ship(siblings.parent, weights)
    shutil.copytree(weights_folder(part), trained / part)
    ship(trained, weights)  # the same files may come again
    changed = trained / part / file
    if changed.suffix == ".json":
        changed.write_text(changed.read_text() + " ")
    else:
        _alter(changed)
    before = bytes_of(weights)
    with pytest.raises(InputError, match=rf"borrows \S+ from {part}/{file}") as refused:
        ship(trained, weights)
    assert "Ship siblings that were trained with the new one along" in refused.value.remedy
    assert bytes_of(weights) == before
    changed.unlink()
    with pytest.raises(InputError, match="borrows"):
        ship(trained, weights)


def _alter(vae: Path) -> None:
    tensors = load_file(vae)
    name = "encoder.conv_in.weight"
    save_file(tensors | {name: tensors[name] + np.float16(1)}, vae)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained weights"):
        ship(tmp_path, tmp_path / "weights")
