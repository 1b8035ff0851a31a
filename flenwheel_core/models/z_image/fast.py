"""The Z-Image transformer for training LoRAs and for wearing them on quantised weights.

Behaves like diffusers' ZImageTransformer2DModel towards drawing and training; equality is tested. Not covered beside what no fast
transformer covers: references and noisy tokens told apart (the "omni" mode).
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from flenwheel_core.base.errors import InputError
from flenwheel_core.kernels.heads import Rope
from flenwheel_core.models.z_image.blocks import EPS, ZWeights, modulated_block, plain_block
from flenwheel_core.transformer.fast import BlockLayout, Config, FastTransformer, fast_names, of_any_length
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import outer_parts
from flenwheel_core.transformer.sources import WeightSource

MEMBERS = {
    "qkv": ("attention.to_q", "attention.to_k", "attention.to_v"),
    "out": ("attention.to_out.0",),
    "up": ("feed_forward.w1", "feed_forward.w3"),
    "down": ("feed_forward.w2",),
}
_NORMS = ("attention.norm_q", "attention.norm_k", "attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2")
_MODULATION = ("adaLN_modulation.0",)
FAST_NAMES = fast_names(MEMBERS)
"""Endings of the linears that FastZImage can put an adapter on."""
TOKEN_STEP = 32
"""Text and picture are each padded to a multiple of so many tokens, by a token that was learned for it."""
_PATCH = "2-1"
"""Patches of 2 x 2 of one frame: the only ones that models were released with."""


class FastZImage(FastTransformer):
    """Z-Image's blocks: those of the picture alone, those of the text alone, and those of both."""

    def __init__(self, config: Config, source: WeightSource, plan: FastPlan, adapters: AdapterPlan) -> None:
        from diffusers import ZImageTransformer2DModel

        if float(config.get("norm_eps", EPS)) != EPS:
            raise InputError(
                f"This Z-Image's norms have an epsilon of {config['norm_eps']}.",
                why=f"its blocks are computed with {EPS}, as those of the released models.",
                remedy="Name a released model in the recipe's [models].",
            )
        rest = outer_parts(ZImageTransformer2DModel, {**config, "n_layers": 0, "n_refiner_layers": 0}, source)
        layers, refiners = int(config["n_layers"]), int(config["n_refiner_layers"])
        layouts = (
            BlockLayout("layers", layers, ZWeights, MEMBERS, _NORMS, _MODULATION),
            BlockLayout("noise_refiner", refiners, ZWeights, MEMBERS, _NORMS, _MODULATION),
            BlockLayout("context_refiner", refiners, ZWeights, MEMBERS, _NORMS),
        )
        functions: dict[str, Callable[..., Any]] = {"modulated": modulated_block, "plain": plain_block}
        super().__init__(rest, int(config["n_heads"]), layouts, functions, source, plan, adapters)

    def forward(
        self, x: Sequence[Tensor], t: Tensor, cap_feats: Sequence[Tensor], return_dict: bool = False
    ) -> tuple[list[Tensor]]:
        """As ZImageTransformer2DModel.forward: lists of latents (channels, 1, height, width) and of texts (tokens, channels)."""
        texts = [padded(text) for text in cap_feats]
        if len({len(text) for text, _ in texts}) > 1:  # no mask: each alone, where padding would reach others
            each = [self.forward([one], t[i : i + 1], [cap_feats[i]])[0][0] for i, one in enumerate(x)]
            return (each,)
        latents = torch.stack([one[:, 0] for one in x])
        text, padding = (torch.stack(parts) for parts in zip(*texts, strict=True))
        return ([one[:, None] for one in self.predict(latents, t, text, padding)],)

    def predict(self, latents: Tensor, t: Tensor, text: Tensor, padding: Tensor) -> Tensor:
        """Latents (batch, channels, height, width) at times t (batch,) to the same shape: picture minus noise.

        `text` (batch, tokens, channels) is padded to a multiple of TOKEN_STEP, `padding` (batch, tokens) says where.
        """
        rest = self.rest
        rows, columns = latents.shape[2] // 2, latents.shape[3] // 2
        tokens, text_tokens = rows * columns, text.shape[1]
        fill = -tokens % TOKEN_STEP
        with torch.no_grad():
            temb = rest.t_embedder(t * rest.t_scale).to(latents.dtype)
            picture = rest.all_x_embedder[_PATCH](_patches(latents))
            picture = torch.cat([picture, rest.x_pad_token.expand(len(picture), fill, -1)], 1) if fill else picture
            read = torch.where(padding[..., None], rest.cap_pad_token, rest.cap_embedder(text))
            turns = rest.rope_embedder(_places(text_tokens, rows, columns, fill, latents.device))
            rope, text_rope, picture_rope = (
                _rope(part) for part in (turns, turns[tokens + fill :], turns[: tokens + fill])
            )
        layers, noise, context = self.blocks
        picture = self._through(noise, 1, picture, picture_rope, temb)
        for index, block in enumerate(context):
            inputs = (read, text_rope, self.chosen(block), self.options)
            read = self.call(self.run["plain"], inputs, recompute=index < self.recompute[2])
        both = self._through(layers, 0, torch.cat([picture, read], 1), rope, temb)
        made: Tensor = rest.all_final_layer[_PATCH](both[:, :tokens], c=temb)
        return _whole(made, rows, columns)

    def _through(self, blocks: Sequence[Any], kind: int, x: Tensor, rope: Rope, temb: Tensor) -> Tensor:
        for index, block in enumerate(blocks):
            inputs = (x, *self.modulated(temb, block), rope, self.chosen(block), self.options)
            x = self.call(self.run["modulated"], inputs, recompute=index < self.recompute[kind])
        return x


def padded(text: Tensor) -> tuple[Tensor, Tensor]:
    """A text (tokens, channels) with its last token repeated to a multiple of TOKEN_STEP, and where it was (tokens,)."""
    fill = -len(text) % TOKEN_STEP
    padding = torch.arange(len(text) + fill, device=text.device) >= len(text)
    return torch.cat([text, text[-1:].expand(fill, -1)]), padding


def _rope(turns: Tensor) -> Rope:
    """Cosines and sines (tokens, channels of a head) of turns (tokens, pairs of channels), complex."""
    return of_any_length((turns.real.repeat_interleave(2, -1), turns.imag.repeat_interleave(2, -1)))


def _places(text_tokens: int, rows: int, columns: int, fill: int, device: torch.device) -> Tensor:
    """Places (picture, its padding, text; 3): the text comes first in time, the picture after it, padding at the origin."""
    row, column = (torch.arange(side, device=device) for side in (rows, columns))
    grid = torch.stack(torch.meshgrid(row, column, indexing="ij"), -1).flatten(0, 1)
    picture = functional.pad(grid, (1, 0), value=text_tokens + 1)
    time = torch.arange(1, text_tokens + 1, device=device)[:, None]
    return torch.cat([functional.pad(picture, (0, 0, 0, fill)), functional.pad(time, (0, 2))])


def _patches(latents: Tensor) -> Tensor:
    """(batch, channels, rows * 2, columns * 2) as (batch, rows * columns, 2 * 2 * channels)."""
    parts = latents.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # batch, channels, rows, 2, columns, 2
    return parts.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def _whole(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `_patches`."""
    parts = tokens.unflatten(2, (2, 2, -1)).unflatten(1, (rows, columns))  # batch, rows, columns, 2, 2, channels
    return cast(Tensor, parts.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3))
