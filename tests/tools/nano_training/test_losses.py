"""Losses of the embedder, the reader and the vision-language model fall when the answer is right."""

import torch
import torch.nn.functional as F

from tools.nano_training.augment import augmented
from tools.nano_training.data import LABELS
from tools.nano_training.editor import change_weight
from tools.nano_training.embedder import contrastive_loss, margin_loss
from tools.nano_training.reader import reading_loss
from tools.nano_training.vlm import Heads


def test_contrastive_loss_wants_owners_together() -> None:
    torch.manual_seed(0)
    owners = torch.tensor([0, 0, 1, 1, 2, 2])
    directions = F.normalize(torch.randn(3, 8), dim=1)
    together = F.normalize(directions[owners] + 0.05 * torch.randn(6, 8), dim=1)
    mixed = together[torch.tensor([0, 2, 1, 4, 3, 5])]
    assert contrastive_loss(together, owners) < 0.3 * contrastive_loss(mixed, owners)


def test_margin_loss_wants_the_right_direction_to_win_clearly() -> None:
    directions = torch.eye(4)
    owners = torch.tensor([1, 3])
    near = F.normalize(directions[owners] + 0.9 * directions[(owners + 1) % 4], dim=1)
    assert margin_loss(directions[owners], directions, owners) < 0.01
    assert margin_loss(near, directions, owners) > 2


def test_reading_loss_passes_over_labels_that_do_not_apply() -> None:
    truth = torch.zeros(2, len(LABELS), dtype=torch.long)
    logits = torch.zeros(2, sum(map(len, LABELS.values())))
    column = list(LABELS).index("hair_colour")
    start = sum(len(values) for values in list(LABELS.values())[:column])
    logits[0, start + 3] = 50.0
    wrong = reading_loss(logits, truth)
    truth[0, column] = -1
    assert reading_loss(logits, truth) < wrong - 0.5


def test_augmentation_keeps_what_is_shown_and_differs_each_time() -> None:
    torch.manual_seed(0)
    pictures = torch.zeros(4, 128, 128, 3, dtype=torch.uint8)
    pictures[:, 30:90, 40:90] = 255
    first, second = augmented(pictures, hide=0.0), augmented(pictures, hide=0.0)
    assert first.shape == (4, 3, 128, 128) and first.abs().max() <= 1
    assert not torch.equal(first, second)
    assert (first[:, :, 50:70, 55:75].mean((1, 2, 3)) > first[:, :, :8, :8].mean((1, 2, 3)) + 1).all()


def test_what_an_edit_changes_counts_most() -> None:
    torch.manual_seed(0)
    source = torch.randn(2, 64, 16)
    truth = source.clone()
    truth[0, 27:29] += 1
    weight = change_weight(truth, source)
    assert torch.allclose(weight.mean(1), torch.ones(2, 1))
    assert weight[0, 27:29].min() > 5 * weight[0, 40:].max()
    assert weight[1].max() < 3


def test_who_loss_wants_pictures_of_one_character_alike() -> None:
    torch.manual_seed(0)
    heads = Heads(vocabulary=8)
    first = torch.randn(4, 16, 128)
    same = torch.ones(4)
    assert heads.who_loss(first, first, same) < heads.who_loss(first, first.roll(1, 0), same)
    assert heads.who_loss(first, first, 1 - same) > heads.who_loss(first, first, same)
