"""Two studios on two machines, one gate, one object store: what a person was told is kept is in the answer."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import GateError
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store
from tests.kit.gate_fixtures import Line
from tests.kit.gate_world import open_gate
from tests.kit.s3_server import options_of

pytestmark = pytest.mark.slow


@pytest.fixture
def place(s3_endpoint: str, tmp_path: Path) -> tuple[str, dict[str, str]]:
    options = options_of(s3_endpoint)
    return f"s3://flenwheel/{tmp_path.name}", options


def test_a_decision_that_comes_while_the_other_studio_closes_is_refused_not_lost(
    place: tuple[str, dict[str, str]], line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_gate(Store(*place), 4, side=16)
    here, there = Reviews(Store(*place)), Reviews(Store(*place))
    first, second, *_ = [record.digest for record in here.images(session)]
    here.decide(session.gate, line(first, "good"))
    look = here._refuse_closed

    def look_and_be_overtaken(gate: str) -> None:
        look(gate)
        monkeypatch.setattr(here, "_refuse_closed", look)
        there.close(gate, "approve", "leave_out", override_minimum=True, reviewer="tom")

    monkeypatch.setattr(here, "_refuse_closed", look_and_be_overtaken)
    with pytest.raises(GateError, match="closed"):
        here.decide(session.gate, line(second, "good"))
    closed = here.closed(session.gate)
    assert closed is not None and [one.image for one in here.decisions(closed).decisions] == [first]
    assert [one.image for one in here.journal(session.gate).read()] == [first]


def test_a_bulk_decision_amid_which_the_other_studio_closes_stands_as_a_whole_or_not_at_all(
    place: tuple[str, dict[str, str]], line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_gate(Store(*place), 4, side=16)
    here, there = Reviews(Store(*place)), Reviews(Store(*place))
    pictures = [record.digest for record in here.images(session)]
    files = here.gate(session.gate).journal._files
    create = files.create

    def create_and_be_overtaken(path: str, data: bytes, **more: bool) -> bool:
        created = create(path, data, **more)
        monkeypatch.setattr(files, "create", create)
        there.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="tom")
        return created

    monkeypatch.setattr(files, "create", create_and_be_overtaken)
    taken = True
    try:
        here.decide(session.gate, *(line(picture, "good") for picture in pictures))
    except GateError:
        taken = False
    closed = here.closed(session.gate)
    assert closed is not None
    assert {one.image for one in here.decisions(closed).decisions} == (set(pictures) if taken else set())


def test_a_decision_that_the_closing_studio_has_not_seen_is_taken_along(
    place: tuple[str, dict[str, str]], line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_gate(Store(*place), 4, side=16)
    here, there = Reviews(Store(*place)), Reviews(Store(*place))
    first, second, *_ = [record.digest for record in here.images(session)]
    there.decide(session.gate, line(first, "good"))
    opened = there.gate(session.gate)
    read = opened.state

    def read_and_be_overtaken() -> object:
        state = read()
        monkeypatch.setattr(opened, "state", read)
        here.decide(session.gate, line(second, "reject", reasons=("hands",)))
        return state

    monkeypatch.setattr(opened, "state", read_and_be_overtaken)
    closed = there.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="tom")
    assert {one.image for one in there.decisions(closed).decisions} == {first, second}


def test_a_studio_that_died_between_seal_and_answer_leaves_the_gate_to_the_next(
    place: tuple[str, dict[str, str]], line: Line
) -> None:
    session = open_gate(Store(*place), 4, side=16)
    here, there = Reviews(Store(*place)), Reviews(Store(*place))
    first = here.images(session)[0].digest
    here.decide(session.gate, line(first, "good"))
    here.gate(session.gate).freeze()
    closed = there.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="tom")
    assert [one.image for one in there.decisions(closed).decisions] == [first] and closed.reviewer == "tom"
