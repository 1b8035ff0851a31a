"""The FLUX.2 transformer for training LoRAs and for wearing them on quantised weights.

Behaves like diffusers' Flux2Transformer2DModel towards drawing and training; equality is tested. Modulation is shared by all blocks of
a kind, so it is computed once a call, by the parts outside of the blocks. Not covered beside what no fast transformer covers: keys and
values of references that are kept between calls (klein's KV pipeline).
"""

from collections.abc import Callable
from typing import Any

import torch

from flenwheel_core.transformer.blocks import DoubleWeights, SingleWeights, double_block, single_block
from flenwheel_core.transformer.fast import BlockLayout, Config, FastTransformer, fast_names, of_any_length
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import outer_parts
from flenwheel_core.transformer.sources import WeightSource

_DOUBLE = {
    "qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "text_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "out": ("attn.to_out.0",),
    "text_out": ("attn.to_add_out",),
    "up": ("ff.linear_in",),
    "down": ("ff.linear_out",),
    "text_up": ("ff_context.linear_in",),
    "text_down": ("ff_context.linear_out",),
}
_SINGLE = {"qkv_mlp": ("attn.to_qkv_mlp_proj",), "out": ("attn.to_out",)}
_DOUBLE_NORMS = ("attn.norm_q", "attn.norm_k", "attn.norm_added_q", "attn.norm_added_k")
_SINGLE_NORMS = ("attn.norm_q", "attn.norm_k")
FAST_NAMES = fast_names(_DOUBLE, _SINGLE)
"""Endings of the linears that FastFlux2 can put an adapter on."""


class FastFlux2(FastTransformer):
    """FLUX.2's double and single blocks."""

    def __init__(self, config: Config, source: WeightSource, plan: FastPlan, adapters: AdapterPlan) -> None:
        from diffusers import Flux2Transformer2DModel

        double, single = int(config["num_layers"]), int(config["num_single_layers"])
        rest = outer_parts(Flux2Transformer2DModel, {**config, "num_layers": 0, "num_single_layers": 0}, source)
        layouts = (
            BlockLayout("transformer_blocks", double, DoubleWeights, _DOUBLE, _DOUBLE_NORMS),
            BlockLayout("single_transformer_blocks", single, SingleWeights, _SINGLE, _SINGLE_NORMS),
        )
        functions: dict[str, Callable[..., Any]] = {"double": double_block, "single": single_block}
        super().__init__(rest, int(config["num_attention_heads"]), layouts, functions, source, plan, adapters)
        self.options = self.options._replace(gated=True)

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        img_ids: torch.Tensor,
        txt_ids: torch.Tensor,
        guidance: torch.Tensor | None = None,
        return_dict: bool = False,
    ) -> tuple[torch.Tensor]:
        """As Flux2Transformer2DModel.forward, positions (tokens, 4) or with a batch before; always returns a tuple."""
        rest = self.rest
        with torch.no_grad():
            picture = rest.x_embedder(hidden_states)
            text = rest.context_embedder(encoder_hidden_states)
            time = timestep.to(picture.dtype) * 1000
            extra = None if guidance is None else guidance.to(picture.dtype) * 1000
            temb = rest.time_guidance_embed(time, extra)
            shifts = rest.double_stream_modulation_img(temb), rest.double_stream_modulation_txt(temb)
            single_shifts = rest.single_stream_modulation(temb)
            rope = of_any_length(rest.pos_embed(torch.cat([_plain(txt_ids), _plain(img_ids)])))
        double, single = self.blocks
        for index, block in enumerate(double):
            arguments = (picture, text, *shifts, rope, self.chosen(block), self.options)
            picture, text = self.call(self.run["double"], arguments, recompute=index < self.recompute[0])
        x = torch.cat([text, picture], dim=1)
        for index, block in enumerate(single):
            inputs = (x, single_shifts, rope, self.chosen(block), self.options)
            x = self.call(self.run["single"], inputs, recompute=index < self.recompute[1])
        return (rest.proj_out(rest.norm_out(x[:, text.shape[1] :], temb)),)


def _plain(ids: torch.Tensor) -> torch.Tensor:
    """Positions (tokens, 4): all pictures of a batch have the same."""
    return ids[0] if ids.ndim == 3 else ids
