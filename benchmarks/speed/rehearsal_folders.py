"""Model folders at full size with random weights, laid out and sharded as on the Hub: for the dress rehearsal.

Configurations are those of FLUX.1-dev, Qwen-Image-Edit-2509 and -2511 and Qwen2.5-VL-7B; tokenizers and the like are the nano models'.
Values of weights do not change what a stage takes of time and memory.
"""

import json
import os
import re
import shutil
import struct
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from flenwheel_core.models.embedded import weights_folder

_SHARD_BYTES = 5_000_000_000
_WRITERS = 6
_GIB = 2**30
LIGHTNING_RANK = 64
"""Of the few-step LoRA: as Qwen-Image-Lightning's."""
_WORN = re.compile(r"transformer_blocks\..*\.(attn\.|ff|(img|txt)_mlp\.|proj_mlp|proj_out)")


def flux_folder(root: Path) -> Path:
    """FLUX.1-dev: 11.9 B weights, T5-XXL's encoder, CLIP-L, the autoencoder."""
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    if (root / "done").exists():
        return root
    nano = weights_folder("flux")
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(nano / "model_index.json", root)
    for part in ("tokenizer", "tokenizer_2", "scheduler"):
        shutil.copytree(nano / part, root / part, dirs_exist_ok=True)
    _edit_json(
        root / "scheduler" / "scheduler_config.json",
        base_shift=0.5,
        max_shift=1.15,
        shift=3.0,
        use_dynamic_shifting=True,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(guidance_embeds=True)
        t5 = T5EncoderModel(
            T5Config(
                vocab_size=32128,
                d_model=4096,
                d_kv=64,
                d_ff=10240,
                num_layers=24,
                num_heads=64,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=False,
            )
        )
        clip = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                max_position_embeddings=77,
                hidden_act="quick_gelu",
                projection_dim=768,
            )
        )
    transformer.save_config(root / "transformer")
    write_random(root / "transformer", transformer, "diffusion_pytorch_model")
    t5.config.save_pretrained(root / "text_encoder_2")
    write_random(root / "text_encoder_2", t5, "model", leave_out=("encoder.embed_tokens.weight",))
    clip.config.save_pretrained(root / "text_encoder")
    write_random(root / "text_encoder", clip, "model")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=32,
        sample_size=1024,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=True,
    )
    vae.to(torch.bfloat16).save_pretrained(root / "vae")
    (root / "done").touch()
    return root


def edit_folder(root: Path, *, zero_cond_t: bool = False, weights_of: Path | None = None) -> Path:
    """Qwen-Image-Edit-2509 (20.4 B weights, Qwen2.5-VL-7B as its encoder), or -2511 with `zero_cond_t`; files linked from `weights_of`."""
    from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel

    if (root / "done").exists():
        return root
    if weights_of is not None:
        shutil.copytree(weights_of, root, copy_function=os.link)
        config = root / "transformer" / "config.json"
        content = config.read_text()
        config.unlink()  # a link: the other folder keeps its own
        config.write_text(content)
        _edit_json(config, zero_cond_t=zero_cond_t)
        return root
    nano = weights_folder("editor")
    root.mkdir(parents=True, exist_ok=True)
    for part in ("tokenizer", "processor", "scheduler"):
        shutil.copytree(nano / part, root / part, dirs_exist_ok=True)
    _released_picture_sizes(root / "processor")
    index = json.loads((nano / "model_index.json").read_text())
    (root / "model_index.json").write_text(json.dumps({**index, "_class_name": "QwenImageEditPlusPipeline"}))
    with torch.device("meta"):
        transformer = QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=64,
            out_channels=16,
            num_layers=60,
            attention_head_dim=128,
            num_attention_heads=24,
            joint_attention_dim=3584,
            guidance_embeds=False,
            axes_dims_rope=(16, 56, 56),
            zero_cond_t=zero_cond_t,
        )
    transformer.save_config(root / "transformer")
    write_random(root / "transformer", transformer, "diffusion_pytorch_model")
    _write_vl(root / "text_encoder")
    AutoencoderKLQwenImage().to(torch.bfloat16).save_pretrained(root / "vae")
    (root / "done").touch()
    return root


def captioner_folder(root: Path, editor: Path) -> Path:
    """Qwen2.5-VL-7B-Instruct, whose weights are those of the editor's encoder."""
    if not (root / "done").exists():
        nano = weights_folder("vlm")
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(editor / "text_encoder", root, copy_function=os.link)
        for path in nano.iterdir():
            if path.suffix != ".safetensors" and path.name != "config.json" and not path.name.endswith("index.json"):
                shutil.copy(path, root)
        _released_picture_sizes(root)
        (root / "done").touch()
    return root


