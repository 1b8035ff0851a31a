"""A residual on a prompt: where it goes, and what strength means."""

import torch

from flenwheel_core.injection.residual import inject, inject_all, packed, rows_for_others, turned_degrees
from flenwheel_core.models.prompt_model import EncodedPrompt

PROMPT = EncodedPrompt(torch.tensor([[3.0, 4.0], [0.3, 0.4], [30.0, 40.0]]))
RESIDUAL = torch.tensor([[1.0, -1.0]])


def test_no_strength_changes_nothing() -> None:
    assert inject(PROMPT, RESIDUAL, 0.0, "all", (1,)) is PROMPT


def test_tokens_of_any_size_are_turned_alike() -> None:
    """A norm takes a token's length away: what is added has to grow with it, or it vanishes on large tokens and drowns small ones."""
    made = inject(PROMPT, RESIDUAL, 0.7, "all", ()).tokens
    directions = torch.nn.functional.normalize(made, dim=-1)
    torch.testing.assert_close(directions[0], directions[1])
    torch.testing.assert_close(directions[0], directions[2])
    few, many = (turned_degrees(RESIDUAL, PROMPT, alpha, "all", ()) for alpha in (0.5, 1.0))
    assert 0 < few < many < 90


def test_on_words_the_others_stay() -> None:
    made = inject(PROMPT, RESIDUAL, 1.0, "words", (1,)).tokens
    assert torch.equal(made[[0, 2]], PROMPT.tokens[[0, 2]]) and not torch.equal(made[1], PROMPT.tokens[1])


def test_tokens_of_its_own_follow_the_prompt_whatever_its_length() -> None:
    rows = torch.cat([RESIDUAL, torch.zeros(2, 2)])
    made = inject(PROMPT, rows, 1.0, "tokens", (0, 1)).tokens
    assert len(made) == 5 and torch.equal(made[2], PROMPT.tokens[2])
    torch.testing.assert_close(made[3:], PROMPT.tokens[:2].mean(0).expand(2, 2))


def test_the_residual_can_be_learned_through_it() -> None:
    residual = torch.zeros(3, 2, requires_grad=True)
    inject(PROMPT, residual, 1.0, "tokens", (0,)).tokens.square().sum().backward()
    assert residual.grad is not None and (residual.grad.abs().sum(1) > 0).all()


def test_a_phrase_leaves_the_prompt_as_it_is_and_follows_it() -> None:
    """Rows in multiples of the words' tokens' size, from these; the last are what is added to the rest that the base is told of a text."""
    told = EncodedPrompt(PROMPT.tokens, {"pooled": torch.tensor([2.0, -2.0, 2.0])})
    assert rows_for_others(told) == 2 and rows_for_others(PROMPT) == 0
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, 0.0], [-1.0, 7.0]])
    made = inject(told, rows, 1.0, "phrase", (1,))
    assert torch.equal(made.tokens[:3], PROMPT.tokens) and torch.equal(made.tokens[4], PROMPT.tokens[1])
    torch.testing.assert_close(made.tokens[3], PROMPT.tokens[1] + torch.tensor([0.125**0.5, 0.0]))
    torch.testing.assert_close(made.others["pooled"], torch.tensor([3.0, -2.0, 0.0]))
    half = inject(told, rows, 0.5, "phrase", (1,))
    torch.testing.assert_close(half.others["pooled"], torch.tensor([2.5, -2.0, 1.0]))
    longer = EncodedPrompt(torch.cat([PROMPT.tokens, PROMPT.tokens]), told.others)
    one, other = inject_all([told, longer], [rows, rows], 1.0, "phrase", [(1,), (1,)])
    assert torch.equal(one.tokens, made.tokens) and len(other.tokens) == 8
    assert 0 < turned_degrees(rows, told, 0.5, "phrase", (1,)) < turned_degrees(rows, told, 1.0, "phrase", (1,)) < 90


def test_values_of_any_length_are_packed_into_rows() -> None:
    made = packed([torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[4.0]])], 3)
    assert torch.equal(made, torch.tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]]))
    assert packed([], 3).shape == (0, 3)
