"""LoRA files of others: worn exactly, or refused in one sentence, before a model loads."""

import json
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_reading import LoraHost, WornLora, read_loras
from flenwheel_core.base.errors import InputError
from flenwheel_core.engine.tensor_file import tensor_bytes

Q, K, V = (f"transformer_blocks.0.attn.to_{part}" for part in "qkv")
HOST = LoraHost(
    "FLUX.1",
    {Q: (6, 5), K: (6, 5), V: (6, 5), "transformer_blocks.0.ff.net.2": (5, 7)},
    {"double_blocks_0_img_attn_qkv": (Q, K, V)},
)


def matrix(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


A, B = matrix(2, 5, 1), matrix(6, 2, 2)


def read(
    folder: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None, weight: float = 1.0
) -> WornLora:
    path = folder / "theirs.safetensors"
    path.write_bytes(tensor_bytes(tensors, metadata))
    return read_loras([LoraFile(path, weight)], HOST)[0]


def delta(lora: WornLora, name: str = Q) -> torch.Tensor:
    return lora.modules[name].b @ lora.modules[name].a


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (f"transformer.{Q}.lora_A.weight", f"transformer.{Q}.lora_B.weight"),
        (f"{Q}.lora_A.weight", f"{Q}.lora_B.weight"),
        (f"base_model.model.{Q}.lora_A.default.weight", f"base_model.model.{Q}.lora_B.default.weight"),
        (f"transformer.{Q}.lora_A.my_adapter.weight", f"transformer.{Q}.lora_B.my_adapter.weight"),
        (f"diffusion_model.{Q}.lora_down.weight", f"diffusion_model.{Q}.lora_up.weight"),
        (f"model.diffusion_model.{Q}.lora_A.weight", f"model.diffusion_model.{Q}.lora_B.weight"),
        (f"unet.{Q}.lora.down.weight", f"unet.{Q}.lora.up.weight"),
        *(
            (f"{prefix}{Q.replace('.', '_')}.lora_down.weight", f"{prefix}{Q.replace('.', '_')}.lora_up.weight")
            for prefix in ("lora_unet_", "lora_transformer_", "lycoris_")
        ),
    ],
)
def test_names_of_every_trainer_mean_the_same_module(tmp_path: Path, a: str, b: str) -> None:
    torch.testing.assert_close(delta(read(tmp_path, {a: A, b: B})), B @ A)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_storage_does_not_matter(tmp_path: Path, dtype: torch.dtype) -> None:
    found = read(tmp_path, {f"{Q}.lora_A.weight": A.to(dtype), f"{Q}.lora_B.weight": B.to(dtype)})
    torch.testing.assert_close(delta(found), B.to(dtype).float() @ A.to(dtype).float())


@pytest.mark.parametrize(
    ("tensors", "metadata", "scale"),
    [
        ({}, {}, 1.0),
        ({f"{Q}.alpha": torch.tensor(4.0)}, {}, 2.0),
        ({f"{Q}.alpha": torch.tensor([1.0])}, {}, 0.5),
        ({}, {"lora_adapter_metadata": json.dumps({"transformer.r": 2, "transformer.lora_alpha": 8})}, 4.0),
        ({}, {"lora_adapter_metadata": json.dumps({"r": 2, "lora_alpha": 8})}, 4.0),
        ({}, {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "use_rslora": True})}, 8 / 2**0.5),
        ({}, {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "alpha_pattern": {"attn.to_q": 2}})}, 1.0),
        (
            {},
            {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "alpha_pattern": {f"^{Q}".replace(".", "\\."): 6}})},
            3.0,
        ),
        ({}, {"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "alpha_pattern": {"other": 2}})}, 4.0),
    ],
)
def test_the_scale_is_alpha_over_rank_and_one_where_nothing_is_said(
    tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str], scale: float
) -> None:
    found = read(tmp_path, {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B, **tensors}, metadata)
    torch.testing.assert_close(delta(found), scale * B @ A)


def test_fused_linears_are_taken_apart(tmp_path: Path) -> None:
    up = matrix(18, 2, 3)
    stem = "lora_unet_double_blocks_0_img_attn_qkv"
    found = read(
        tmp_path, {f"{stem}.lora_down.weight": A, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(1.0)}
    )
    torch.testing.assert_close(torch.cat([delta(found, name) for name in (Q, K, V)]), 0.5 * up @ A)
    dotted = {"diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight": A}
    dotted["diffusion_model.double_blocks.0.img_attn.qkv.lora_B.weight"] = torch.cat([up[:6], torch.zeros(12, 2)])
    assert list(read(tmp_path, dotted).modules) == [Q]


