"""A residual on a prompt's embeddings: where it goes, and how far it turns them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from flenwheel_core.injection.heads import rms
from flenwheel_core.models.prompt_model import EncodedPrompt
from flenwheel_core.recipes.injection import Place


def inject(prompt: EncodedPrompt, residual: Tensor, alpha: float, place: Place, words: Sequence[int]) -> EncodedPrompt:
    """The prompt with `alpha` times a residual (rows, width) on it; with alpha 0 it is the prompt itself.

    The residual counts in multiples of a token's own root mean square. `words` are the places of the words that it belongs to. It is added
    there, or on all tokens; with place `tokens` its first row is added there and the others follow the prompt as tokens of their own, each
    the mean of the words' tokens with its row on it.
    """
    if alpha == 0:
        return prompt
    tokens = prompt.tokens.to(residual.device)
    on = torch.ones(len(tokens), 1) if place == "all" else torch.zeros(len(tokens), 1)
    if place != "all":
        on[list(words)] = 1.0
    changed = tokens + on.to(tokens.device) * alpha * rms(tokens) * residual[:1]
    if place == "tokens":
        anchor = tokens[list(words)].mean(0, keepdim=True)
        changed = torch.cat([changed, anchor + alpha * rms(anchor) * residual[1:]])
    return prompt.with_tokens(changed)


def turned_degrees(residual: Tensor, prompt: EncodedPrompt, alpha: float, place: Place, words: Sequence[int]) -> float:
    """By how many degrees the words' tokens (all, with place `all`) are turned: a norm leaves nothing but their direction."""
    tokens = prompt.tokens.to(residual.device)
    before = tokens if place == "all" else tokens[list(words)]
    after = before + alpha * rms(before) * residual[:1]
    cosines = torch.nn.functional.cosine_similarity(before, after, dim=-1)
    return float(torch.rad2deg(torch.arccos(cosines.clamp(-1, 1))).mean())
