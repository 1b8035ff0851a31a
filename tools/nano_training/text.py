"""The two text encoders as plain tensor functions, for training.

The library's own forward passes choose attention kernels and masks at run time; trained under bf16 autocast those kernels wrote out of
bounds, and their checks cannot be recorded in a CUDA graph. These functions use the same modules and give the same numbers (tested).
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTextModel, T5EncoderModel


def _heads(x: Tensor, count: int) -> Tensor:
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def clip_pooled(model: CLIPTextModel, ids: Tensor) -> Tensor:
    """Token ids (batch, tokens) -> pooled embeddings (batch, width), as `CLIPTextModel(ids).pooler_output`."""
    text = getattr(model, "text_model", model)
    config = model.config
    tokens = ids.shape[1]
    x = text.embeddings.token_embedding(ids) + text.embeddings.position_embedding.weight[:tokens]
    causal = torch.full((tokens, tokens), float("-inf"), device=ids.device).triu(1)
    for layer in text.encoder.layers:
        attention = layer.self_attn
        h = layer.layer_norm1(x)
        q, k, v = (
            _heads(p(h), config.num_attention_heads) for p in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5 + causal
        h = scores.softmax(-1).to(v.dtype) @ v
        x = x + attention.out_proj(h.transpose(1, 2).flatten(2))
        h = layer.mlp.fc1(layer.layer_norm2(x))
        x = x + layer.mlp.fc2(h * torch.sigmoid(1.702 * h))
    x = text.final_layer_norm(x)
    ends = (ids == config.eos_token_id).int().argmax(dim=-1)
    return x[torch.arange(len(x), device=x.device), ends]


def _t5_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x = x.float()
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def t5_hidden(model: T5EncoderModel, ids: Tensor) -> Tensor:
    """Token ids (batch, tokens) -> hidden states (batch, tokens, width), as `T5EncoderModel(ids)[0]`; padding is not masked."""
    stack = model.encoder
    config = model.config
    eps = config.layer_norm_epsilon
    x = F.embedding(ids, model.shared.weight)
    bias = stack.block[0].layer[0].SelfAttention.compute_bias(ids.shape[1], ids.shape[1], device=ids.device)
    for block in stack.block:
        norm, attention = block.layer[0].layer_norm, block.layer[0].SelfAttention
        h = _t5_norm(x, norm.weight, eps)
        q, k, v = (_heads(p(h), config.num_heads) for p in (attention.q, attention.k, attention.v))
        h = ((q @ k.transpose(-1, -2)).float() + bias).softmax(-1).to(v.dtype) @ v
        x = x + attention.o(h.transpose(1, 2).flatten(2))
        norm, dense = block.layer[1].layer_norm, block.layer[1].DenseReluDense
        h = _t5_norm(x, norm.weight, eps)
        x = x + dense.wo(F.gelu(dense.wi_0(h), approximate="tanh") * dense.wi_1(h))
    return _t5_norm(x, stack.final_layer_norm.weight, eps)
