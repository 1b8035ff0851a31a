"""A residual on a prompt's embeddings: where it goes, and how far it turns them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from flenwheel_core.injection.heads import rms
from flenwheel_core.models.prompt_model import EncodedPrompt
from flenwheel_core.recipes.injection import EVERY_TOKEN, OWN_TOKENS, Place


def inject(prompt: EncodedPrompt, residual: Tensor, alpha: float, place: Place, words: Sequence[int]) -> EncodedPrompt:
    """The prompt with `alpha` times a residual (rows, width) on it; with alpha 0 it is the prompt itself.

    The residual counts in multiples of a token's own root mean square. `words` are the places of the words that it belongs to. It is added
    there, or on all tokens; with own tokens its first row is added so, and the others follow the prompt as tokens of their own, each the
    mean of the words' tokens with its row on it.
    """
    if alpha == 0:
        return prompt
    (changed,) = inject_all([prompt], [residual], alpha, place, [words])
    return changed


def inject_all(
    prompts: Sequence[EncodedPrompt],
    residuals: Sequence[Tensor],
    alpha: float,
    place: Place,
    words: Sequence[Sequence[int]],
) -> list[EncodedPrompt]:
    """Each prompt with its residual on it; those of one length at once."""
    lengths: dict[int, list[int]] = {}
    for number, prompt in enumerate(prompts):
        lengths.setdefault(len(prompt.tokens), []).append(number)
    found: dict[int, EncodedPrompt] = {}
    for length, numbers in lengths.items():
        rows = torch.stack([residuals[number] for number in numbers])
        tokens = torch.stack([prompts[number].tokens for number in numbers]).to(rows.device)
        on = torch.zeros(len(numbers), length, 1)
        for place_of, number in enumerate(numbers):
            on[place_of, list(words[number]) if place not in EVERY_TOKEN else slice(None)] = 1.0
        changed = tokens + on.to(rows.device) * alpha * rms(tokens) * rows[:, :1]
        if place in OWN_TOKENS:
            anchors = [prompts[number].tokens[list(words[number])].mean(0, keepdim=True) for number in numbers]
            anchor = torch.stack(anchors).to(rows.device)
            changed = torch.cat([changed, anchor + alpha * rms(anchor) * rows[:, 1:]], dim=1)
        found |= {number: prompts[number].with_tokens(one) for number, one in zip(numbers, changed, strict=True)}
    return [found[number] for number in range(len(prompts))]


def turned_degrees(residual: Tensor, prompt: EncodedPrompt, alpha: float, place: Place, words: Sequence[int]) -> float:
    """By how many degrees the words' tokens (all, where a residual is on all) are turned: a norm leaves nothing but their direction."""
    tokens = prompt.tokens.to(residual.device)
    before = tokens if place in EVERY_TOKEN else tokens[list(words)]
    after = before + alpha * rms(before) * residual[:1]
    cosines = torch.nn.functional.cosine_similarity(before, after, dim=-1)
    return float(torch.rad2deg(torch.arccos(cosines.clamp(-1, 1))).mean())
