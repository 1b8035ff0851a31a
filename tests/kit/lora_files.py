"""A LoRA file that changes what a model draws, without training one."""

from pathlib import Path

import torch

from flenwheel_core.engine.tensor_file import tensor_bytes


def lora_on(base: Path, linear: str) -> bytes:
    """A LoRA of rank 2 on one linear of the transformer in a model folder."""
    from safetensors import safe_open

    (weights,) = (base / "transformer").glob("*.safetensors")
    with safe_open(weights, "pt") as opened:  # type: ignore[no-untyped-call]
        rows, columns = opened.get_slice(f"{linear}.weight").get_shape()
    random = torch.Generator().manual_seed(1)
    return tensor_bytes(
        {
            f"transformer.{linear}.lora_A.weight": torch.randn(2, columns, generator=random),
            f"transformer.{linear}.lora_B.weight": torch.randn(rows, 2, generator=random),
        },
        {"format": "pt"},
    )