@pytest.mark.parametrize("key", ["dora_scale", "lora_magnitude_vector", "lora_magnitude_vector.default.weight"])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_magnitudes_of_a_dora_are_kept(tmp_path: Path, key: str, shape: tuple[int, ...]) -> None:
    magnitude = torch.arange(1.0, 7.0)
    found = read(tmp_path, {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B, f"{Q}.{key}": magnitude.reshape(shape)})
    assert found.is_dora and torch.equal(found.modules[Q].magnitude, magnitude)  # type: ignore[arg-type]


def test_text_encoders_are_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = {
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": A,
        "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight": A,
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.dora_scale": A,
    }
    with caplog.at_level("INFO"):
        found = read(tmp_path, {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B, **texts})
    assert list(found.modules) == [Q] and "3 tensors for text encoders are left out" in caplog.text
    with pytest.raises(InputError, match="text encoders only"):
        read(tmp_path, texts)


PLAIN = {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B}
NAN = torch.full((6, 2), float("nan"))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({f"{Q}.lora_A.weight": A}, r"matrix B \(lora_up\) .* is missing"),
        ({f"{Q}.lora_B.weight": B}, r"matrix A \(lora_down\) .* is missing"),
        ({f"{Q}.alpha": torch.tensor(1.0)}, "is missing"),
        ({**PLAIN, f"{K}.alpha": torch.tensor(1.0)}, "is missing"),
        ({**PLAIN, f"{Q}.lora_B.weight": matrix(6, 3)}, "ranks 2 and 3"),
        ({**PLAIN, f"{Q}.lora_A.weight": matrix(2, 4)}, "6 x 4, and this model's is 6 x 5"),
        ({f"{Q}.lora_A.weight": torch.zeros(5), f"{Q}.lora_B.weight": B}, "no matrix"),
        ({f"{Q}.lora_A.weight": torch.zeros(0, 5), f"{Q}.lora_B.weight": torch.zeros(6, 0)}, "no matrix"),
        ({f"{Q}.lora_A.weight": torch.zeros(2, 5, 1, 1), f"{Q}.lora_B.weight": B}, "no matrix"),
        ({**PLAIN, f"{Q}.lora_B.weight": NAN}, "not finite"),
        ({**PLAIN, f"{Q}.lora_A.weight": A * float("inf")}, "not finite"),
        ({**PLAIN, f"{Q}.alpha": torch.tensor(float("nan"))}, "not finite"),
        ({**PLAIN, f"{Q}.alpha": torch.ones(2)}, "no single number"),
        ({**PLAIN, f"{Q}.lora_A.weight": torch.zeros(2, 5, dtype=torch.int8)}, "no floating-point"),
        ({**PLAIN, f"{Q}.lora_B.bias": torch.zeros(6)}, "biases"),
        ({f"{Q}.lokr_w1": A, f"{Q}.lokr_w2": A, f"{Q}.alpha": torch.tensor(1.0)}, "LoKr"),
        ({f"lycoris_{Q.replace('.', '_')}.hada_w1_a": A}, "LoHa"),
        ({f"{Q}.oft_blocks": A}, "OFT"),
        ({**PLAIN, f"{Q}.lora_mid.weight": A}, "Tucker"),
        ({**PLAIN, f"{Q}.diff": A}, "changed weights"),
        ({**PLAIN, f"{Q}.diff_b": A}, "changed weights"),
        ({**PLAIN, "something.else": A}, "no part of a LoRA"),
        ({**PLAIN, f"{Q}.dora_scale": torch.ones(1, 5)}, "magnitudes"),
        (
            {**PLAIN, f"{Q}.dora_scale": torch.ones(6), f"{K}.lora_A.weight": A, f"{K}.lora_B.weight": B},
            "some of its modules have no magnitudes",
        ),
        ({**PLAIN, f"transformer.{Q}.lora_A.weight": A, f"transformer.{Q}.lora_B.weight": B}, "twice"),
        ({**PLAIN, f"{Q}.lora_down.weight": A}, "twice"),
        ({**PLAIN, "transformer_blocks.60.attn.to_q.lora_A.weight": A, "transformer_blocks.60.attn.to_q.lora_B.weight": B},
         r"1 of its 2 modules are not in this model \(FLUX.1\), such as transformer_blocks.60.attn.to_q"),
        ({"a" * 2_000 + ".lora_A.weight": A}, "name has 2014 letters"),
        ({}, "no weights"),
    ],
)  # fmt: skip
def test_what_cannot_be_worn_is_refused_in_one_sentence(
    tmp_path: Path, tensors: dict[str, torch.Tensor], said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        read(tmp_path, tensors)
    assert "theirs.safetensors cannot be used as a LoRA" in refused.value.message
    assert len(refused.value.message) < 500


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"modelspec.architecture": "qwen-image-edit/lora"}, "Qwen-Image"),
        ({"ss_base_model_version": "qwen_image"}, "Qwen-Image"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "Stable Diffusion XL"),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "Stable Diffusion"),
        ({"modelspec.architecture": "flux-2-klein/lora"}, "FLUX.2"),
        ({"ss_base_model_version": "wan2.1"}, "Wan"),
    ],
)
def test_a_lora_that_says_it_is_for_another_model_is_refused_though_its_shapes_fit(
    tmp_path: Path, metadata: dict[str, str], family: str
) -> None:
    with pytest.raises(InputError, match=f"it is for {family}; this model is FLUX.1"):
        read(tmp_path, PLAIN, metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        {"modelspec.architecture": "flux-1-dev/lora"},
        {"modelspec.architecture": "Flux.1-dev/lora", "ss_base_model_version": "flux1"},
        {"ss_base_model_version": "flux1"},
        {"modelspec.architecture": "what-nobody-knows/lora"},
        {"format": "pt"},
    ],
)
def test_a_lora_that_says_nothing_else_is_worn(tmp_path: Path, metadata: dict[str, str]) -> None:
    torch.testing.assert_close(delta(read(tmp_path, PLAIN, metadata)), B @ A)


