"""What a Qwen-Image-Edit transformer can wear. Every trainer uses its modules' own names; FLUX shares some of them, and their shapes."""

import re
from collections.abc import Sequence
from pathlib import Path

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_header import read_header, refused
from flenwheel_core.adapters.lora_reading import LoraHost, WornLora, read_loras
from flenwheel_core.adapters.targets import ModelLinears
from flenwheel_core.models.qwen_image.adapter import TARGETS, linear_shapes_of
from flenwheel_core.transformer.shell import transformer_config

FAMILY = "Qwen-Image"
_FLUX_DOUBLE_BLOCKS = 19
_BLOCK = re.compile(r"(?:^|[._])transformer_blocks[._](\d+)[._]")


def read_editor_loras(files: Sequence[LoraFile], folder: Path) -> tuple[WornLora, ...]:
    """The LoRAs in some files, for the editor in `folder`. Raises InputError in one sentence; nothing of the model is loaded."""
    if not files:
        return ()
    config = transformer_config(folder)
    for file in files:
        _refuse_look_alike(file, int(config["num_layers"]))
    return read_loras(files, LoraHost(FAMILY, linear_shapes_of(config), {}))


def _refuse_look_alike(file: LoraFile, layers: int) -> None:
    """A FLUX LoRA on the attention of its double blocks fits by names and shapes: it is known by its blocks, all 19 and no other."""
    header = read_header(file.path)
    blocks = {int(found[1]) for module in header.tensors if (found := _BLOCK.search(module))}
    if header.family is None and layers > _FLUX_DOUBLE_BLOCKS and blocks == set(range(_FLUX_DOUBLE_BLOCKS)):
        raise refused(
            header.name,
            f"it covers the {_FLUX_DOUBLE_BLOCKS} double blocks of FLUX and none of this model's other {layers - _FLUX_DOUBLE_BLOCKS}.",
            "If it is one of Qwen-Image, write modelspec.architecture = qwen-image/lora into its metadata.",
        )


def model_linears(folder: Path) -> ModelLinears:
    """What a LoRA may sit on in the transformer of a Qwen-Image folder; nothing is loaded."""
    return ModelLinears(linear_shapes_of(transformer_config(folder)), TARGETS)