def random_lora(path: Path, model: Path, rank: int) -> Path:
    """A LoRA on attention and MLP of all blocks of the transformer in a model folder, such as Qwen-Image-Lightning; made once."""
    if path.exists():
        return path
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tensors = {}
    for name, (outputs, inputs) in _linears(model / "transformer").items():
        for matrix, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
            values = torch.randn(shape, device=device, dtype=torch.bfloat16) * 0.01
            tensors[f"transformer.{name}.lora_{matrix}.weight"] = values.cpu()
    unfinished = path.with_suffix(".part")
    save_file(tensors, unfinished)
    unfinished.rename(path)
    return path


def _linears(folder: Path) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of the linears that a LoRA usually sits on, by name."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - no mapping
                shape = opened.get_slice(key).get_shape()
                if len(shape) == 2 and _WORN.search(key):
                    found[key.removesuffix(".weight")] = (shape[0], shape[1])
    return found


def _write_vl(folder: Path) -> None:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = json.loads((weights_folder("editor") / "text_encoder" / "config.json").read_text())
    config.pop("flenwheel_positions", None)
    config["tie_word_embeddings"] = False
    config["text_config"].update(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        max_position_embeddings=128000,
        layer_types=["full_attention"] * 28,
        tie_word_embeddings=False,
        rope_parameters={"mrope_section": [16, 24, 24], "rope_theta": 1e6, "rope_type": "default"},
    )
    config["vision_config"].update(
        depth=32,
        hidden_size=1280,
        intermediate_size=3420,
        num_heads=16,
        out_hidden_size=3584,
        patch_size=14,
        spatial_merge_size=2,
        window_size=112,
        fullatt_block_indexes=[7, 15, 23, 31],
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_dict(config))
    write_random(folder, model, "model")


def _released_picture_sizes(folder: Path) -> None:
    """Patches of 14 px, two by two merged, as the released processors have them."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if not path.exists():
            continue
        content = json.loads(path.read_text())
        for table in (content, content.get("image_processor", {}), content.get("video_processor", {})):
            for key, value in (("patch_size", 14), ("merge_size", 2)):
                if key in table:
                    table[key] = value
            if "size" in table:
                table["size"] = {"shortest_edge": 3136, "longest_edge": 12_845_056}
            for key in ("min_pixels", "max_pixels"):
                table.pop(key, None)
        path.write_text(json.dumps(content))


def write_random(folder: Path, model: torch.nn.Module, stem: str, leave_out: tuple[str, ...] = ()) -> None:
    """Random weights in files of at most 5 GB, with their index, scaled so that activations stay of order one."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {n: tuple(t.shape) for n, t in model.state_dict().items() if t.is_floating_point() and n not in leave_out}
    files: list[list[str]] = [[]]
    size = 0
    for name, shape in shapes.items():
        bytes_ = 2 * torch.Size(shape).numel()
        if size + bytes_ > _SHARD_BYTES and files[-1]:
            files.append([])
            size = 0
        files[-1].append(name)
        size += bytes_
    names_of = {
        f"{stem}.safetensors" if len(files) == 1 else f"{stem}-{number:05d}-of-{len(files):05d}.safetensors": names
        for number, names in enumerate(files, start=1)
    }
    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in pool.map(lambda file: _fill(folder / file, {n: shapes[n] for n in names_of[file]}), names_of):
            pass
    table = {name: file for file, names in names_of.items() for name in names}
    if len(files) > 1:
        index: dict[str, Any] = {"metadata": {"total_size": size}, "weight_map": table}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    written = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / _GIB
    print(f"{folder.parent.name}/{folder.name}: {written:.1f} GiB in {time.monotonic() - began:.0f} s", flush=True)


def _fill(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A safetensors file whose values are made in place: 90 GB would else pass through memory twice."""
    sizes = [2 * torch.Size(shape).numel() for shape in shapes.values()]
    ends = list(accumulate(sizes))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for (name, shape), size, end in zip(shapes.items(), sizes, ends, strict=True):
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (end - size, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    whole = torch.from_file(str(path), shared=True, size=start + ends[-1], dtype=torch.uint8)
    whole[:start] = torch.frombuffer(bytearray(struct.pack("<Q", len(text)) + text), dtype=torch.uint8)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(len(shapes))
    for (name, shape), size, end in zip(shapes.items(), sizes, ends, strict=True):
        place = whole[start + end - size : start + end].view(torch.bfloat16).view(shape)
        place.copy_(_values(name, shape, generator))


def _values(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if len(shape) == 1 and "norm" in name and name.endswith("weight"):
        return torch.ones(shape, dtype=torch.bfloat16)
    scale = 0.02 if len(shape) == 1 else shape[-1] ** -0.5
    if ".norm" in name or "_mod" in name:
        scale *= 0.3  # modulation: near identity
    values = torch.empty(shape, device=generator.device, dtype=torch.bfloat16)
    return values.normal_(std=scale, generator=generator)


def _edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
