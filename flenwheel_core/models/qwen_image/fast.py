"""The Qwen-Image-Edit transformer for speed: frozen weights in bf16, fp8 or NF4, adapters grouped, blocks compiled, cuDNN attention.

Equality with diffusers is tested. Not covered: padded prompts of different lengths in one batch (a mask costs the fast kernels: train with
batch size 1); those run on diffusers' own modules.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flenwheel_core.kernels.heads import Rope
from flenwheel_core.models.qwen_image.blocks import Kept, Pictures, attend, enter, halves, leave
from flenwheel_core.transformer.blocks import DoubleWeights
from flenwheel_core.transformer.fast import BlockLayout, Config, FastTransformer, fast_names, of_any_length
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import outer_parts
from flenwheel_core.transformer.sources import WeightSource

MEMBERS = {
    "qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "text_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "out": ("attn.to_out.0",),
    "text_out": ("attn.to_add_out",),
    "up": ("img_mlp.net.0.proj",),
    "down": ("img_mlp.net.2",),
    "text_up": ("txt_mlp.net.0.proj",),
    "text_down": ("txt_mlp.net.2",),
}
_NORMS = ("attn.norm_q", "attn.norm_k", "attn.norm_added_q", "attn.norm_added_k")
_MODULATIONS = ("img_mod.1", "txt_mod.1")
FAST_NAMES = fast_names(MEMBERS)
"""Endings of the linears that may have an adapter here."""
TEXT_STEP = 128
"""Prompts are padded to a multiple of so many tokens, outside of attention: one compiled block serves many lengths."""


class FastQwen(FastTransformer):
    """Qwen-Image's blocks, each run in two halves with the attention between them."""

    def __init__(self, config: Config, source: WeightSource, plan: FastPlan, adapters: AdapterPlan) -> None:
        from diffusers import QwenImageTransformer2DModel

        rest = outer_parts(QwenImageTransformer2DModel, {**config, "num_layers": 0}, source)
        rest.pos_embed = _positions(config)
        layers = int(config["num_layers"])
        layout = BlockLayout("transformer_blocks", layers, DoubleWeights, MEMBERS, _NORMS, _MODULATIONS)
        functions: dict[str, Callable[..., Any]] = {"enter": enter, "leave": leave}
        heads = int(config["num_attention_heads"])
        super().__init__(rest, heads, (layout,), functions, source, plan, adapters)
        self.keep_attention = 0
        """Of the recomputed blocks this many keep attention's output: small to store, costly to recompute."""
        self._ropes: dict[tuple[tuple[tuple[int, int, int], ...], int], Rope] = {}

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        img_shapes: Sequence[Sequence[tuple[int, int, int]]],
        encoder_hidden_states_mask: Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """As QwenImageTransformer2DModel.forward; always returns a tuple. Raises ValueError for padded prompts."""
        if encoder_hidden_states_mask is not None:
            raise ValueError("padded prompts need diffusers' own transformer")
        # Gradients for the prompt, where injection learns it, and only there.
        with torch.set_grad_enabled(torch.is_grad_enabled() and encoder_hidden_states.requires_grad):
            text = self.rest.txt_in(self.rest.txt_norm(encoder_hidden_states))
            tokens = hidden_states.shape[1] + text.shape[1]
            text = torch.nn.functional.pad(text, (0, 0, 0, -text.shape[1] % TEXT_STEP))
        with torch.no_grad():
            picture = self.rest.img_in(hidden_states)
            time = timestep.to(picture.dtype)
            pictures: Pictures = (picture,)
            own = math.prod(img_shapes[0][0])
            if (
                self.rest.config.zero_cond_t and own < picture.shape[1]
            ):  # references are clean: for them it is the end of time
                pictures = picture[:, :own].clone(), picture[:, own:].clone()
                time = torch.cat([time, torch.zeros_like(time)])
            time = self.rest.time_text_embed(time, picture)
            rope = self._rope(img_shapes, text.shape[1], picture.device)
            silu = torch.nn.functional.silu(time)
            batch = len(hidden_states)
        for index, block in enumerate(self.blocks[0]):
            with torch.no_grad():
                modulate = self.run["modulation"]
                shifts = modulate(silu, block.modulations[0]), modulate(silu[:batch], block.modulations[1])
            recompute = index < self.recompute[0]
            keeps = recompute and index < self.keep_attention and torch.is_grad_enabled()
            kept: Kept | None = [] if keeps else None
            run = partial(self._block, rope=rope, weights=self.chosen(block), tokens=tokens, kept=kept)
            pictures, text = self.call(run, (pictures, text, shifts), recompute=recompute)
        picture = pictures[0] if len(pictures) == 1 else torch.cat(pictures, 1)
        return (self.rest.proj_out(self.rest.norm_out(picture, time[:batch])),)

    def _block(
        self,
        pictures: Pictures,
        text: Tensor,
        modulations: tuple[Tensor, Tensor],
        *,
        rope: Rope,
        weights: DoubleWeights,
        tokens: int,
        kept: Kept | None,
    ) -> tuple[Pictures, Tensor]:
        """`tokens` counts picture and real text; what follows is padding."""
        entry, exit_ = halves(weights)
        q, k, v = self.run["enter"](pictures, text, modulations, rope, entry, self.options)
        y = attend(q, k, v, tokens, kept, cudnn=self.options.cudnn)
        changed: tuple[Pictures, Tensor] = self.run["leave"](pictures, text, y, modulations, exit_, self.options)
        return changed

    def _rope(self, shapes: Sequence[Sequence[tuple[int, int, int]]], text_tokens: int, device: torch.device) -> Rope:
        """Cosines and sines (picture and text tokens, channels of a head)."""
        key = (tuple(shapes[0]), text_tokens)
        if key not in self._ropes:
            picture, text = self.rest.pos_embed([list(shapes[0])], max_txt_seq_len=text_tokens, device=device)
            turns = torch.cat([picture, text])
            rope = turns.real.float().repeat_interleave(2, -1), turns.imag.float().repeat_interleave(2, -1)
            self._ropes[key] = of_any_length(rope)
        return self._ropes[key]


def _positions(config: Mapping[str, Any]) -> torch.nn.Module:
    """The rotary tables, which are no part of the weights: made by a transformer that has little else."""
    from diffusers import QwenImageTransformer2DModel

    small = {**config, "num_layers": 0, "num_attention_heads": 1, "joint_attention_dim": 8}
    positions: torch.nn.Module = QwenImageTransformer2DModel.from_config(small).pos_embed
    return positions
