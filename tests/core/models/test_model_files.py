"""A model is what its own index names: no second copy of the weights, no pickle, no half copy."""

import json
from pathlib import Path

import pytest

from flenwheel_core.base.errors import InputError, MissingWeightsError
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.embedded import NanoPart, weights_folder
from flenwheel_core.models.model_files import folder_files, model_files, require_loadable

WHOLE = tensor_bytes({})

FLUX_INDEX = {
    "_class_name": "FluxPipeline",
    "image_encoder": [None, None],
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
}
FLUX = {
    "model_index.json": json.dumps(FLUX_INDEX),
    "scheduler/scheduler_config.json": "{}",
    "text_encoder/config.json": "{}",
    "text_encoder/model.safetensors": "",
    "tokenizer/merges.txt": "",
    "tokenizer/tokenizer_config.json": "{}",
    "tokenizer/vocab.json": "{}",
    "transformer/config.json": "{}",
    "transformer/diffusion_pytorch_model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    ),
    "transformer/m-1.safetensors": "",
    "transformer/m-2.safetensors": "",
}
BESIDE = {
    "flux1-dev.safetensors": "",
    "ae.safetensors": "",
    "README.md": "",
    "config.json": "{}",
    "dev_grid.jpg": "",
    "text_encoder/model.fp16.safetensors": "",
    "text_encoder/pytorch_model.bin": "",
    "text_encoder/model.safetensors.index.fp16.json": "{}",
    "transformer/diffusion_pytorch_model.bin.index.json": "{}",
    "transformer/old/diffusion_pytorch_model.safetensors": "",
    "image_encoder/model.safetensors": "",
    "vae_copy/diffusion_pytorch_model.safetensors": "",
}


def of(files: dict[str, str]) -> tuple[str, ...]:
    return model_files(files, lambda name: files[name].encode()).names


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if not name.endswith(".safetensors") else WHOLE)
    return folder


def test_single_file_copies_other_precisions_and_pickles_do_not_belong_to_a_pipeline() -> None:
    assert of(FLUX | BESIDE) == tuple(sorted(FLUX))


def test_a_transformers_folder_is_its_own_files_and_the_shards_of_its_index() -> None:
    own = {
        "chat_template.jinja": "",
        "config.json": "{}",
        "merges.txt": "",
        "model-1.safetensors": "",
        "model.safetensors.index.json": json.dumps({"weight_map": {"a": "model-1.safetensors"}}),
        "preprocessor_config.json": "{}",
        "tokenizer.json": "{}",
    }
    beside = {
        "consolidated.safetensors": "",
        "model-9.safetensors": "",
        "onnx/model.onnx": "",
        "original/params.json": "{}",
    }
    assert of(own | beside) == tuple(own)


@pytest.mark.parametrize(
    ("stem", "taken"),
    [("model", "model.safetensors"), ("diffusion_pytorch_model", "part.safetensors")],
)
def test_one_file_and_an_index_together_are_read_as_the_libraries_do(stem: str, taken: str) -> None:
    files = {
        "config.json": "{}",
        "part.safetensors": "",
        f"{stem}.safetensors": "",
        f"{stem}.safetensors.index.json": json.dumps({"weight_map": {"a": "part.safetensors"}}),
    }
    assert [name for name in of(files) if name.endswith(".safetensors")] == [taken]


@pytest.mark.usefixtures("siblings")
@pytest.mark.parametrize("part", ["flux", "editor", "vlm", "embedder", "reader", "klein", "zimage"])
def test_nano_models_are_whole(part: NanoPart) -> None:
    require_loadable(weights_folder(part), "nano")
    names = folder_files(weights_folder(part)).names
    every = [
        path.relative_to(weights_folder(part)).as_posix() for path in weights_folder(part).rglob("*") if path.is_file()
    ]
    assert list(names) == sorted(every)


def test_weights_as_pickle_only_are_refused_in_one_sentence(tmp_path: Path) -> None:
    files = dict(FLUX)
    del files["text_encoder/model.safetensors"]
    write(tmp_path, files | {"text_encoder/pytorch_model.bin": "x"})
    with pytest.raises(MissingWeightsError, match="pickle only, in text_encoder"):
        require_loadable(tmp_path, "mine")
    with pytest.raises(MissingWeightsError, match=r"pickle only, in \."):
        require_loadable(write(tmp_path / "vlm", {"config.json": "{}", "pytorch_model.bin": "x"}), "mine")


@pytest.mark.parametrize("gone", ["transformer/m-2.safetensors", "text_encoder/model.safetensors"])
def test_an_incomplete_model_is_named(tmp_path: Path, gone: str) -> None:
    write(tmp_path, FLUX)
    require_loadable(tmp_path, "mine")
    (tmp_path / gone).unlink()
    with pytest.raises(MissingWeightsError, match="incomplete"):
        require_loadable(tmp_path, "mine")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\n",
        WHOLE[:-1],
        WHOLE + b"x",
        b"\xff" * 32,
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_half_a_file_and_a_pointer_are_damaged(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, FLUX)
    (tmp_path / "transformer" / "m-1.safetensors").write_bytes(content)
    with pytest.raises(MissingWeightsError, match=r"damaged: transformer/m-1.safetensors"):
        require_loadable(tmp_path, "mine")


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", "..", "", "a\\b.safetensors"])
def test_an_index_cannot_name_files_elsewhere(name: str) -> None:
    index = json.dumps({"weight_map": {"a": name}})
    with pytest.raises(InputError, match="no file beside it"):
        of({"config.json": "{}", "model.safetensors.index.json": index})


@pytest.mark.parametrize("text", ["[]", "nothing", "[" * 100_000, '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_a_damaged_index_is_a_plain_error(text: str) -> None:
    with pytest.raises(InputError):
        of({"config.json": "{}", "model.safetensors.index.json": text})
    if "weight_map" not in text:
        with pytest.raises(InputError):
            of({"model_index.json": text})
