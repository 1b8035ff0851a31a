"""The head and its file."""

from pathlib import Path

import pytest
import torch

from flenwheel_core.base.errors import InputError
from flenwheel_core.injection.heads import LinearHead, head_bytes, read_head, require_fitting, rms
from tests.kit.injection_world import FACTS


def test_residuals_are_as_long_as_its_scale_says() -> None:
    head = LinearHead(4, 3, 6, seed=1)
    head.centre_on(torch.randn(10, 4) * 100 + 50)
    made = head(torch.randn(2, 4) * 100)
    assert made.shape == (2, 3, 6)
    torch.testing.assert_close(rms(made), head.scale.abs().expand(2, 3, 1))


def test_a_free_head_solves_to_the_rows_themselves_and_stays_so_in_its_file(tmp_path: Path) -> None:
    head, seen = LinearHead(4, 2, 6, seed=1, free=True), torch.randn(40, 4)
    head.centre_on(seen)
    targets = (seen @ torch.randn(4, 12)).view(40, 2, 6)
    head.solve(seen, targets, 1e-6)
    torch.testing.assert_close(head(seen), targets, rtol=1e-3, atol=1e-3)
    file = tmp_path / "linear_head.safetensors"
    file.write_bytes(head_bytes(dict(head.state_dict()), FACTS.model_copy(update={"place": "phrase", "rows": 2})))
    assert torch.equal(read_head(file)[0](seen), head(seen))


def test_one_photo_alone_can_be_learned_from() -> None:
    head, seen = LinearHead(4, 2, 6, seed=1), torch.randn(1, 4)
    head.centre_on(seen)
    (head(seen) - 1).square().sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in head.parameters())
    assert head.linear.bias.grad is not None and head.linear.bias.grad.abs().sum() > 0


def test_what_all_have_in_common_says_nothing() -> None:
    seen = torch.randn(10, 4)
    moved = LinearHead(4, 1, 6, seed=1), LinearHead(4, 1, 6, seed=1)
    moved[0].centre_on(seen)
    moved[1].centre_on(seen + 1000)
    torch.testing.assert_close(moved[0](seen), moved[1](seen + 1000), rtol=1e-3, atol=1e-3)


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    head = LinearHead(4, 1, 6, seed=2)
    head.centre_on(torch.randn(5, 4))
    file = tmp_path / "linear_head.safetensors"
    file.write_bytes(head_bytes(dict(head.state_dict()), FACTS))
    again, facts = read_head(file)
    features = torch.randn(3, 4)
    assert facts == FACTS and torch.equal(again(features), head(features)) and not again.scale.requires_grad


def test_a_pickle_is_refused_unopened(tmp_path: Path) -> None:
    file = tmp_path / "linear_head.pt"
    file.write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    with pytest.raises(InputError, match="is a pickle"):
        read_head(file)


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    for content in (b"", b"nothing", head_bytes({}, FACTS)):
        file.write_bytes(content)
        with pytest.raises(InputError, match="is no head"):
            read_head(file)


def test_a_head_of_other_models_is_refused() -> None:
    require_fitting(FACTS, "a" * 64, "b" * 64)
    with pytest.raises(InputError, match="other features"):
        require_fitting(FACTS, "0" * 64, "b" * 64)
    with pytest.raises(InputError, match="another base"):
        require_fitting(FACTS, "a" * 64, "0" * 64)
