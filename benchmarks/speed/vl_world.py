"""Qwen2.5-VL-7B and Qwen3-VL-8B in their real shapes with random weights, and the usual way to train a LoRA on them.

The usual way: transformers' own modules, bitsandbytes' NF4, PEFT, language layers checkpointed, nothing compiled, the whole picture through
the eyes at every step, and the model's own loss, which has logits at every place.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.result_file import Row
from benchmarks.speed.edit_world import GIB, clean, peak_reserved_gib, synchronize
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.card import is_out_of_memory
from flenwheel_core.models.qwen_vl.batch_memory import ALPHA, ANSWER_TOKENS, MemoryCase, MemoryLab, square_grid
from flenwheel_core.models.qwen_vl.geometry import ADAPTED, EMBEDDINGS, LAYERS, VlGeometry, geometry_of
from flenwheel_core.transformer.sources import RandomSource

_QWEN25: dict[str, Any] = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "model_type": "qwen2_5_vl",
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen2_5_vl_text",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "max_position_embeddings": 128000,
        "use_sliding_window": False,
        "layer_types": ["full_attention"] * 28,
        "tie_word_embeddings": False,
        "rope_parameters": {"mrope_section": [16, 24, 24], "rope_theta": 1e6, "rope_type": "default"},
    },
    "vision_config": {
        "model_type": "qwen2_5_vl_vision",
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
}
_QWEN3: dict[str, Any] = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl",
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen3_vl_text",
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 262144,
        "tie_word_embeddings": False,
        "rope_parameters": {"mrope_section": [24, 20, 20], "rope_theta": 5e6, "rope_type": "default"},
    },
    "vision_config": {
        "model_type": "qwen3_vl_vision",
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "out_hidden_size": 4096,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [8, 16, 24],
    },
}
_SMALL_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
_SMALL_VISION = {"depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4, "out_hidden_size": 128}


def _small(config: Mapping[str, Any], text: Mapping[str, Any], vision: Mapping[str, Any]) -> dict[str, Any]:
    """The same with few weights, to try the code on a CPU."""
    return {
        **config,
        "image_token_id": 1001,
        "text_config": {**config["text_config"], **_SMALL_TEXT, "num_hidden_layers": 2, "vocab_size": 1024, **text},
        "vision_config": {**config["vision_config"], **_SMALL_VISION, **vision},
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "qwen2.5-vl-7b": _QWEN25,
    "qwen3-vl-8b": _QWEN3,
    "tiny-qwen2.5": _small(
        _QWEN25,
        {
            "layer_types": ["full_attention"] * 2,
            "rope_parameters": {"mrope_section": [4, 6, 6], "rope_theta": 1e6, "rope_type": "default"},
        },
        {"fullatt_block_indexes": [1]},
    ),
    "tiny-qwen3": _small(
        _QWEN3,
        {"rope_parameters": {"mrope_section": [6, 5, 5], "rope_theta": 5e6, "rope_type": "default"}},
        {"deepstack_visual_indexes": [0, 1]},
    ),
}
DTYPES = {"cuda": torch.bfloat16, "cpu": torch.float32}


def geometry(name: str) -> VlGeometry:
    """The shapes of a model, without weights."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(CONFIGS[name]))
        return geometry_of(Path(folder))


def model_class(name: str) -> Any:
    """transformers' class of a model."""
    import transformers

    return getattr(transformers, CONFIGS[name]["architectures"][0])


def random_lab(name: str, device: torch.device, storage: Storage) -> MemoryLab:
    """Ours, with random weights made on the device."""
    shapes = geometry(name)
    with torch.device("meta"):
        whole = model_class(name)(shapes.config)
    dtype = DTYPES[device.type]
    source = RandomSource({key: tensor.shape for key, tensor in whole.state_dict().items()}, device, dtype)
    embeddings = source.tensor(EMBEDDINGS).cpu()
    return MemoryLab(shapes, source, embeddings, device, dtype, storage, compile=device.type == "cuda")


class UsualWay:
    """transformers, PEFT, bitsandbytes."""

    def __init__(self, name: str, device: torch.device, rank: int) -> None:
        from peft import LoraConfig, get_peft_model

        self.geometry = geometry(name)
        self.device, self.dtype = device, DTYPES[device.type]
        before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)
        try:
            with torch.device(device):
                network = model_class(name)(self.geometry.config)
        finally:
            torch.set_default_dtype(before)
        network.requires_grad_(False)
        if device.type == "cuda":
            _quantise(network)
        self.network = get_peft_model(network, LoraConfig(r=rank, lora_alpha=ALPHA, target_modules=ADAPTED.pattern))
        self.parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        network.model.language_model.gradient_checkpointing_enable({"use_reentrant": False})
        self.network.train()
        clean()

    def row(self, case: MemoryCase, *, steps: int = 5) -> Row:
        """Seconds and peak memory of a step; out of memory is a row."""
        clean()
        try:
            return self._measured(case, steps)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return {"out_of_memory": True}
        finally:
            clean()

    def _measured(self, case: MemoryCase, steps: int) -> Row:
        inputs = self._inputs(case)
        optimizer = torch.optim.AdamW(self.parameters, lr=1e-6, fused=True)
        times = []
        for number in range(2 + steps):
            began = time.monotonic()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                loss = self.network(**inputs).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            synchronize()
            if number >= 2:
                times.append(time.monotonic() - began)
        allocated = torch.cuda.max_memory_allocated() / GIB if self.device.type == "cuda" else 0.0
        return {
            "step_seconds": statistics.median(times),
            "peak_allocated_gib": allocated,
            "peak_reserved_gib": peak_reserved_gib(),
            "out_of_memory": False,
        }

    def _inputs(self, case: MemoryCase) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        words = torch.randint(0, 1000, (case.text_tokens,), generator=generator)
        picture = torch.full((case.picture_tokens,), self.geometry.picture_token)
        ids = torch.cat([words[:40], picture, words[40:]]).expand(case.batch, -1).contiguous()
        labels = ids.clone()
        labels[:, :-ANSWER_TOKENS] = -100
        grid = square_grid(case.picture_tokens, self.geometry)
        vision = self.geometry.config.vision_config
        values = 3 * int(vision.temporal_patch_size) * int(vision.patch_size) ** 2
        made = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": labels,
            "mm_token_type_ids": (ids == self.geometry.picture_token).int(),
            "image_grid_thw": grid.expand(case.batch, 3).contiguous(),
        }
        pixels = torch.randn(case.batch * int(grid.prod()), values, generator=generator)
        return {key: tensor.to(self.device) for key, tensor in made.items()} | {
            "pixel_values": pixels.to(self.device, self.dtype)
        }


def _quantise(network: Any) -> None:
    """The language layers' linears in bitsandbytes' NF4, one by one."""
    import bitsandbytes

    for name, linear in list(network.named_modules()):
        if isinstance(linear, torch.nn.Linear) and name.startswith(LAYERS):
            made = bitsandbytes.nn.Linear4bit(
                linear.in_features,
                linear.out_features,
                bias=linear.bias is not None,
                compute_dtype=torch.bfloat16,
                quant_type="nf4",
                device="meta",
            )
            made.weight = bitsandbytes.nn.Params4bit(
                linear.weight.data.cpu(), requires_grad=False, quant_type="nf4"
            ).to(linear.weight.device)
            made.bias = linear.bias
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, made)
