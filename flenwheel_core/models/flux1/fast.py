"""The FLUX.1 transformer for training LoRAs and for wearing them on quantised weights.

Behaves like diffusers' FluxTransformer2DModel towards FluxPipeline and the training task. Not covered beside what no fast transformer
covers: ControlNet inputs.
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
    "up": ("ff.net.0.proj",),
    "down": ("ff.net.2",),
    "text_up": ("ff_context.net.0.proj",),
    "text_down": ("ff_context.net.2",),
}
_SINGLE = {"qkv_mlp": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"), "out": ("proj_out",)}
_DOUBLE_NORMS = ("attn.norm_q", "attn.norm_k", "attn.norm_added_q", "attn.norm_added_k")
_SINGLE_NORMS = ("attn.norm_q", "attn.norm_k")
FAST_NAMES = fast_names(_DOUBLE, _SINGLE)
"""Endings of the linears that FastFlux can put an adapter on."""


class FastFlux(FastTransformer):
    """FLUX.1's double and single blocks."""

    def __init__(self, config: Config, source: WeightSource, plan: FastPlan, adapters: AdapterPlan) -> None:
        from diffusers import FluxTransformer2DModel

        double, single = int(config["num_layers"]), int(config["num_single_layers"])
        rest = outer_parts(FluxTransformer2DModel, {**config, "num_layers": 0, "num_single_layers": 0}, source)
        layouts = (
            BlockLayout(
                "transformer_blocks",
                double,
                DoubleWeights,
                _DOUBLE,
                _DOUBLE_NORMS,
                ("norm1.linear", "norm1_context.linear"),
            ),
            BlockLayout("single_transformer_blocks", single, SingleWeights, _SINGLE, _SINGLE_NORMS, ("norm.linear",)),
        )
        functions: dict[str, Callable[..., Any]] = {"double": double_block, "single": single_block}
        heads = int(config["num_attention_heads"])
        super().__init__(rest, heads, layouts, functions, source, plan, adapters)

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        pooled_projections: torch.Tensor,
        timestep: torch.Tensor,
        img_ids: torch.Tensor,
        txt_ids: torch.Tensor,
        guidance: torch.Tensor | None = None,
        joint_attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = False,
    ) -> tuple[torch.Tensor]:
        """As FluxTransformer2DModel.forward; always returns a tuple."""
        with torch.no_grad():
            picture = self.rest.x_embedder(hidden_states)
            text = self.rest.context_embedder(encoder_hidden_states)
            time = timestep.to(picture.dtype) * 1000
            extra = () if guidance is None else (guidance.to(picture.dtype) * 1000,)
            temb = self.rest.time_text_embed(time, *extra, pooled_projections)
            rope = of_any_length(self.rest.pos_embed(torch.cat((txt_ids, img_ids), dim=0)))
            silu = torch.nn.functional.silu(temb)
        double, single = self.blocks
        for index, block in enumerate(double):
            arguments = (picture, text, *self.modulated(silu, block), rope, self.chosen(block), self.options)
            picture, text = self.call(self.run["double"], arguments, recompute=index < self.recompute[0])
        x = torch.cat([text, picture], dim=1)
        for index, block in enumerate(single):
            arguments = (x, *self.modulated(silu, block), rope, self.chosen(block), self.options)
            x = self.call(self.run["single"], arguments, recompute=index < self.recompute[1])
        picture = self.rest.norm_out(x[:, text.shape[1] :], temb)
        return (self.rest.proj_out(picture),)
