"""A residual on a prompt's embeddings: where it goes, and how far it turns them."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from flenwheel_core.injection.heads import rms
from flenwheel_core.models.prompt_model import EncodedPrompt
from flenwheel_core.recipes.injection import EVERY_TOKEN, OWN_TOKENS, Place


def inject(prompt: EncodedPrompt, residual: Tensor, alpha: float, place: Place, words: Sequence[int]) -> EncodedPrompt:
    """The prompt with `alpha` times a residual (rows, width) on it; with alpha 0 it is the prompt itself.

    The residual counts in multiples of a token's own root mean square. `words` are the places of the words that it belongs to. It is added
    there, or on all tokens; with own tokens its first row is added so, and the others follow the prompt as tokens of their own, each the
    mean of the words' tokens with its row on it. With place `phrase` all rows are such tokens, but for the last: those are residuals on
    what else the transformer is told of the text, in multiples of its root mean square.
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
        if place == "phrase":
            found |= _with_phrases(prompts, numbers, tokens, rows, alpha, words)
            continue
        on = torch.zeros(len(numbers), length, 1)
        for place_of, number in enumerate(numbers):
            on[place_of, list(words[number]) if place not in EVERY_TOKEN else slice(None)] = 1.0
        changed = tokens + on.to(rows.device) * alpha * rms(tokens) * rows[:, :1]
        if place in OWN_TOKENS:
            anchor = _anchors(prompts, numbers, words).to(rows.device)
            changed = torch.cat([changed, anchor + alpha * rms(anchor) * rows[:, 1:]], dim=1)
        found |= {number: prompts[number].with_tokens(one) for number, one in zip(numbers, changed, strict=True)}
    return [found[number] for number in range(len(prompts))]


def rows_for_others(prompt: EncodedPrompt) -> int:
    """How many rows of a phrase hold the residuals on what else the transformer is told of a text, one after the other."""
    return math.ceil(sum(value.numel() for value in prompt.others.values()) / prompt.tokens.shape[1])


def packed(values: Sequence[Tensor], width: int) -> Tensor:
    """(rows, width): these values one after the other, and nothing behind them."""
    flat = torch.cat([value.flatten() for value in values]) if values else torch.zeros(0)
    return torch.nn.functional.pad(flat, (0, -len(flat) % width)).view(-1, width)


def _with_phrases(
    prompts: Sequence[EncodedPrompt],
    numbers: Sequence[int],
    tokens: Tensor,
    rows: Tensor,
    alpha: float,
    words: Sequence[Sequence[int]],
) -> dict[int, EncodedPrompt]:
    own = rows.shape[1] - rows_for_others(prompts[numbers[0]])
    anchor = _anchors(prompts, numbers, words).to(rows.device)
    changed = torch.cat([tokens, anchor + alpha * rms(anchor) * rows[:, :own]], dim=1)
    found = {}
    for place_of, number in enumerate(numbers):
        left, others = rows[place_of, own:].flatten(), {}
        for name, value in prompts[number].others.items():
            mine, left = left[: value.numel()].view(value.shape), left[value.numel() :]
            given = value.to(rows.device)
            others[name] = (given + alpha * rms(given) * mine).to(value.dtype)
        found[number] = replace(prompts[number], tokens=changed[place_of], others=others)
    return found


def _anchors(prompts: Sequence[EncodedPrompt], numbers: Sequence[int], words: Sequence[Sequence[int]]) -> Tensor:
    """(prompts, 1, width): the mean of the words' tokens, which a token of its own begins from."""
    return torch.stack([prompts[number].tokens[list(words[number])].mean(0, keepdim=True) for number in numbers])


def turned_degrees(residual: Tensor, prompt: EncodedPrompt, alpha: float, place: Place, words: Sequence[int]) -> float:
    """By how many degrees the words' tokens (all, where a residual is on all) are turned: a norm leaves nothing but their direction.

    With place `phrase` none of them is: it tells how far its own tokens lie from the words', the mean of them.
    """
    tokens = prompt.tokens.to(residual.device)
    if place == "phrase":
        residual = residual[: len(residual) - rows_for_others(prompt)]
        anchor = tokens[list(words)].mean(0, keepdim=True)
        cosines = torch.nn.functional.cosine_similarity(anchor, anchor + alpha * rms(anchor) * residual, dim=-1)
        return float(torch.rad2deg(torch.arccos(cosines.clamp(-1, 1))).mean())
    before = tokens if place in EVERY_TOKEN else tokens[list(words)]
    after = before + alpha * rms(before) * residual[:1]
    cosines = torch.nn.functional.cosine_similarity(before, after, dim=-1)
    return float(torch.rad2deg(torch.arccos(cosines.clamp(-1, 1))).mean())
