"""FLUX.1's transformer as one file in the layout of Black Forest Labs, as ComfyUI loads it from `diffusion_models`."""

from collections.abc import Collection, Iterator

from flenwheel_core.adapters.merging import Part
from flenwheel_core.models.flux1.bfl_layout import OUTER

_DOUBLE = {
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
_DOUBLE_NORMS = {
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
}
_SINGLE = {
    "modulation.lin": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}
_SINGLE_NORMS = {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}
_OUTER = {
    "img_in": "img_in",
    "txt_in": "txt_in",
    "time_in_in_layer": "time_in.in_layer",
    "time_in_out_layer": "time_in.out_layer",
    "vector_in_in_layer": "vector_in.in_layer",
    "vector_in_out_layer": "vector_in.out_layer",
    "guidance_in_in_layer": "guidance_in.in_layer",
    "guidance_in_out_layer": "guidance_in.out_layer",
    "final_layer_linear": "final_layer.linear",
}
"""kohya's names, whose underscores say nothing of the dots."""


def parts(names: Collection[str]) -> list[Part]:
    """All tensors of the file, made of the tensors `names` of a diffusers folder; each of those is used once."""
    made = [part for part in _all(names) if all(source in names for source in part.sources)]
    used = [source for part in made for source in part.sources]
    assert sorted(used) == sorted(names), set(names) ^ set(used)
    return made


def _all(names: Collection[str]) -> Iterator[Part]:
    for stem, table, norms, short in (
        ("transformer_blocks", _DOUBLE, _DOUBLE_NORMS, "double_blocks"),
        ("single_transformer_blocks", _SINGLE, _SINGLE_NORMS, "single_blocks"),
    ):
        for index in sorted({int(name.split(".")[1]) for name in names if name.startswith(f"{stem}.")}):
            for target, sources in table.items():
                for kind in ("weight", "bias"):
                    yield Part(
                        f"{short}.{index}.{target}.{kind}",
                        tuple(f"{stem}.{index}.{source}.{kind}" for source in sources),
                    )
            for target, source in norms.items():
                yield Part(f"{short}.{index}.{target}.scale", (f"{stem}.{index}.{source}.weight",))
    for kind in ("weight", "bias"):
        for source, target in OUTER.items():
            yield Part(f"{_OUTER[target]}.{kind}", (f"{source}.{kind}",))
        yield Part(f"final_layer.adaLN_modulation.1.{kind}", (f"norm_out.linear.{kind}",), halves_swapped=True)
