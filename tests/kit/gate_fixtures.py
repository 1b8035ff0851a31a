"""A small open gate and a client of the studio's API."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.store import Store
from tests.kit.gate_world import NOW, open_gate, settings_in

Line = Callable[..., Decision]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store(settings.store_url)


@pytest.fixture
def session(store: Store) -> ReviewSession:
    """An open gate with 12 edits, 5 good ones asked for."""
    return open_gate(store, 12, side=64)


@pytest.fixture
def reviews(store: Store, session: ReviewSession) -> Reviews:
    return Reviews(store)


@pytest.fixture
def client(settings: Settings, session: ReviewSession) -> Iterator[TestClient]:
    """A browser-like client that sends the CSRF token."""
    with TestClient(create_app(settings, None), base_url="http://127.0.0.1:8000") as found:
        found.headers["x-csrf-token"] = found.get("/api/v1/session").json()["csrf"]
        yield found


@pytest.fixture
def line() -> Line:
    """Makes journal lines with fresh ids."""
    numbers = itertools.count()

    def make(image: str, verdict: str | None, author: str = "ana", **more: object) -> Decision:
        fields = {"id": f"line-{next(numbers):05d}", "at": NOW, "author": author, "image": image, **more}
        return Decision.model_validate({**fields, "verdict": None if verdict is None else Verdict(verdict)})

    return make
