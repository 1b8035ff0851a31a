"""CSD, contrastive style descriptors (Somepalli et al. 2024): a vision transformer that tells who paints alike.

Weights come from a folder of one's own with `model.safetensors`, in the layout that its authors publish. The network is written out
here, since theirs needs a package that is on no index. Pictures are read at 336 pixels, which tells artists apart better than 224.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from flenwheel_core.base.errors import MissingWeightsError, first_line

if TYPE_CHECKING:
    from torch import Tensor

FILE = "model.safetensors"
STYLE_LAYER = "last_layer_style"
SIDE_PX = 336
BATCH = 8
_HEAD = 64
"""Width of an attention head in every vision transformer of CLIP."""
_MEAN, _SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's pictures."""
_BLOCKS = "transformer.resblocks."
_BOTH = ("weight", "bias")
_BLOCK = (
    *(f"attn.in_proj_{one}" for one in _BOTH),
    *(f"{part}.{one}" for part in ("attn.out_proj", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj") for one in _BOTH),
)
_ENDS = (
    *("class_embedding", "positional_embedding", "conv1.weight"),
    *(f"{part}.{one}" for part in ("ln_pre", "ln_post") for one in _BOTH),
)
Vectors = NDArray[np.float64]


class StyleDescriptors:
    """A CSD model on the CPU."""

    def __init__(self, folder: Path) -> None:
        """Raises MissingWeightsError for a folder without its weights."""
        self._weights = _read(folder)
        self._patch = int(self._weights["conv1.weight"].shape[-1])
        self._heads = max(1, int(self._weights["class_embedding"].shape[0]) // _HEAD)
        self._layers = len([name for name in self._weights if name.endswith("attn.in_proj_weight")])

    def embed(self, images: Sequence[Image.Image]) -> Vectors:
        """(pictures, dimensions), rows of unit length."""
        import torch

        found = []
        side = SIDE_PX // self._patch * self._patch
        for start in range(0, len(images), BATCH):
            pixels = np.stack([_pixels(image, side) for image in images[start : start + BATCH]])
            with torch.inference_mode():
                vectors = self._vectors(torch.from_numpy(pixels)).double().numpy()
            found.append(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
        return np.concatenate(found)

    def _vectors(self, pixels: "Tensor") -> "Tensor":
        import torch
        from torch.nn import functional

        weights = self._weights
        patches = functional.conv2d(pixels, weights["conv1.weight"], stride=self._patch)
        side = patches.shape[-1]
        first = weights["class_embedding"].expand(len(pixels), 1, -1)
        tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], 1) + self._positions(side)
        tokens = self._normed(tokens, "ln_pre")
        for layer in range(self._layers):
            name = f"{_BLOCKS}{layer}."
            tokens = tokens + self._attention(self._normed(tokens, f"{name}ln_1"), f"{name}attn.")
            wide = self._linear(self._normed(tokens, f"{name}ln_2"), f"{name}mlp.c_fc")
            tokens = tokens + self._linear(wide * torch.sigmoid(1.702 * wide), f"{name}mlp.c_proj")
        return self._normed(tokens[:, 0], "ln_post") @ weights[STYLE_LAYER]

    def _attention(self, tokens: "Tensor", name: str) -> "Tensor":
        from torch.nn import functional

        weights = self._weights
        three = functional.linear(tokens, weights[f"{name}in_proj_weight"], weights[f"{name}in_proj_bias"])
        parts = [one.unflatten(-1, (self._heads, -1)).transpose(1, 2) for one in three.chunk(3, -1)]
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self._linear(mixed.transpose(1, 2).flatten(2), f"{name}out_proj")

    def _linear(self, tokens: "Tensor", name: str) -> "Tensor":
        from torch.nn import functional

        return functional.linear(tokens, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normed(self, tokens: "Tensor", name: str) -> "Tensor":
        from torch.nn import functional

        weight = self._weights[f"{name}.weight"]
        return functional.layer_norm(tokens, weight.shape, weight, self._weights[f"{name}.bias"])

    def _positions(self, side: int) -> "Tensor":
        """Those that were learned, between them where the picture is larger."""
        import torch
        from torch.nn import functional

        learned = self._weights["positional_embedding"]
        known = round((len(learned) - 1) ** 0.5)
        grid = learned[1:].T.unflatten(1, (known, known))[None]
        if known != side:
            grid = functional.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
        return torch.cat([learned[:1], grid[0].flatten(1).T])


def _read(folder: Path) -> Mapping[str, "Tensor"]:
    """The backbone's weights by their names in it, and the layer of style."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        given = load_file(folder / FILE)
    except (OSError, SafetensorError) as error:
        raise _unusable(folder, f"its {FILE} cannot be read ({first_line(error)}).") from error
    plain = {name.removeprefix("module."): tensor.float() for name, tensor in given.items()}
    found = {name.removeprefix("backbone."): tensor for name, tensor in plain.items() if name.startswith("backbone.")}
    numbers = [name.removeprefix(_BLOCKS).partition(".")[0] for name in found if name.startswith(_BLOCKS)]
    layers = 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)
    needed = (*_ENDS, *(f"{_BLOCKS}{layer}.{part}" for layer in range(layers) for part in _BLOCK))
    missing = [f"backbone.{name}" for name in needed if name not in found]
    if STYLE_LAYER not in plain or missing:
        further = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise _unusable(folder, f"its {FILE} has no {missing[0] if missing else STYLE_LAYER}{further}.")
    width = len(found["class_embedding"])
    if width % _HEAD or len(plain[STYLE_LAYER]) != width:
        raise _unusable(folder, f"its backbone is {width} wide, and its {STYLE_LAYER} reads {len(plain[STYLE_LAYER])}.")
    return {**found, STYLE_LAYER: plain[STYLE_LAYER]}


def _unusable(folder: Path, why: str) -> MissingWeightsError:
    return MissingWeightsError(
        f"{folder} is no folder of a CSD model.",
        why=why,
        remedy=f"Give a folder with {FILE} of CSD ViT-L (backbone and {STYLE_LAYER}) as models.csd, or leave it out.",
    )


def _pixels(image: Image.Image, side: int) -> NDArray[np.float32]:
    """(3, side, side), the middle of the picture, as CLIP's pictures are scaled."""
    fitted = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
    values = np.asarray(fitted, np.float32) / 255
    return np.ascontiguousarray(
        ((values - np.asarray(_MEAN, np.float32)) / np.asarray(_SPREAD, np.float32)).transpose(2, 0, 1)
    )
