"""What the linears of a FLUX.2 transformer are called: in recipes, by diffusers, and by Black Forest Labs (ComfyUI, most trainers)."""

from collections.abc import Mapping

from flenwheel_core.adapters.lora_file import UiNames
from flenwheel_core.adapters.targets import TargetNames

FAMILY_NAME = "FLUX.2"
TARGETS = TargetNames(
    groups={
        "attention": ("transformer_blocks.*.attn.*", "single_transformer_blocks.*.attn.*"),
        "mlp": (
            "transformer_blocks.*.ff.linear_*",
            "transformer_blocks.*.ff_context.linear_*",
            "single_transformer_blocks.*.attn.*",
        ),
        "modulation": ("*_stream_modulation*.linear",),
        "embedders": ("x_embedder", "context_embedder"),
    },
    blocks={"double": "transformer_blocks", "single": "single_transformer_blocks"},
)
"""In single blocks attention and MLP are one linear each way: either group takes both, and q, k, v and MLP share one rank."""
UI_NAMES = UiNames("flux-2-klein/lora", "flux2_klein", "networks.lora_flux_2")

DOUBLE: Mapping[str, tuple[str, ...]] = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.linear_in",),
    "img_mlp.2": ("ff.linear_out",),
    "txt_mlp.0": ("ff_context.linear_in",),
    "txt_mlp.2": ("ff_context.linear_out",),
}
"""For each linear of BFL's double blocks the linears of diffusers that it holds, their rows one below the other."""
SINGLE: Mapping[str, tuple[str, ...]] = {"linear1": ("attn.to_qkv_mlp_proj",), "linear2": ("attn.to_out",)}
OUTER: Mapping[str, str] = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
    "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
    "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear",
    "single_stream_modulation.lin": "single_stream_modulation.linear",
    "final_layer.linear": "proj_out",
}
BLOCKS = (("transformer_blocks", "double_blocks", DOUBLE), ("single_transformer_blocks", "single_blocks", SINGLE))
"""diffusers' module list, BFL's, and what is inside."""
