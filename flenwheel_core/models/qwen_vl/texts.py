"""Questions about pictures as tokens: places for pictures, positions, and where the answer begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flenwheel_core.base.errors import InputError
from flenwheel_core.models.qwen_vl.eyes import Seen
from flenwheel_core.models.qwen_vl.geometry import VlGeometry

_ROUND_TOKENS, _ROUND_ANSWER, _ROUND_ROWS = 64, 16, 16
"""Sizes are filled up to multiples of these, so that few shapes are compiled and recorded."""


@dataclass(frozen=True)
class VlExample:
    """A lesson, ready to train on."""

    ids: Tensor
    """(tokens,): question, answer and the token that ends it."""
    positions: Tensor
    """(3, tokens)"""
    answer: int
    """So many tokens at the end are learned; all before them are given."""
    seen: tuple[Seen, ...]
    weight: float = 1.0

    @property
    def rows(self) -> int:
        """Tokens of all its pictures."""
        return sum(one.features.shape[1] for one in self.seen)


@dataclass(frozen=True)
class Shape:
    """What the examples of a batch are filled up to."""

    tokens: int
    answer: int
    rows: int

    @property
    def bucket(self) -> str:
        return f"{self.tokens} tokens, {self.answer} of the answer, {self.rows} of pictures"


def prompt_of(processor: Any, question: str, pictures: int) -> str:
    """The text that the model is given for a question about so many pictures, one place for each."""
    content = [{"type": "image"} for _ in range(pictures)] + [{"type": "text", "text": question}]
    text: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return text


def prompt_ids(processor: Any, geometry: VlGeometry, question: str, grids: Sequence[Tensor]) -> Tensor:
    """(tokens,) of a question with as many places as its pictures have tokens: what the processor makes, without the pictures."""
    tokenizer, pad = processor.tokenizer, processor.image_token
    text, rows = prompt_of(processor, question, len(grids)), iter([geometry.rows(grid) for grid in grids])
    pieces = text.split(pad)
    if len(pieces) != len(grids) + 1:
        raise InputError(
            "The question holds the sign for a picture's place.",
            why=f"{pad} stands for a picture.",
            remedy="Leave it out.",
        )
    filled = pieces[0] + "".join(pad * next(rows) + piece for piece in pieces[1:])
    return torch.tensor(tokenizer(filled, add_special_tokens=False)["input_ids"])


def example_of(
    processor: Any, geometry: VlGeometry, question: str, answer: str, seen: Sequence[Seen], *, weight: float = 1.0
) -> VlExample:
    """A question with its answer. The boundary is exact: the answer's tokens are those that the model would have to generate.

    Raises InputError for an answer without words.
    """
    said = processor.tokenizer(answer.strip(), add_special_tokens=False)["input_ids"]
    if not said:
        raise InputError("A lesson has no answer.", remedy="Write one, or leave the lesson out.")
    before = prompt_ids(processor, geometry, question, [one.grid for one in seen])
    learned = torch.tensor([*said, int(processor.tokenizer.eos_token_id)])
    ids = torch.cat([before, learned])
    return VlExample(ids, geometry.positions(ids, [one.grid for one in seen]), len(learned), tuple(seen), weight)


def shapes_of(examples: Sequence[VlExample]) -> list[Shape]:
    """The shape of each example: those of about one length share one, as large as the largest of them needs."""
    lengths = [_up(len(example.ids), _ROUND_TOKENS) for example in examples]

    def most(length: int, size: Callable[[VlExample], int], step: int) -> int:
        return max(_up(size(e), step) for e, other in zip(examples, lengths, strict=True) if other == length)

    known = {
        length: Shape(
            length, most(length, lambda e: e.answer, _ROUND_ANSWER), most(length, lambda e: e.rows, _ROUND_ROWS)
        )
        for length in set(lengths)
    }
    return [known[length] for length in lengths]


def batch_of(
    examples: Sequence[VlExample], shape: Shape, geometry: VlGeometry, embeddings: Tensor
) -> dict[str, Tensor]:
    """What `FastLanguage` is given for some examples of one shape, on the CPU; `embeddings` (vocabulary, width).

    Beside the names of its arguments: `shares` (batch, answer tokens), the part of each answer's token in the loss, zero where filled up.
    """
    count, width = len(examples), geometry.width
    embeds = torch.zeros(count, shape.tokens, width, dtype=embeddings.dtype)
    features = torch.zeros(geometry.levels, count, shape.rows + 1, width, dtype=embeddings.dtype)
    shown = torch.full((count, shape.tokens), shape.rows)
    positions = torch.zeros(3, count, shape.tokens, dtype=torch.long)
    kept = torch.zeros(count, shape.answer, dtype=torch.long)
    answers = torch.zeros(count, shape.answer, dtype=torch.long)
    shares = torch.zeros(count, shape.answer)
    for row, example in enumerate(examples):
        length = len(example.ids)
        is_picture = example.ids == geometry.picture_token
        text = (~is_picture).nonzero().flatten()
        embeds[row, text] = embeddings[example.ids[text]]
        shown[row, :length][is_picture] = torch.arange(example.rows)
        if example.seen:
            features[:, row, : example.rows] = torch.cat([one.features for one in example.seen], dim=1)
        positions[:, row, :length] = example.positions
        kept[row, : example.answer] = torch.arange(length - example.answer, length) - 1
        answers[row, : example.answer] = example.ids[length - example.answer :]
        shares[row, : example.answer] = 1 / example.answer
    cosines, sines = (table.to(embeddings.dtype) for table in geometry.rotary(positions))
    return {
        "embeds": embeds,
        "features": features,
        "shown": shown,
        "cosines": cosines,
        "sines": sines,
        "kept": kept,
        "answers": answers,
        "shares": shares,
    }


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
