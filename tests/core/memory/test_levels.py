from flenwheel_core.memory.levels import plan_at_level


def chosen(needs: list[float], level: int) -> float | None:
    return plan_at_level(needs, lambda need: need, level)


def test_the_best_plan_comes_first_whatever_it_needs() -> None:
    assert chosen([20, 10], 0) == 20 and chosen([], 0) is None


def test_a_plan_that_needs_hardly_less_is_passed_over() -> None:
    assert chosen([20, 19.9, 21, 18], 1) == 18
