"""The preference loss: its sign, its gradient at the start, pairs that teach nothing, places that do not count."""

import torch

from flenwheel_core.engine.flow_matching import flow_loss
from flenwheel_core.transformer.preference import pair_losses, preference_loss


def test_the_gradient_begins_as_that_of_the_difference_of_errors() -> None:
    errors = torch.tensor([[0.4, 0.3], [0.5, 0.9]], requires_grad=True)
    for strength in (1.0, 500.0):
        (gradient,) = torch.autograd.grad(preference_loss(errors, errors.detach(), strength).sum(), errors)
        torch.testing.assert_close(gradient, torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))


def test_a_pair_that_is_told_apart_teaches_less_and_one_that_is_confused_teaches_more() -> None:
    reference = torch.tensor([[0.5], [0.5]])

    def slope(right: float, rejected: float) -> float:
        errors = torch.tensor([[right], [rejected]], requires_grad=True)
        (gradient,) = torch.autograd.grad(preference_loss(errors, reference, 10.0).sum(), errors)
        assert gradient[0] > 0 > gradient[1]
        return float(gradient[0])

    assert slope(0.2, 0.8) < 0.15 < 1 < slope(0.8, 0.2)


def test_equal_pairs_and_places_that_are_alike_give_no_gradient() -> None:
    torch.manual_seed(0)
    right, rejected = torch.randn(3, 6, 4), torch.randn(3, 6, 4)
    prediction, reference = torch.randn(6, 6, 4), torch.randn(6, 6, 4)
    wrong = torch.zeros(3, 6, 1)
    wrong[:, 0] = 1

    def gradient(other: torch.Tensor, same: bool) -> torch.Tensor:
        given = prediction.clone()
        given[3:] = given[:3] if same else given[3:]
        given.requires_grad_()
        losses = pair_losses(given, torch.cat([right, other]), reference, wrong, strength=50.0, anchor=0.0)
        (found,) = torch.autograd.grad(losses.sum(), given)
        return found

    equal = gradient(right, same=True)
    assert float((equal[:3] + equal[3:]).abs().max()) < 1e-6  # what both sides say of one prediction cancels out
    different = gradient(rejected, same=False)
    assert (different[:, 0].abs() > 1e-5).any() and float(different[:, 1:].abs().max()) == 0


def test_the_anchor_holds_what_was_not_wrong() -> None:
    torch.manual_seed(0)
    target, reference = torch.randn(4, 6, 4), torch.randn(4, 6, 4)
    wrong = torch.zeros(2, 6, 1)
    wrong[:, :2] = 1
    moved = reference.clone()
    moved[:, 3:] += 0.5
    still, drifted = (
        pair_losses(each, target, reference, wrong, strength=10.0, anchor=1.0) for each in (reference, moved)
    )
    torch.testing.assert_close(drifted - still, flow_loss(moved, reference, 1 - torch.cat([wrong, wrong]))[:2])
    free = pair_losses(moved, target, reference, wrong, strength=10.0, anchor=0.0)
    torch.testing.assert_close(free, pair_losses(reference, target, reference, wrong, strength=10.0, anchor=0.0))


def test_after_a_few_steps_the_right_picture_is_the_better_predicted_one() -> None:
    torch.manual_seed(0)
    right, rejected = torch.randn(1, 6, 4), torch.randn(1, 6, 4)
    reference = torch.randn(1, 6, 4)
    value = reference.clone().requires_grad_()
    optimizer = torch.optim.Adam([value], lr=0.02)
    target, before = torch.cat([right, rejected]), torch.cat([reference, reference])
    for _ in range(30):
        losses = pair_losses(torch.cat([value, value]), target, before, torch.ones(1, 6, 1), strength=5.0, anchor=0.0)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    assert flow_loss(value, right) < flow_loss(reference, right)
    assert flow_loss(value, rejected) > flow_loss(reference, rejected)
