"""The text encoder that nano klein and nano Z-Image share: Qwen3 at nano size, with the tokenizer of the vision-language model.

klein reads its prompts after 9, 18 and 27 layers, Z-Image before the last layer, so there are 28 of them: very narrow ones. The last,
which nobody reads, holds zeros.
"""

from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

TEXT_TOKENS = 80
"""The longest prompts of the nano world have 74 tokens, template included; klein pads all prompts to this length."""
WIDTH = 80
MLP_WIDTH = 96
HEADS, KEY_HEADS, HEAD_WIDTH = 2, 1, 32
LAYERS = 28
TAPS = (9, 18, 27)
"""Layers after which klein reads; Z-Image reads after the last of them."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen3's without thinking, which both families switch differently: the same words give both models the same tokens."""


def chat(text: str) -> str:
    """What the template makes of one prompt."""
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`, with the chat template of the text encoder."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_encoder(tokenizer: PreTrainedTokenizerBase) -> Qwen3ForCausalLM:
    """Random weights, 1.2 M parameters; signals keep their size through all layers."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=MLP_WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        head_dim=HEAD_WIDTH,
        max_position_embeddings=TEXT_TOKENS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_tokens" in name:
                parameter.normal_(std=0.5)
            elif parameter.ndim == 2:
                into_stream = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = (2 * LAYERS) ** -0.5 if into_stream else 1.0
                parameter.normal_(std=scale * parameter.shape[1] ** -0.5)
        for parameter in model.model.layers[-1].parameters():
            if parameter.ndim == 2:
                parameter.zero_()
    return model
