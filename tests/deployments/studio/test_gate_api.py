"""The gate API over HTTP: decisions, undo, bulk, corrections' rules, the finish."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from deployments.studio import gate_api
from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Library
from flenwheel_core.store import Store
from tests.kit.gate_world import open_gate
from tests.kit.studio_world import Server

GATE = "/api/v1/gates/mira-t1-gate-a-r1"


Served = tuple[TestClient, Server]


def begin_turn(client: TestClient) -> None:
    """The gate's run opened a turn."""
    Library(client.app.state.studio.store).open_turn("mira", "run-1", "0" * 64)  # type: ignore[attr-defined]


@pytest.fixture
def served(settings: Settings) -> Served:
    """A gate that a run waits for, and its server."""
    open_gate(Store(settings.store_url), 6, side=64, minimum=2, flow_run="run-1")
    server = Server()
    client = TestClient(create_app(settings, server), base_url="http://127.0.0.1")
    client.headers["x-csrf-token"] = client.get("/api/v1/session").json()["csrf"]
    return client, server


def images(client: TestClient) -> list[str]:
    return list(client.get(f"{GATE}/pictures").json()["columns"]["digest"])


def decide(client: TestClient, image: str, verdict: str | None, id_: str, author: str = "ana", **more: object) -> dict:  # type: ignore[type-arg]
    body = {"id": id_, "author": author, "verdict": verdict, **more}
    answer = client.post(f"{GATE}/pictures/{image}/decision", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_decision_comes_back_with_revision_and_counts(client: TestClient) -> None:
    image = images(client)[0]
    answer = decide(client, image, "reject", "decision-1", reasons=["style"])
    assert answer["revision"] == 1
    assert answer["counts"]["reject"] == 1 and answer["counts"]["undecided"] == 11
    assert answer["states"][0]["reasons"] == ["style"]
    later = client.get(f"{GATE}/changes", params={"after": 1}).json()
    assert later["states"] == [] and later["revision"] == 1


def test_the_answer_knows_the_decision_though_the_gate_made_room_for_others_meanwhile(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = images(client)[0]
    reviews: Reviews = client.app.state.studio.reviews  # type: ignore[attr-defined]
    known = gate_api.check_decision

    def check_while_others_open_gates(*about: Any) -> None:
        known(*about)
        reviews._opened.clear()

    monkeypatch.setattr(gate_api, "check_decision", check_while_others_open_gates)
    answer = decide(client, image, "good", "decision-1")
    assert answer["revision"] == 1 and answer["counts"]["good"] == 1 and answer["states"]


def test_columns_hold_what_sorting_and_filtering_need(client: TestClient) -> None:
    columns = client.get(f"{GATE}/pictures").json()["columns"]
    assert {len(columns[name]) for name in ("digest", "source", "cell", "outcome", "similarity", "sharpness")} == {12}
    assert columns["cell"][0] == "front-neutral" and columns["outcome"][0] == "pass"
    assert len(columns["sources"]) == 4 and columns["source"][5] == 1


def test_the_detail_names_source_and_nearest_reference(client: TestClient) -> None:
    image = images(client)[1]
    detail = client.get(f"{GATE}/pictures/{image}").json()
    assert [other["role"] for other in detail["compare"]] == ["source", "nearest reference"]
    assert detail["compare"][0]["image"] == detail["record"]["parents"][0]
    assert 0 <= detail["subject"]["left"] <= detail["subject"]["left"] + detail["subject"]["width"] <= 1
    assert client.get(f"{GATE}/pictures/{'f' * 64}").status_code == 404


def test_two_reviewers_see_each_other_and_the_conflict(client: TestClient) -> None:
    image = images(client)[0]
    decide(client, image, "good", "ana-00001")
    state = decide(client, image, "reject", "tom-00001", "tom")["states"][-1]
    assert state["conflict"] and state["verdict"] is None
    assert [(o["author"], o["verdict"]) for o in state["opinions"]] == [("ana", "good"), ("tom", "reject")]
    settled = decide(client, image, "reject", "ana-00002", over=["tom-00001", "ana-00001"])["states"][-1]
    assert settled["verdict"] == "reject" and not settled["conflict"]


def test_undo_names_the_picture_and_only_takes_back_ones_own(client: TestClient) -> None:
    image = images(client)[0]
    decide(client, image, "good", "ana-00001")
    nothing = client.post(f"{GATE}/undo", json={"id": "undo-0001", "author": "tom"}).json()
    assert nothing["undone"] is None and nothing["counts"]["good"] == 1
    taken = client.post(f"{GATE}/undo", params={"after": 1}, json={"id": "undo-0002", "author": "ana"}).json()
    assert (taken["undone"], taken["pictures"], taken["counts"]["good"]) == (image, 1, 0)


def test_bulk_says_how_many_and_is_taken_back_as_one(client: TestClient) -> None:
    decide(client, images(client)[-1], "good", "ana-00001")
    rule = {"measure": "similarity", "below": 0.6}
    count = client.post(f"{GATE}/bulk/preview", json=rule).json()["count"]
    assert count == 5 - 1, "five of twelve are below 0.6, one of them is decided already"
    body = {
        "id": "bulk-0001",
        "author": "ana",
        "rule": rule,
        "verdict": "reject",
        "reasons": ["identity"],
        "expected": count,
    }
    wrong = client.post(f"{GATE}/bulk", json={**body, "expected": count + 1})
    assert wrong.status_code == 409 and f"matches {count}" in wrong.json()["what"]
    done = client.post(f"{GATE}/bulk", json=body).json()
    assert done["counts"]["reject"] == count
    assert client.post(f"{GATE}/bulk", json=body).json()["counts"]["reject"] == count, "the same request again"
    taken = client.post(
        f"{GATE}/undo", params={"after": done["revision"]}, json={"id": "undo-0001", "author": "ana"}
    ).json()
    assert taken["pictures"] == count and taken["counts"] == {**done["counts"], "reject": 0, "undecided": 11}


@pytest.mark.parametrize(
    "rule",
    [{}, {"measure": "similarity"}, {"below": 0.5}, {"measure": "nothing", "below": 1}, {"images": ["x"]}],
    ids=["empty", "no threshold", "no measure", "unknown measure", "no digest"],
)
def test_a_rule_that_says_nothing_is_refused(client: TestClient, rule: dict[str, object]) -> None:
    assert client.post(f"{GATE}/bulk/preview", json=rule).status_code == 422


def test_the_summary_warns_before_it_is_too_late(client: TestClient) -> None:
    decide(client, images(client)[0], "needs_correction", "ana-00001")
    summary = client.get(f"{GATE}/summary").json()
    text = " ".join(summary["warnings"])
    assert "Only 0 good pictures; this gate asks for 5" in text
    assert "neither a corrected picture nor a better prompt" in text and "11 pictures are undecided" in text
    policy = client.get(f"{GATE}/summary", params={"undecided": "take_passed"}).json()
    assert policy["good"] == policy["by_policy"] > 0


def test_too_few_good_pictures_need_an_override(served: Served) -> None:
    client, server = served
    body = {"author": "ana", "verdict": "approve"}
    refused = client.post(f"{GATE}/finish", json=body)
    assert refused.status_code == 409 and "asks for 2" in refused.json()["what"]
    assert client.get(GATE).json()["closed"] is None and server.resumed == []
    done = client.post(f"{GATE}/finish", json={**body, "override_minimum": True}).json()
    assert done["resumed"]["accepted"] and done["first"] and server.resumed[0].reviewer == "ana"


def test_the_first_answer_stands_and_is_shown(served: Served) -> None:
    client, _ = served
    client.post(f"{GATE}/finish", json={"author": "ana", "verdict": "stop"})
    second = client.post(f"{GATE}/finish", json={"author": "tom", "verdict": "redo"}).json()
    assert (second["closed"]["verdict"], second["closed"]["reviewer"], second["first"]) == ("stop", "ana", False)
    late = client.post(
        f"{GATE}/pictures/{images(client)[0]}/decision", json={"id": "late-0001", "author": "tom", "verdict": "good"}
    )
    assert late.status_code == 409 and "ana answered it with stop" in late.json()["why"]


def test_a_server_that_is_down_leaves_the_gate_open(served: Served) -> None:
    client, server = served
    decide(client, images(client)[0], "good", "ana-00001")
    server.down = True
    answer = client.post(f"{GATE}/finish", json={"author": "ana", "verdict": "redo"})
    assert answer.status_code == 503 and "does not answer" in answer.json()["what"]
    view = client.get(GATE).json()
    assert view["closed"] is None and view["server"] == "down" and view["counts"]["good"] == 1
    server.down = False
    assert client.post(f"{GATE}/finish", json={"author": "ana", "verdict": "redo"}).json()["resumed"]["accepted"]


def test_a_refused_resume_can_be_tried_again(served: Served) -> None:
    client, server = served
    server.refusal = "The database is locked."
    done = client.post(f"{GATE}/finish", json={"author": "ana", "verdict": "redo"}).json()
    assert done["resumed"] == {"accepted": False, "reason": "The database is locked."}
    assert client.get(GATE).json()["closed"]["verdict"] == "redo"
    server.refusal = ""
    assert client.post(f"{GATE}/resume").json()["resumed"]["accepted"]
    assert [outcome.verdict for outcome in server.resumed] == ["redo"]


def test_a_run_that_ended_is_not_answered(served: Served) -> None:
    client, server = served
    server.state = "CANCELLED"
    answer = client.post(f"{GATE}/finish", json={"author": "ana", "verdict": "redo"})
    assert answer.status_code == 409 and "has ended" in answer.json()["what"]


def test_a_gate_answered_elsewhere_shows_in_the_next_poll(served: Served, settings: Settings) -> None:
    client, _ = served
    assert client.get(f"{GATE}/changes").json()["closed"] is None
    elsewhere = Reviews(Store(settings.store_url))
    elsewhere.close("mira-t1-gate-a-r1", "redo", "leave_out", override_minimum=False, reviewer="Prefect interface")
    assert client.get(f"{GATE}/changes").json()["closed"]["reviewer"] == "Prefect interface"


def test_resuming_an_open_gate_is_refused(client: TestClient) -> None:
    assert client.post(f"{GATE}/resume").status_code == 409


def test_a_turn_starts_from_the_browser(served: Served) -> None:
    client, _ = served
    run = client.post("/api/v1/characters/mira/turns", json={"flywheel": "editor"}).json()
    assert run["flow_run"] == "editor-mira-nano"


def test_without_a_flow_server_a_turn_cannot_start(client: TestClient) -> None:
    answer = client.post("/api/v1/characters/mira/turns", json={})
    assert answer.status_code == 409 and "flenwheel up" in answer.json()["remedy"]


def test_a_correction_must_have_been_uploaded(client: TestClient) -> None:
    body = {"id": "ana-00001", "author": "ana", "verdict": "needs_correction", "correction": "a" * 64}
    assert client.post(f"{GATE}/pictures/{images(client)[0]}/decision", json=body).status_code == 404


def test_gates_are_listed_open_ones_first(client: TestClient, reviews: Reviews, session: ReviewSession) -> None:
    reviews.open(session.model_copy(update={"gate": "mira-t2-gate-a-r1", "turn": 2}))
    reviews.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    assert [gate["gate"] for gate in client.get("/api/v1/gates").json()] == ["mira-t2-gate-a-r1", session.gate]


@pytest.mark.parametrize("verdict", ["good", "reject", None])
def test_a_better_prompt_or_correction_goes_with_needs_correction_only(client: TestClient, verdict: str | None) -> None:
    for more in ({"correction": "a" * 64}, {"better_prompt": "look up"}):
        body = {"id": "ana-00001", "author": "ana", "verdict": verdict, **more}
        answer = client.post(f"{GATE}/pictures/{images(client)[0]}/decision", json=body)
        assert answer.status_code == 422 and "needs_correction only" in answer.text


def test_a_gate_whose_run_is_gone_says_so_and_stop_ends_its_turn(served: Served) -> None:
    client, server = served
    begin_turn(client)
    assert "Nobody waits" not in client.get("/").text
    server.state = "CANCELLED"
    assert "Nobody waits" in client.get("/").text
    body = {"author": "ana", "verdict": "approve", "override_minimum": True}
    refused = client.post(f"{GATE}/finish", json=body)
    assert refused.status_code == 409 and "choose stop" in refused.json()["remedy"]
    done = client.post(f"{GATE}/finish", json={"author": "ana", "verdict": "stop"}).json()
    assert done["first"] and "is ended" in done["resumed"]["reason"] and server.resumed == []
    assert client.get("/api/v1/turns/mira/1").json()["turn"]["outcome"] == "stopped"


def test_a_deleted_run_is_called_deleted(served: Served) -> None:
    client, server = served
    begin_turn(client)
    server.deleted = True
    assert client.get(GATE).json()["run"]["state"] == "DELETED"
    assert "Deleted" in client.get("/turns").text and "Nobody waits" in client.get("/").text
    ended = client.post("/api/v1/turns/mira/1/end", json={"author": "ana"})
    assert ended.status_code == 200 and "is ended" in ended.json()["said"]
    assert client.get(GATE).json()["closed"]["verdict"] == "stop"
    assert client.post("/api/v1/turns/mira/1/end", json={"author": "ana"}).status_code == 409


def test_a_second_turn_is_refused_with_the_gate_that_waits(served: Served) -> None:
    client, server = served
    begin_turn(client)
    refused = client.post("/api/v1/characters/mira/turns", json={})
    assert refused.status_code == 409 and "mira-t1-gate-a-r1" in refused.json()["why"]
    assert client.post("/api/v1/characters/mira/turns", json={"beside_open_turn": True}).status_code == 200
    server.state = "FAILED"
    assert client.post("/api/v1/characters/mira/turns", json={}).status_code == 200


def test_a_late_answer_is_shown(served: Served) -> None:
    client, _ = served
    reviews = Reviews(client.app.state.studio.store)  # type: ignore[attr-defined]
    client.post(f"{GATE}/finish", json={"author": "ana", "verdict": "redo"})
    reviews.note_late_answer("mira-t1-gate-a-r1", "stop", "tom")
    assert [late["reviewer"] for late in client.get(GATE).json()["late_answers"]] == ["tom"]


def test_typed_words_are_one_line_and_blank_ones_are_refused(client: TestClient) -> None:
    body = {
        "id": "ana-00001",
        "author": "ana",
        "verdict": "needs_correction",
        "better_prompt": "\ufeffa red\r\n hat\u2028smiling\x00 ",
    }
    answer = client.post(f"{GATE}/pictures/{images(client)[0]}/decision", json=body)
    assert answer.json()["states"][0]["better_prompt"] == "a red hat smiling"
    for blank in ("  ", "\ufeff", "\n\u2028"):
        answer = client.post(
            f"{GATE}/pictures/{images(client)[0]}/decision", json={**body, "id": "ana-00002", "better_prompt": blank}
        )
        assert answer.status_code == 422 and "a blank text says nothing" in answer.json()["why"]


@pytest.mark.parametrize(
    ("kind", "again"), [("enriched", "edited again"), ("synthetic", "drawn again"), ("triplets", "")]
)
def test_a_better_prompt_is_offered_and_taken_where_pictures_are_made_again(
    client: TestClient, reviews: Reviews, session: ReviewSession, kind: str, again: str
) -> None:
    reviews.open(session.model_copy(update={"gate": "mira-x", "kind": kind}))
    page = client.get("/gates/mira-x").text
    assert ('id="better-prompt"' in page) is bool(again) and (f"it is {again}" in page or not again)
    assert 'id="correction-file"' in page
    body = {"id": "ana-00001", "author": "ana", "verdict": "needs_correction", "better_prompt": "look up"}
    answer = client.post(f"/api/v1/gates/mira-x/pictures/{images(client)[0]}/decision", json=body)
    assert answer.status_code == (200 if again else 422), answer.text
