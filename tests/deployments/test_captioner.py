"""A turn of the captioner on a real server, with its real stages: it learns captions, gate D suspends, the next ingest wears it or not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.kit.workspace import Running, wait_for
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.gates.kinds import CAPTIONS
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.captioners import CaptionerLibrary
from flenwheel_core.library.characters import Character, Library, SourceFile
from flenwheel_core.requests.ingest import IngestRequest

pytestmark = pytest.mark.slow

CAPTION = "photo of ohwx_nora person, smiling, in a forest"


def recipe_of(running: Running, folder: Path) -> Path:
    """The stand-ins' recipe with the nano captioner, which learns in few steps."""
    lines = []
    for line in running.recipe.read_text().splitlines():
        lines.append('captioner = "nano"' if line.startswith("captioner = ") else line)
    text = "\n".join(lines).replace("steps = 600\nmin_epochs = 24.0", "steps = 40")
    assert "steps = 40" in text
    path = folder / "captions.toml"
    path.write_text(text + "\n")
    return path


def add(running: Running, name: str, recipe: Path) -> None:
    library = Library(running.store)
    library.create_character(
        Character(name=name, trigger=f"ohwx_{name}", class_word="person", kind="person", recipe=str(recipe))
    )
    blobs = [running.store.put_blob(f"{name} {number}".encode()) for number in range(10)]
    library.add_sources(name, tuple(SourceFile(name=f"{place}.png", digest=blob) for place, blob in enumerate(blobs)))


def write_every_caption(running: Running, gate: str) -> None:
    reviews = Reviews(running.store)
    for record in reviews.images(reviews.get(gate)):
        line = Decision(
            id=f"{gate} {record.digest}",
            at=datetime.now(UTC),
            author="tester",
            image=record.digest,
            verdict=Verdict.GOOD,
            caption=CAPTION,
        )
        reviews.decide(gate, line)


def completed(running: Running, run: str, seconds: float = 150) -> str:
    """What a run said that ended well."""
    ended = running.wait_state(run, "COMPLETED", "FAILED", "CRASHED", seconds=seconds)
    assert ended.state is not None and ended.state.type == "COMPLETED", running.worker_log()
    return ended.state.message or ""


def test_what_gate_d_says_of_a_captioner_happens_and_the_next_ingest_wears_it(running: Running, tmp_path: Path) -> None:
    recipe = recipe_of(running, tmp_path)
    add(running, "nora", recipe)
    asked = {"character": "nora"}
    assert "Not enough new captions yet" in completed(
        running, running.api.start("captioner/when-captions-wait", asked).id
    )
    turn = running.schedule("nora")
    running.wait_gate("nora-t1-gate-a-r1")
    write_every_caption(running, "nora-t1-gate-a-r1")
    assert running.finish(turn, "nora").state.type == "COMPLETED", running.worker_log()  # type: ignore[union-attr]

    run = running.api.start("captioner/when-captions-wait", asked).id
    gate = running.wait_editor_gate(run, seconds=400)
    session = Reviews(running.store).get(gate)
    assert session.kind == CAPTIONS.name and session.flow_run == run
    # Which pictures are held out follows from their digests, so a run may have too few of them to show anything.
    promoted = "would be promoted" in session.note
    assert promoted or "would be kept back" in session.note
    again = completed(running, running.api.start("captioner/turn", asked).id)
    assert "gate" in again, "a second turn beside the one that waits ends at once"
    answer = {"verdict": "approve", "undecided": "take_passed", "reviewer": "form"}
    response = running.api.send("POST", f"/flow_runs/{run}/resume", {"run_input": answer})  # type: ignore[dict-item]
    assert response.json()["status"] == "ACCEPT"
    completed(running, run)

    library = CaptionerLibrary(running.store)
    outcome = {line.flow_run: line.outcome for line in library.ended_turns()}[run]
    worn = tuple(LoraUse(digest=champion.lora.digest) for champion in library.champions())
    assert (outcome, len(worn)) == (("promoted", 1) if promoted else ("kept", 0))
    for champion in library.champions():
        assert (champion.reviewer, champion.flow_run, champion.lora.target) == ("form", run, "captioner")
    assert "Not enough new captions yet" in completed(
        running, running.api.start("captioner/when-captions-wait", asked).id
    )

    add(running, "olga", recipe)
    following = running.schedule("olga")
    place = "turns/olga/0001/ingest"
    wait_for(lambda: running.store.get_document(place, IngestRequest) is not None, 90, running.worker_log)
    request = running.store.get_document(place, IngestRequest)
    assert request is not None and request.captioner_loras == worn
    running.wait_gate("olga-t1-gate-a-r1")
    assert running.answer("olga-t1-gate-a-r1", "stop").accepted
    assert following in {one.flow_run for one in Library(running.store).turns("olga")}
