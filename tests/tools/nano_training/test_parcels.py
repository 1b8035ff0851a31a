"""Weights travel in small files, and come out as they were."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import Qwen3ForCausalLM, Qwen3Model

from flenwheel_core.models.embedded import NanoPart, weights_folder
from flenwheel_core.nano.models import qwen3
from tools.nano_training.parcels import collect, main, pack, unpack


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_packed_comes_out_whole(tmp_path: Path) -> None:
    made = tmp_path / "made"
    shutil.copytree(weights_folder("flux"), made / "flux")
    encoder = qwen3.build_encoder(qwen3.load_tokenizer(weights_folder("editor") / "tokenizer")).bfloat16()
    encoder.save_pretrained(made / "siblings" / "klein" / "text_encoder")
    encoder.model.save_pretrained(made / "siblings" / "z_image" / "text_encoder")
    shutil.copytree(weights_folder("flux") / "vae", made / "siblings" / "z_image" / "vae")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "weights.tar.gz.09").write_bytes(b"of an earlier time")
    parts = pack(made, tmp_path / "out", fresh=False, part_bytes=3_000_000)
    assert len(parts) > 3 and all(part.stat().st_size <= 3_000_000 for part in parts)
    assert sorted((tmp_path / "out").iterdir()) == parts
    unpack(tmp_path / "out", tmp_path / "again")
    before, after = bytes_of(made), bytes_of(tmp_path / "again")
    assert before.keys() == after.keys()
    different = {name for name in before if before[name] != after[name]}
    assert not {name for name in different if "z_image/text_encoder" not in name}
    one, other = (
        Qwen3Model.from_pretrained(folder / "siblings" / "z_image" / "text_encoder", dtype=torch.float32)
        for folder in (made, tmp_path / "again")
    )
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])
    assert Qwen3ForCausalLM.from_pretrained(made / "siblings" / "klein" / "text_encoder") is not None


def test_what_is_finished_is_kept_in_the_layout_of_the_weights(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    for name in ("flux", "siblings_base"):
        (work / name).mkdir(parents=True)
        (work / name / "model.txt").write_text(name)
    (work / "flux.json").write_text('{"steps": 3}')
    assert collect(work, out, 2) == ["flux", "siblings"]
    assert (out / "siblings" / "model.txt").read_text() == "siblings_base"
    assert json.loads((out / "world.json").read_text()) == {"world": 2}
    assert json.loads((out / "training.json").read_text()) == {"flux": {"steps": 3}}


def test_what_trainings_left_is_packed_by_one_command_and_unpacked_by_the_other(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "reader").mkdir(parents=True)
    (work / "reader" / "config.json").write_text("{}")
    (work / "reader.json").write_text('{"steps": 3}')
    main(["--pack", str(work), str(tmp_path / "out")])
    main([str(tmp_path / "out"), str(tmp_path / "again")])
    assert bytes_of(tmp_path / "again").keys() == {"reader/config.json", "training.json", "world.json"}


@pytest.mark.parametrize("part", ["flux", "editor"])
def test_new_autoencoders_travel_along_and_shipped_ones_stay(
    tmp_path: Path, part: NanoPart, capsys: pytest.CaptureFixture[str]
) -> None:
    work, vae = tmp_path / "work", f"{part}/vae/diffusion_pytorch_model.safetensors"
    shutil.copytree(weights_folder(part) / "vae", work / part / "vae")
    main(["--pack", str(work), str(tmp_path / "same")])
    assert "no autoencoders" in capsys.readouterr().out
    altered = bytearray((work / vae).read_bytes())
    altered[-1] ^= 1
    (work / vae).write_bytes(altered)
    main(["--pack", str(work), str(tmp_path / "other")])
    assert "with their new autoencoders" in capsys.readouterr().out
    assert size(tmp_path / "same") < 10_000 < 1_000_000 < size(tmp_path / "other")
    main([str(tmp_path / "other"), str(tmp_path / "again")])
    assert (tmp_path / "again" / vae).read_bytes() == altered


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
