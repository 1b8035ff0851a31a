"""Qwen2.5-VL for many pictures of one size: static shapes, no loop over pictures, no wait for the device.

Equal to transformers' own forward for pictures of 128x128 (a test compares them), but it can be captured as a CUDA graph. For training.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from flenwheel_core.nano.models.vlm import GRID, IMAGE_TOKENS, MERGE, PATCH_PX

MERGED = GRID // MERGE


def patches_of(pixels: Tensor) -> Tensor:
    """(batch, 3, 128, 128) to (batch, patches, 3 * PATCH_PX * PATCH_PX), the patches of a merged token side by side."""
    batch = pixels.shape[0]
    blocks = pixels.reshape(batch, 3, MERGED, MERGE, PATCH_PX, MERGED, MERGE, PATCH_PX)
    return blocks.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(batch, GRID * GRID, -1)


def vision_angles(head: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine (patches, head) of the axial rotary embedding, for the patches in the order of `patches_of`."""
    line = torch.arange(GRID, device=device)
    places = torch.stack(torch.meshgrid(line, line, indexing="ij"))
    places = places.reshape(2, MERGED, MERGE, MERGED, MERGE).permute(0, 1, 3, 2, 4).reshape(2, -1)
    quarter = head // 4
    frequencies = 1.0 / 10_000.0 ** (torch.arange(0, 2 * quarter, 2, device=device).float() / (2 * quarter))
    angles = torch.cat((places[0, :, None] * frequencies, places[1, :, None] * frequencies), dim=-1)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def image_features(model: Qwen2_5_VLForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Pictures (batch, 3, 128, 128) in [-1, 1] to their 16 tokens (batch, 16, hidden)."""
    visual = model.model.visual
    kernel = visual.patch_embed.proj.weight
    # The two frames of a still picture are the same, so the kernel may be summed over time.
    x = F.linear(patches_of(pixels).to(kernel.dtype), kernel.sum(2).flatten(1))
    batch, patches, width = x.shape
    heads = model.config.vision_config.num_heads
    cos, sin = vision_angles(width // heads, x.device)
    for block in visual.blocks:
        query, key, value = block.attn.qkv(block.norm1(x)).view(batch, patches, 3, heads, -1).permute(2, 0, 3, 1, 4)
        query, key = _turned(query, cos, sin), _turned(key, cos, sin)
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + block.attn.proj(attended.transpose(1, 2).reshape(batch, patches, width))
        x = x + block.mlp(block.norm2(x))
    tokens: Tensor = visual.merger(x.reshape(batch * patches, width))
    return tokens.view(batch, IMAGE_TOKENS, -1)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    return (x.float() * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


def positions_of(input_ids: Tensor, image_token: int) -> Tensor:
    """Time, row and column (3, batch, tokens) of each token: a picture takes four places in the text, its tokens a 4x4 grid."""
    is_picture = input_ids == image_token
    before = is_picture.long().cumsum(-1)
    number = before - is_picture.long()
    within = number % IMAGE_TOKENS
    place = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
    saved = (number // IMAGE_TOKENS) * (IMAGE_TOKENS - MERGED)
    start = place - within - saved
    text = place - saved
    row, column = start + within // MERGED, start + within % MERGED
    return torch.stack(
        (
            torch.where(is_picture, start, text),
            torch.where(is_picture, row, text),
            torch.where(is_picture, column, text),
        )
    )


def text_hidden(model: Qwen2_5_VLForConditionalGeneration, input_ids: Tensor, features: Tensor) -> Tensor:
    """Last hidden states (batch, tokens, hidden) of right-padded prompts (batch, tokens).

    `features` (batch, pictures * 16, hidden) are the pictures' tokens in the order in which prompts name them; a row whose
    prompt names fewer pictures uses its first ones.
    """
    image_token = model.config.image_token_id
    language = model.model.language_model
    is_picture = input_ids == image_token
    x = language.embed_tokens(input_ids)
    which = (is_picture.long().cumsum(-1) - 1).clamp(0, features.shape[1] - 1)
    placed = features.to(x.dtype).gather(1, which[..., None].expand(-1, -1, x.shape[-1]))
    x = torch.where(is_picture[..., None], placed, x)
    positions = positions_of(input_ids, image_token)
    angles = language.rotary_emb(x, positions)
    for layer in language.layers:
        output = layer(x, attention_mask=None, position_embeddings=angles)
        x = output[0] if isinstance(output, tuple) else output
    hidden: Tensor = language.norm(x)
    return hidden
