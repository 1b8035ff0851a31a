"""Small models on a CPU: cores take items of their own."""

import threading
from collections.abc import Iterator

import pytest
import torch

from flenwheel_core.engine.cores import SMALL, THREADS, Parts, cores_for, parts_of, side_by_side


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_models_on_a_cpu_take_an_item_a_core_and_large_ones_or_a_cards_take_one() -> None:
    assert cores_for(torch.nn.Linear(4, 4)) == 2
    assert cores_for(torch.nn.Linear(SMALL, 2, device="meta")) == 1  # no card here: what matters is that it is no CPU
    large = torch.nn.Module()
    large.weight = torch.nn.Parameter(torch.empty(1).expand(SMALL + 1))
    assert cores_for(large) == 1
    assert cores_for(torch.nn.Identity()) == 1
    hiding = torch.nn.Linear(4, 4)
    hiding.hidden_weights = SMALL  # type: ignore[assignment]
    assert cores_for(hiding) == 1


@pytest.mark.parametrize(
    ("items", "cores", "parts"), [(4, 1, 1), (4, 2, 2), (4, 3, 2), (4, 16, 4), (3, 2, 1), (1, 8, 1), (6, 4, 3)]
)
def test_parts_are_of_one_size_and_no_more_than_cores(items: int, cores: int, parts: int) -> None:
    assert parts_of(items, cores) == parts


def test_results_come_in_order_though_all_cores_work_at_once() -> None:
    meet = threading.Barrier(2, timeout=240)

    def work(number: int) -> tuple[int, int]:
        meet.wait()  # ends only if two of them are under way at once
        return number, torch.get_num_threads()

    found = list(side_by_side(work, range(6), 2))
    assert [number for number, _ in found] == list(range(6))
    assert {threads for _, threads in found} == {1}
    assert torch.get_num_threads() == 2
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


def test_one_core_works_in_the_callers_own_thread() -> None:
    here = threading.get_ident()
    assert list(side_by_side(lambda _: threading.get_ident(), range(3), 1)) == [here] * 3


def test_an_error_comes_where_its_result_would_have_come_and_stopping_waits() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        if number == 2:
            raise ValueError("the third one")
        done.append(number)
        return number

    results = side_by_side(work, range(100), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third one"):
        next(results)
    assert len(done) < 10
    results = side_by_side(lambda number: number, range(100), 2)
    assert next(results) == 0
    # Only threads of this kind are counted: other tests of the same process may have left some of theirs.
    assert [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]


def test_parts_give_the_gradients_of_the_whole_batch_and_the_same_bits_at_every_repeat() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(8, 8, generator=generator))
    unused = torch.nn.Parameter(torch.ones(3))
    x, target = (torch.randn(4, 8, generator=generator) for _ in range(2))
    bias = torch.randn(8, generator=generator)

    def loss_of(x: torch.Tensor, target: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return ((x @ weight + bias - target) ** 2).mean()

    whole = loss_of(x, target, bias)
    (expected,) = torch.autograd.grad(whole * 3, weight)
    found = []
    parts = Parts(2)
    for _ in range(3):
        loss = parts.mean_loss(loss_of, {"x": x, "target": target}, {"bias": bias}, [weight, unused])
        weight.grad = unused.grad = None
        (loss * 3).backward()
        assert weight.grad is not None and unused.grad is not None
        assert not unused.grad.any()
        found.append((loss.item(), weight.grad))
    assert found[0][0] == pytest.approx(whole.item(), rel=1e-6)
    torch.testing.assert_close(found[0][1], expected)
    assert all(loss == found[0][0] and torch.equal(gradient, found[0][1]) for loss, gradient in found)
