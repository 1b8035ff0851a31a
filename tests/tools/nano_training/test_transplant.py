"""Finished weights in a model with more words and labels."""

import torch
from torch import nn

from flenwheel_core.nano.models.tokenizers import build_t5_tokenizer
from tools.nano_training.corpus import syllables
from tools.nano_training.transplant import load_what_fits, transplant_labels, transplant_words


def test_known_words_keep_their_numbers_and_new_ones_begin_as_their_pieces() -> None:
    texts = ["photo of a person"] * 30
    old = build_t5_tokenizer(texts, syllables())
    new = build_t5_tokenizer([*texts, *["photo of a zigzag"] * 30], syllables())
    before, after = torch.randn(len(old), 8), torch.zeros(len(new), 8)
    transplant_words(after, before, new, old)
    (place,) = new("person", add_special_tokens=False).input_ids
    assert torch.equal(after[place], before[old("person", add_special_tokens=False).input_ids[0]])
    (word,) = new("zigzag", add_special_tokens=False).input_ids
    pieces = old("zigzag", add_special_tokens=False).input_ids
    assert len(pieces) > 1
    assert torch.allclose(after[word], before[torch.tensor(pieces)].mean(0))


def test_labels_are_matched_by_name() -> None:
    old, new = nn.Linear(4, 2), nn.Linear(4, 3)
    fresh = new.weight[1].clone()
    transplant_labels(new, old, {0: "b", 1: "c", 2: "a"}, {0: "a", 1: "b"})
    assert torch.equal(new.weight[0], old.weight[1]) and torch.equal(new.weight[2], old.weight[0])
    assert torch.equal(new.weight[1], fresh)


def test_only_what_fits_is_taken_over() -> None:
    one, other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 4))
    kept = one[1].weight.clone()
    load_what_fits(one, other)
    assert torch.equal(one[0].weight, other[0].weight) and torch.equal(one[1].weight, kept)
