"""Safetensors files that are the same bytes for the same content.

The library's own writer orders metadata by chance; here everything is sorted. Reading is the library's.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8


def tensor_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file with its tensors in order of width and name, and its metadata in order of key."""
    return b"".join(tensor_parts(tensors, metadata))


def tensor_parts(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """The same file piece by piece: nothing of a tensor on the CPU is copied."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    yield header_of([(name, tensors[name].dtype, tuple(tensors[name].shape)) for name in names], metadata)
    for name in names:
        tensor = tensors[name].detach().to("cpu").contiguous()
        if tensor.numel():
            yield tensor.reshape(-1).view(torch.uint8).numpy().data


def header_of(
    entries: Sequence[tuple[str, torch.dtype, tuple[int, ...]]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The beginning of a file whose tensors are written after it, in this order: (name, dtype, shape)."""
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name, dtype, shape in entries:
        size = math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % _ALIGNMENT)
    return len(head).to_bytes(8, "little") + head


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; raises SafetensorError or OSError if it is damaged."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def tensors_of(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """As `read_tensors`, of a file in memory."""
    size = int.from_bytes(data[:8], "little")
    return load(data), dict(json.loads(data[8 : 8 + size]).get("__metadata__") or {})
