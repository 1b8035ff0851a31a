"""Characters share a queue: the one with the fewest runs at work goes first, then the one that was served longest ago."""

from deployments.prefect.fairness import Served, Waiting, in_fair_order, owner_of


def line(*runs: str, queue: str = "default") -> list[Waiting[str]]:
    """Runs such as "mira 3", the oldest first."""
    return [Waiting(run, queue, run.split()[0]) for run in runs]


def order(waiting: list[Waiting[str]], served: Served | None = None, **working: int) -> list[str]:
    return [one.run for one in in_fair_order(waiting, working, served or Served())]


def test_many_runs_of_one_do_not_hold_up_another() -> None:
    waiting = line(*(f"mira {number}" for number in range(50)), "nora 0", "nora 1", "zoe 0")
    assert order(waiting)[:6] == ["mira 0", "nora 0", "zoe 0", "mira 1", "nora 1", "mira 2"]
    assert sorted(order(waiting)) == sorted(one.run for one in waiting), "nobody is left out"


def test_no_more_are_put_in_order_than_can_be_taken() -> None:
    """Of a thousand that wait a worker takes two: to order them all at each look would be for nothing."""
    waiting = line(*(f"{name} {number}" for number in range(300) for name in ("mira", "nora", "zoe")))
    first = [one.run for one in in_fair_order(waiting, {}, Served(), 4)]
    assert first == order(waiting)[:4] == ["mira 0", "nora 0", "zoe 0", "mira 1"]


def test_who_works_already_waits() -> None:
    assert order(line("mira 0", "mira 1", "nora 0"), mira=2) == ["nora 0", "mira 0", "mira 1"]
    assert order(line("mira 0", "nora 0"), mira=1, nora=1) == ["mira 0", "nora 0"]


def test_of_equals_the_one_served_longest_ago_goes_first() -> None:
    served = Served()
    for name in ("nora", "mira", "nora"):
        served.note(name)
    assert order(line("nora 0", "mira 0", "zoe 0"), served) == ["zoe 0", "mira 0", "nora 0"]


def test_queues_keep_their_order() -> None:
    waiting = [*line("mira 0", "mira 1", queue="interactive"), *line("nora 0", "mira 2", queue="default")]
    assert order(waiting) == ["mira 0", "mira 1", "nora 0", "mira 2"]


def test_work_for_all_characters_shares_as_its_deployment() -> None:
    assert owner_of({"character": "mira"}, "d1") == "mira"
    assert owner_of({"character": None}, "d1") == owner_of({"order": "o"}, "d1") != owner_of({}, "d2")


def test_of_equals_the_one_whose_models_lie_here_goes_first() -> None:
    waiting, served = line("mira 0", "nora 0", "zoe 0"), Served()
    served.note("zoe")

    def order_near(*here: str, **working: int) -> list[str]:
        near = lambda run: run.split()[0] in here  # noqa: E731
        return [one.run for one in in_fair_order(waiting, working, served, near=near)]

    assert order_near("zoe") == ["zoe 0", "mira 0", "nora 0"], "also before one who was served longer ago"
    assert order_near("nora", "zoe")[:2] == ["nora 0", "zoe 0"], "among those it is fair"
    assert order_near("zoe", zoe=1) == ["mira 0", "nora 0", "zoe 0"], "never before one of whom less works"
    assert order_near() == ["mira 0", "nora 0", "zoe 0"]


def test_nobody_is_passed_over_twice_for_models_that_lie_here() -> None:
    """One worker, one place: zoe's models lie here, and a new run of hers comes whenever one ends."""
    waiting, served, went = line("mira 0", "nora 0", "zoe 0"), Served(), []
    for _ in range(5):
        first = in_fair_order(waiting, {}, served, 1, near=lambda run: run.startswith("zoe"))[0]
        served.note(first.owner, {one.owner for one in waiting})
        went.append(first.owner)
    assert went[0] == "zoe" and set(went[1:3]) == {"mira", "nora"}
