"""The table of the kinds of gates."""

from pathlib import Path
from typing import get_args

from flenwheel_core.gates.kinds import KINDS, GateKind
from flenwheel_core.gates.session import ReviewSession

PROJECT = Path(__file__).resolve().parents[3]


def test_every_kind_that_a_session_may_have_is_in_the_table() -> None:
    assert set(KINDS) == set(get_args(GateKind))
    assert all(kind.name == name for name, kind in KINDS.items())
    assert [kind.step for kind in KINDS.values()] == ["gate-a", "gate-b", "gate-c", "gate-d", "gate-d"]


def test_a_session_knows_its_kind(session: ReviewSession) -> None:
    assert session.of_kind is KINDS[session.kind]


def test_nothing_but_the_table_compares_the_names_of_kinds() -> None:
    pages = PROJECT / "deployments/studio/templates"
    files = [
        *(
            path
            for room in ("flenwheel_core", "flows", "tasks", "deployments")
            for path in (PROJECT / room).rglob("*.py")
        ),
        *pages.glob("gate.html"),
        *pages.glob("home.html"),
    ]
    found = [
        str(path.relative_to(PROJECT))
        for path in files
        if any(f'kind {sign} "{name}"' in path.read_text() for name in KINDS for sign in ("==", "!="))
    ]
    assert not found
