"""The original layout of Black Forest Labs, as kohya's trainer names it: fused qkv, and linear1/linear2 in single blocks."""

import re
from collections.abc import Mapping, Sequence

import torch

from flenwheel_core.base.errors import InputError

# The original layout of Black Forest Labs, as kohya's trainer names it: fused qkv, and linear1/linear2 in single blocks.

DOUBLE = {
    "attn.to_out.0": "img_attn_proj",
    "attn.to_add_out": "txt_attn_proj",
    "ff.net.0.proj": "img_mlp_0",
    "ff.net.2": "img_mlp_2",
    "ff_context.net.0.proj": "txt_mlp_0",
    "ff_context.net.2": "txt_mlp_2",
    "norm1.linear": "img_mod_lin",
    "norm1_context.linear": "txt_mod_lin",
}


DOUBLE_FUSED = {
    "img_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}


SINGLE = {"proj_out": "linear2", "norm.linear": "modulation_lin"}


SINGLE_FUSED = {"linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")}


OUTER = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in_in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in_out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in_in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in_out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in_in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in_out_layer",
    "proj_out": "final_layer_linear",
}


_NAME = re.compile(r"^(single_)?transformer_blocks\.(\d+)\.(.+)$")


def kohya_tensors(
    weights: Mapping[str, torch.Tensor], scales: Mapping[str, float], widths: Mapping[str, int]
) -> dict[str, torch.Tensor]:
    """The LoRA in kohya's names.

    `weights` in PEFT's names, `scales` the factor of each module, `widths` the outputs of every linear of a block.
    Fused linears get the parts' A matrices stacked and a block-diagonal B; a part without adapter stays zero. The scale
    goes into `alpha`, so that alpha/rank is the scale. A DoRA's magnitudes become `dora_scale`.
    Raises InputError for what that layout cannot say: a linear that it has no name for, magnitudes of a part of a fused linear.
    """
    magnitudes = {
        n.partition(".lora_magnitude_vector")[0]: w for n, w in weights.items() if ".lora_magnitude_vector" in n
    }
    downs = {n.removesuffix(".lora_A.default.weight"): w for n, w in weights.items() if ".lora_A." in n}
    ups = {n.removesuffix(".lora_B.default.weight"): w for n, w in weights.items() if ".lora_B." in n}
    tensors: dict[str, torch.Tensor] = {}

    def put(name: str, down: torch.Tensor, up: torch.Tensor, scale: float, modules: Sequence[str]) -> None:
        tensors[f"{name}.lora_down.weight"] = down.contiguous()
        tensors[f"{name}.lora_up.weight"] = up.contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(scale * down.shape[0])
        known = [magnitudes[module].reshape(-1, 1) for module in modules if module in magnitudes]
        if known and len(known) < len(modules):
            raise InputError(
                "This DoRA has no place in kohya's layout.",
                why=f"{name} is one linear there, and only a part of it has magnitudes.",
                remedy="Train on all of attention and mlp, or without dora.",
            )
        if known:
            tensors[f"{name}.dora_scale"] = torch.cat(known)

    blocks: dict[tuple[bool, int], set[str]] = {}
    for module in downs:
        match = _NAME.match(module)
        if module in OUTER:
            put(f"lora_unet_{OUTER[module]}", downs[module], ups[module], scales[module], [module])
            continue
        if match is None:
            raise InputError(
                "This LoRA has no place in kohya's layout.",
                why=f"{module} has no name there.",
                remedy="Leave it out of train.lora.include.",
            )
        blocks.setdefault((bool(match[1]), int(match[2])), set()).add(match[3])
    for (single, index), parts in blocks.items():
        stem = f"{'single_' if single else ''}transformer_blocks.{index}."
        prefix = f"lora_unet_{'single' if single else 'double'}_blocks_{index}_"
        for part, target in (SINGLE if single else DOUBLE).items():
            if part in parts:
                put(prefix + target, downs[stem + part], ups[stem + part], scales[stem + part], [stem + part])
        for target, members in (SINGLE_FUSED if single else DOUBLE_FUSED).items():
            present = [member for member in members if member in parts]
            if not present:
                continue
            down = torch.cat([downs[stem + member] for member in present])
            up = torch.zeros(sum(widths[stem + member] for member in members), down.shape[0])
            row = column = 0
            for member in members:
                if member in present:
                    matrix = ups[stem + member]
                    # Parts may differ in scale; what differs from the first goes into B.
                    factor = scales[stem + member] / scales[stem + present[0]]
                    up[row : row + matrix.shape[0], column : column + matrix.shape[1]] = matrix * factor
                    column += matrix.shape[1]
                row += widths[stem + member]
            put(prefix + target, down, up, scales[stem + present[0]], [stem + member for member in members])
    return tensors
