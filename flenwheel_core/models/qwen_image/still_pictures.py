"""The autoencoder for single pictures: its convolutions over time see one frame, and what they multiply beside it is left out.

The autoencoder was made for films. Before the first frame it puts empty ones, so that two of three frames a convolution multiplies are
zeros. What is left is a convolution over the picture with the last slice of each kernel: the same numbers but for rounding.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage


def for_single_pictures(vae: "AutoencoderKLQwenImage") -> None:
    """Makes the autoencoder faster with one frame; with more it computes as before."""
    from diffusers.models.autoencoders.autoencoder_kl_qwenimage import QwenImageCausalConv3d

    class PictureConvolution(QwenImageCausalConv3d):  # type: ignore[misc]
        def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
            if cache_x is not None or x.shape[2] != 1:
                return super().forward(x, cache_x)
            beside, above = self._padding[0], self._padding[2]
            last = self.weight[:, :, -1]
            found = torch.nn.functional.conv2d(x[:, :, 0], last, self.bias, self.stride[1:], (above, beside))
            return found[:, :, None]

    for module in vae.modules():
        if type(module) is QwenImageCausalConv3d:
            module.__class__ = PictureConvolution
