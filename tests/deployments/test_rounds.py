"""Redo, better prompts, corrected pictures and stop, through a whole turn on a real server."""

import uuid
from datetime import UTC, datetime
from typing import cast

import pytest

from benchmarks.kit.turn_stages import picture
from benchmarks.kit.workspace import Running
from flenwheel_core.base.ids import Json
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.documents.images import ImageKind
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.characters import Library
from flenwheel_core.store.pictures import encode_png

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def decide(reviews: Reviews, gate: str, image: str, verdict: Verdict, **more: str) -> None:
    line = {"id": uuid.uuid4().hex, "at": datetime.now(UTC), "author": "tester", "image": image, "verdict": verdict}
    reviews.decide(gate, Decision.model_validate({**line, **more}))


def artifacts_of(running: Running, run: str) -> list[dict[str, str]]:
    """All pages of a run, the oldest first."""
    body: dict[str, Json] = {"artifacts": {"flow_run_id": {"any_": [run]}}, "limit": 200}
    found = cast("list[dict[str, str]]", running.api.call("POST", "/artifacts/filter", body))
    return sorted(found, key=lambda page: page["created"])


def test_redo_better_prompt_correction_and_stop(running: Running) -> None:
    running.add_character("rosa")
    run = running.schedule("rosa")
    reviews = Reviews(running.store)

    running.wait_gate("rosa-t1-gate-a-r1")
    first = reviews.images(reviews.get("rosa-t1-gate-a-r1"))
    decide(reviews, "rosa-t1-gate-a-r1", first[0].digest, Verdict.GOOD)
    closed = reviews.close("rosa-t1-gate-a-r1", "redo", "leave_out", override_minimum=False, reviewer="tester")
    handed_over = running.cli("approve", "rosa-t1-gate-a-r1", "--verdict", "redo")
    # The reconciler hands over what is kept, too, and may be the first.
    assert handed_over.returncode == 0 or "answered it with redo" in handed_over.stderr
    assert closed.good == 1

    running.wait_gate("rosa-t1-gate-a-r2")
    session = reviews.get("rosa-t1-gate-a-r2")
    second = reviews.images(session)
    assert session.minimum == 5, "what was good stays good"
    assert {record.seed for record in first}.isdisjoint(record.seed for record in second)
    corrected = running.store.put_blob(encode_png(picture(99), {}))
    decide(
        reviews, session.gate, second[0].digest, Verdict.NEEDS_CORRECTION, better_prompt="same person, from the left"
    )
    decide(reviews, session.gate, second[1].digest, Verdict.NEEDS_CORRECTION, correction=corrected)
    for record in second[2:8]:
        decide(reviews, session.gate, record.digest, Verdict.GOOD)
    assert running.answer(session.gate).accepted

    running.wait_gate("rosa-t1-gate-a-r3")
    third = reviews.images(reviews.get("rosa-t1-gate-a-r3"))
    assert [record.prompt for record in third] == ["same person, from the left"]
    assert third[0].parents == second[0].parents
    assert running.answer("rosa-t1-gate-a-r3").accepted

    running.wait_gate("rosa-t1-gate-b-r1")
    pool = Library(running.store).pool("rosa")
    assert {first[0].digest, corrected, third[0].digest} <= {entry.image.digest for entry in pool}
    assert next(entry for entry in pool if entry.image.digest == corrected).image.kind is ImageKind.CORRECTED
    assert running.answer("rosa-t1-gate-b-r1", "stop").accepted

    ended = running.wait_state(run, "COMPLETED", "FAILED", "CRASHED")
    assert ended.state is not None and ended.state.type == "COMPLETED", running.worker_log()
    assert [turn.outcome for turn in Library(running.store).ended_turns("rosa")] == ["stopped"]

    pages = artifacts_of(running, run)
    assert pages[0]["key"] == "plan-rosa-t1", "what the turn takes is told before anything is made"
    assert "enrich: 12 edits" in pages[0]["data"]  # other turns of this workspace may have been measured before
    assert "generate: 8 pictures" in pages[0]["data"]
    plans = [page["data"] for page in pages if page["key"] == "plan-rosa-t1"]
    assert "enrich: 12 edits, 0." in plans[-1] and "train v1: 20 steps" in plans[-1]
    assert "in all: about" in plans[-1], "corrected by what the stages of this turn measured"
    assert Library(running.store).champion("rosa") is None
