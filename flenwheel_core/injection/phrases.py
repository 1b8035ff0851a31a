"""What a phrase that describes somebody adds to a prompt, as tokens of its own: the targets of a head with place `phrase`.

A text encoder spreads what a description says over the words before it, too: a base may not know a description again without them. So
some tokens stand for the words before it, in their order; the others for what it says. A transformer that is told of no order among the
tokens of a text, such as FLUX.1's, reads them as a set, and descriptions differ in length and order: those tokens are *slots*, each for
tokens that are alike in all descriptions, such as the colours of hair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flenwheel_core.engine.randomness import permutation
from flenwheel_core.injection.heads import rms
from flenwheel_core.injection.residual import packed
from flenwheel_core.models.prompt_model import EncodedPrompt

ROUNDS = 25
SEEN = 20_000
"""Tokens that slots are found among; of more, so many drawn ones."""


@dataclass(frozen=True)
class Photo:
    """One photo to learn from."""

    identity: int
    view: int
    """Its place among the identity's features; a picture to be drawn is never the one that the features are from."""
    latents: Tensor
    """(tokens, channels)"""
    prompt: EncodedPrompt
    """What it shows, with the class word in place of who it is."""
    words: tuple[int, ...]
    described: EncodedPrompt
    """The same with all that words say of who it is."""
    described_words: tuple[int, ...] = ()
    description: tuple[int, ...] = ()
    """Where the class word and the description stand in it."""


@dataclass(frozen=True)
class Phrases:
    """Slots of what descriptions say, in multiples of the size of the words' tokens, beginning from these."""

    centres: Tensor
    """(slots, width), of length 1"""
    silence: Tensor
    """(width,) what stands in a slot of which a description says nothing: the mean of all that is said"""
    lead: int

    @classmethod
    def of(cls, photos: Sequence[Photo], rows: int, lead: int) -> "Phrases":
        """`rows` tokens of its own in all, the first `lead` of them for the words before a description."""
        said = torch.cat([_relative(photo)[list(photo.description)] for photo in photos])
        if len(said) > SEEN:
            said = said[list(permutation(len(said), 0, "slots"))[:SEEN]]
        return cls(slots(said, rows - lead), said.mean(0), lead)

    def target(self, photo: Photo) -> Tensor:
        """(rows, width) of one photo: before the description, what it says, and what else the transformer is told of it."""
        tokens, width = _relative(photo), self.centres.shape[1]
        first = min(photo.description, default=0)
        before = tokens[max(0, first - self.lead) : first]
        before = torch.cat([before.new_zeros(self.lead - len(before), width), before])
        filled = self.silence.repeat(len(self.centres), 1)
        if photo.description:
            said = tokens[list(photo.description)]
            slot = _nearest(said, self.centres)
            for number in slot.unique():
                filled[number] = said[slot == number].mean(0)
        return torch.cat([before, filled, packed(_others(photo.prompt, photo.described), width)])


def slots(tokens: Tensor, count: int) -> Tensor:
    """(count, width) directions, each the mean of those of tokens (n, width) that are nearest to it: spherical k-means.

    The first is the token nearest to all, each further one the token farthest from those before it, so that nothing is drawn by lot.
    """
    unit = torch.nn.functional.normalize(tokens.double(), dim=-1)
    chosen = [int((unit @ unit.mean(0)).argmax())]
    nearest = unit @ unit[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, unit @ unit[chosen[-1]])
    centres = unit[chosen]
    for _ in range(ROUNDS):
        slot = _nearest(unit, centres)
        sums = torch.zeros_like(centres).index_add_(0, slot, unit)
        centres = torch.where(sums.norm(dim=-1, keepdim=True) > 0, torch.nn.functional.normalize(sums, dim=-1), centres)
    return centres.to(tokens.dtype)


def _nearest(tokens: Tensor, centres: Tensor) -> Tensor:
    return (torch.nn.functional.normalize(tokens, dim=-1) @ centres.T).argmax(1)


def _relative(photo: Photo) -> Tensor:
    """The described caption's tokens, from the words' tokens of the plain one, in multiples of their size."""
    anchor = photo.prompt.tokens[list(photo.words)].mean(0, keepdim=True)
    return (photo.described.tokens - anchor) / rms(anchor)


def _others(plain: EncodedPrompt, described: EncodedPrompt) -> list[Tensor]:
    return [(described.others[name] - value) / rms(value) for name, value in plain.others.items()]