def raw(folder: Path, header: object, *, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "theirs.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize(
    "header",
    [
        b"[]", b"[[]]", b"no json", b'{"a": 1}', b'{"a": {"shape": [1]}}', b'{"a": {"shape": "x", "data_offsets": [0, 0]}}',
        b"[" * 200_000, b'{"__metadata__": []}', b'{"__metadata__": {"a": 1}}', b'{"__metadata__": [], "a": {}}',
        b'{"a.lora_A.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 400]}}',
        b'{"a": {"shape": [1e400], "data_offsets": [0, 0]}}',
    ],
)  # fmt: skip
def test_odd_headers_are_plain_errors(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(InputError, match="cannot be used as a LoRA"):
        read_loras([LoraFile(raw(tmp_path, header), 1.0)], HOST)


@pytest.mark.parametrize(
    "metadata",
    ["[]", "nothing", '"text"', "[" * 100_000, '{"lora_alpha": "much"}', '{"lora_alpha": 1, "alpha_pattern": [1]}',
     '{"lora_alpha": 1, "alpha_pattern": {"(a+)+$": 1}}', '{"lora_alpha": [1]}', '{"lora_bias": true}'],
)  # fmt: skip
def test_odd_adapter_metadata_are_plain_errors(tmp_path: Path, metadata: str) -> None:
    with pytest.raises(InputError, match="cannot be used as a LoRA"):
        read(tmp_path, PLAIN, {"lora_adapter_metadata": metadata})


@pytest.mark.parametrize("content", [b"", b"short", b"PK\x03\x04" + bytes(100), b"\xff" * 100])
def test_files_that_are_no_safetensors_are_plain_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="safetensors file"):
        read_loras([LoraFile(path, 1.0)], HOST)
    with pytest.raises(InputError, match="cannot be read"):
        read_loras([LoraFile(tmp_path, 1.0)], HOST)


def test_a_million_keys_take_no_time(tmp_path: Path) -> None:
    entry = b'":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    many = b"{" + b",".join(b'"k%d' % index + entry for index in range(1_000_000)) + b"}"
    began = time.process_time()
    with pytest.raises(InputError, match="header alone"):
        read_loras([LoraFile(raw(tmp_path, many), 1.0)], HOST)
    fewer = {f"k{index}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for index in range(100_000)}
    with pytest.raises(InputError, match="holds 100000 tensors"):
        read_loras([LoraFile(raw(tmp_path, fewer), 1.0)], HOST)
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", "pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>Please sign in</html>", "a web page"),
        (b"GGUF\x03\x00\x00\x00", "a GGUF file"),
        (b"PK\x03\x04archive/data.pkl", "a pickle or an archive"),
        (b"\x80\x02}q\x00.", "a pickle"),
        (b"", "no safetensors file"),
    ],
)
def test_what_lies_in_a_loras_place_is_named(tmp_path: Path, begin: bytes, said: str) -> None:
    path = tmp_path / "l.safetensors"
    path.write_bytes(begin)
    with pytest.raises(InputError) as refused:
        read_loras([LoraFile(path, 1.0)], HOST)
    assert said in refused.value.message
