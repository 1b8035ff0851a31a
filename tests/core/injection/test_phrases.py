"""Targets of a phrase: what stands where, and what a description does not say."""

import torch

from flenwheel_core.injection.phrases import Photo, Phrases, slots
from flenwheel_core.injection.residual import inject, rows_for_others
from flenwheel_core.models.prompt_model import EncodedPrompt

PERSON = torch.tensor([1.0, 1.0, 1.0, 1.0])
PLAIN = EncodedPrompt(torch.stack([PERSON, 2 * PERSON]), {"pooled": torch.ones(2)})
A, WITH, HAIR, EYES = torch.eye(4) * 5


def photo(*said: torch.Tensor, before: tuple[torch.Tensor, ...] = (A, WITH)) -> Photo:
    described = EncodedPrompt(torch.stack([*before, *said, PERSON]), {"pooled": torch.tensor([1.5, 1.0])})
    places = tuple(range(len(before), len(before) + len(said)))
    return Photo(0, 0, torch.zeros(2, 4), PLAIN, (0,), described, (0,), places)


def test_slots_are_of_tokens_that_are_alike_whatever_their_order_and_size() -> None:
    tokens = torch.stack([HAIR, EYES * 3, HAIR * 2 + 0.1, EYES, HAIR])
    found = slots(tokens, 2)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    assert {int(one.abs().argmax()) for one in found} == {2, 3}
    assert torch.equal(found, slots(tokens, 2))


def test_more_slots_than_kinds_of_tokens_are_no_fault() -> None:
    assert slots(torch.stack([HAIR, HAIR, EYES]), 5).isfinite().all()


def test_a_target_put_behind_a_prompt_is_the_described_phrase_itself() -> None:
    both, other = photo(HAIR, EYES), photo(EYES, HAIR)
    phrases = Phrases.of([both, other], 4, lead=2)
    rows = phrases.target(both)
    assert torch.equal(rows, phrases.target(other)), "the order in which somebody is described says nothing"
    assert len(rows) == 4 + rows_for_others(PLAIN)
    made = inject(PLAIN, rows, 1.0, "phrase", (0,))
    torch.testing.assert_close(made.tokens[2:4], torch.stack([A, WITH]))
    assert {int(token.argmax()) for token in made.tokens[4:]} == {2, 3}
    torch.testing.assert_close(made.others["pooled"], torch.tensor([1.5, 1.0]))


def test_of_what_is_not_said_stands_the_mean_of_all_that_is_said() -> None:
    phrases = Phrases.of([photo(HAIR, EYES), photo(HAIR)], 4, lead=2)
    silent = phrases.target(photo(HAIR))[2:4]
    assert any(torch.equal(row, phrases.silence) for row in silent)


def test_where_fewer_words_stand_before_a_description_the_first_rows_are_the_word_itself() -> None:
    short = photo(HAIR, before=(WITH,))
    rows = Phrases.of([short], 3, lead=2).target(short)
    assert torch.equal(rows[0], torch.zeros(4))
    torch.testing.assert_close(inject(PLAIN, rows, 1.0, "phrase", (0,)).tokens[3], WITH)
