from collections import Counter

from flenwheel_core.engine.order import Curriculum, Order, order_of
from flenwheel_core.engine.randomness import normal, permutation, uniform


def order(weights: tuple[float, ...] = (1.0,) * 10, batch_size: int = 4, seed: int = 5) -> Order:
    buckets = tuple("a" if index < 7 else "b" for index in range(len(weights)))
    return Order(buckets, weights, batch_size, seed)


def test_any_batch_can_be_asked_for_without_those_before_it() -> None:
    run = order()
    batches = [run.batch(index) for index in range(40)]
    assert order().batch(31) == batches[31]
    assert order(seed=6).batch(31) != batches[31] or order(seed=6).batch(30) != batches[30]


def test_batches_are_full_and_of_one_bucket() -> None:
    run = order()
    for index in range(30):
        batch = run.batch(index)
        assert len(batch) == 4
        assert len({run.buckets[item] for item in batch}) == 1


def test_every_item_is_seen_in_every_epoch() -> None:
    run = order(batch_size=1)
    assert sorted(run.batch(index)[0] for index in range(10)) == list(range(10))


def test_weights_decide_how_often_an_item_is_seen() -> None:
    run = Order(("a",) * 3, (0.5, 1.0, 2.5), 1, 0)
    seen = Counter(run.batch(index)[0] for index in range(4000))
    assert abs(seen[0] / seen[1] - 0.5) < 0.08
    assert abs(seen[2] / seen[1] - 2.5) < 0.25


def test_randomness_depends_on_its_name_only() -> None:
    assert normal((3,), 1, "noise", 4).tolist() == normal((3,), 1, "noise", 4).tolist()
    assert normal((3,), 1, "noise", 4).tolist() != normal((3,), 1, "noise", 5).tolist()
    assert permutation(20, 1, "x") == permutation(20, 1, "x") != permutation(20, 2, "x")
    numbers = [uniform(0, "u", index) for index in range(2000)]
    assert min(numbers) >= 0 and max(numbers) < 1 and abs(sum(numbers) / 2000 - 0.5) < 0.03


def test_a_weight_beyond_all_others_leaves_the_epoch_short() -> None:
    run = Order(("a",) * 3, (1e6, 1.0, 1.0), 1, 0)
    assert {run.batch(index)[0] for index in range(50)} == {0}


def test_items_that_begin_later_join_the_others_then() -> None:
    run = order_of(["a"] * 6, [1.0] * 6, [0.0, 0.0, 0.0, 0.5, 0.5, 0.8], batch_size=2, seed=3, batches=100)
    assert isinstance(run, Curriculum)
    seen = [set(run.batch(index)) for index in range(100)]
    assert set().union(*seen[:50]) == {0, 1, 2}
    assert set().union(*seen[50:80]) == {0, 1, 2, 3, 4}
    assert set().union(*seen[80:]) == {0, 1, 2, 3, 4, 5}
    counts = Counter(item for batch in range(50, 80) for item in run.batch(batch))
    assert min(counts.values()) >= 8, "who joins late is seen as often as the others from then on"


def test_without_a_later_beginning_the_order_is_what_it_was() -> None:
    buckets, weights = ["a"] * 5, [1.0, 2.0, 1.0, 1.0, 1.0]
    same = order_of(buckets, weights, [0.0] * 5, batch_size=2, seed=4, batches=20)
    assert [same.batch(index) for index in range(20)] == [
        Order(tuple(buckets), tuple(weights), 2, 4).batch(index) for index in range(20)
    ]
    later = order_of(buckets, weights, [0.25] * 5, batch_size=2, seed=4, batches=20)
    assert later.batch(0) == same.batch(0), "where all begin late, all are there from the start"
