"""The libraries that stages need, imported before a stage is known: most of what a stage spends before its first picture."""

import ctypes
import importlib
import sys
from contextlib import suppress
from typing import cast

from flenwheel_core.runner.stage import STAGES

_COMMON = (
    "torch._inductor.compile_fx",
    "torch.distributed.fsdp",
    "torchvision.transforms.v2",
    "scipy.fftpack",
    "scipy.optimize",
    "accelerate",
    "peft",
    "sentencepiece",
    "transformers.generation",
    "transformers.models.clip.modeling_clip",
    "transformers.models.t5.modeling_t5",
    "transformers.models.qwen2_vl.image_processing_qwen2_vl",
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
    "diffusers.loaders.peft",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.autoencoders.autoencoder_kl_qwenimage",
    "diffusers.models.transformers.transformer_flux",
    "diffusers.models.transformers.transformer_qwenimage",
    "diffusers.pipelines.flux.pipeline_flux",
    "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus",
    "diffusers.schedulers.scheduling_flow_match_euler_discrete",
)
"""What stages import when they open models."""


def import_libraries(*, card: bool) -> None:
    """Imports what stages need. bitsandbytes is left out off a card, as the worker leaves it out; on one it is kept from touching CUDA."""
    if card:
        _import_bitsandbytes()
    else:
        cast("dict[str, object]", sys.modules).setdefault("bitsandbytes", None)
    for stage in STAGES.values():
        _try(stage.body.partition(":")[0])
    for name in _COMMON:
        _try(name)


def _try(module: str) -> None:
    """A library that is broken here may be one that the coming stage needs nothing of; one that needs it says what is wrong."""
    with suppress(Exception):
        importlib.import_module(module)


def _import_bitsandbytes() -> None:
    """bitsandbytes asks PyTorch for the card's capability, which initializes CUDA: the driver's library answers instead."""
    import torch

    ask = torch.cuda.get_device_capability
    torch.cuda.get_device_capability = lambda device=None: _capability()
    try:
        _try("bitsandbytes")
    finally:
        torch.cuda.get_device_capability = ask


def _capability() -> tuple[int, int]:
    """The compute capability of the first card, from NVML, which needs no CUDA; (8, 0) where it cannot be read."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 8, 0
    card, major, minor = ctypes.c_void_p(), ctypes.c_int(8), ctypes.c_int(0)
    nvml.nvmlInit_v2()
    if nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(card)) == 0:
        nvml.nvmlDeviceGetCudaComputeCapability(card, ctypes.byref(major), ctypes.byref(minor))
    nvml.nvmlShutdown()
    return major.value, minor.value
