"""A turn of the captioner on a real server with its real stages: a killed training goes on, gate D suspends, and its answer is followed.

The captions are one planted sentence that the shipped captioner never says, so the comparison is certain whatever the load.
"""

from itertools import count
from pathlib import Path

import pytest

from benchmarks.kit.workspace import Running, wait_for
from flenwheel_core.documents.caption_lessons import CaptionLesson
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, ImageKind, ImageRecord, Labels, LoraUse
from flenwheel_core.documents.loras import LossPoint
from flenwheel_core.gates.kinds import CAPTIONS
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.lessons.captions import held_out
from flenwheel_core.library.captioners import CaptionerLibrary
from flenwheel_core.library.characters import Character, Library, SourceFile
from flenwheel_core.requests.ingest import IngestRequest
from flenwheel_core.requests.vl_train import VlTrainRequest, VlTrainResult
from flenwheel_core.store.pictures import save_picture
from tests.kit.captioner_stages import WALKED
from tests.kit.gate_world import NOW, REQUEST, draw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CAPTION = "photo of a person, smiling, in a forest"
STEPS, EACH = 16, 8


def recipe_of(running: Running, folder: Path) -> Path:
    """The stand-ins' recipe, which writes a checkpoint every 5 steps, with the nano captioner, which learns in few."""
    text = running.recipe.read_text()
    line = next(line for line in text.splitlines() if line.startswith("captioner = "))
    before, after = text.replace(line, 'captioner = "nano"').split("[captioner.train]")
    for old, new in {
        "steps = 600\nmin_epochs = 24.0\nbatch_size = 4": f"steps = {STEPS}\nlog_every = 1\nmin_epochs = 0.1\nbatch_size = 2",
        "learning_rate = 2e-3": "learning_rate = 4e-3",
        "warmup_steps = 10": "warmup_steps = 2",
        "rank = 32": "rank = 16",
    }.items():
        assert old in after, old
        after = after.replace(old, new, 1)
    path = folder / "captions.toml"
    path.write_text(f"{before}[captioner.train]{after}")
    return path


def add(running: Running, name: str, recipe: Path) -> None:
    library = Library(running.store)
    library.create_character(
        Character(name=name, trigger=f"ohwx_{name}", class_word="person", kind="person", recipe=str(recipe))
    )
    blobs = [running.store.put_blob(f"{name} {number}".encode()) for number in range(10)]
    library.add_sources(name, tuple(SourceFile(name=f"{place}.png", digest=blob) for place, blob in enumerate(blobs)))


def pictures(running: Running) -> list[ImageRecord]:
    """As many that are learned as are held out. The lot follows from a picture's bytes, so they are drawn until both are there."""
    learned: list[ImageRecord] = []
    held: list[ImageRecord] = []
    for number in count():
        if len(learned) == len(held) == EACH:
            return [*learned, *held]
        labels = Labels(angle=ANGLES[number % 5], expression=EXPRESSIONS[number % 4], pose="portrait")
        record = ImageRecord(
            digest="0" * 64, width=1, height=1, kind=ImageKind.ENRICHED, caption="a person", stage="enrich",
            request=REQUEST, item=f"edit-{number}", turn=1, labels=labels,
        )  # fmt: skip
        made = save_picture(running.store, draw(labels, number, 64), record)
        lesson = CaptionLesson(
            image=made.digest, caption=CAPTION, corrected=True, character="nora", trigger="ohwx_nora", gate="g"
        )
        side = held if held_out([lesson], 0.25)[1] else learned
        if len(side) < EACH:
            side.append(made)
    raise AssertionError("count() does not end")


def write_captions(running: Running) -> None:
    """A closed gate where a person wrote the caption of every picture."""
    reviews, records = Reviews(running.store), pictures(running)
    gate = "nora-t1-gate-a-r1"
    reviews.open(
        ReviewSession(
            gate=gate, kind="enriched", character="nora", turn=1, round=1, images=running.store.put_images(records), minimum=1
        )
    )  # fmt: skip
    for number, record in enumerate(records):
        line = Decision(
            id=f"written-{number:04d}", at=NOW, author="ana", image=record.digest, verdict=Verdict.GOOD, caption=CAPTION
        )
        reviews.decide(gate, line)
    reviews.close(gate, "approve", "leave_out", override_minimum=False, reviewer="ana")


def completed(running: Running, run: str) -> str:
    """What a run said that ended well."""
    ended = running.wait_state(run, "COMPLETED", "FAILED", "CRASHED", seconds=600)
    assert ended.state is not None and ended.state.type == "COMPLETED", running.worker_log()
    return ended.state.message or ""


def begin(running: Running, which: str) -> str:
    return running.api.start(f"captioner/{which}", {"character": "nora"}).id


def gate_d(running: Running, run: str) -> str:
    """The gate of a turn, with the comparison on its page."""
    gate = running.wait_editor_gate(run, seconds=600)
    session = Reviews(running.store).get(gate)
    assert (session.kind, session.flow_run) == (CAPTIONS.name, run)
    assert f"On {EACH} pictures that it had not learned, the new captioner would be promoted" in session.note
    return gate


def trainings(running: Running, run: str) -> list[str]:
    """The requests of the training processes that the run began."""
    return [
        line.request
        for line in running.stage_runs()
        if (line.stage, line.event, line.flow_run) == ("vl_train", "started", run)
    ]


def assert_killed_and_gone_on(running: Running, run: str) -> None:
    """The run's training was killed once, and its second process went on from the checkpoint."""
    first, second = trainings(running, run)
    assert first == second
    steps: dict[str, list[int]] = {}
    for line in (running.settings.scratch / "vl_train" / first / WALKED).read_text().splitlines():
        process, step = line.split()
        steps.setdefault(process, []).append(int(step))
    killed, went_on = steps.values()
    assert killed[0] == 1 < went_on[0] <= killed[-1] + 1 <= STEPS and went_on[-1] == STEPS


def losses(running: Running, run: str) -> tuple[LossPoint, ...]:
    """The curve of the run's training."""
    request = running.store.get_request(VlTrainRequest, trainings(running, run)[0])
    assert request is not None
    result = running.store.get_result(request, VlTrainResult)
    assert result is not None and len(result.losses) == STEPS
    return result.losses


def test_what_gate_d_says_of_a_captioner_happens_and_the_next_ingest_wears_it(running: Running, tmp_path: Path) -> None:
    recipe = recipe_of(running, tmp_path)
    add(running, "nora", recipe)
    library = CaptionerLibrary(running.store)
    write_captions(running)

    refused = begin(running, "when-captions-wait")
    gate = gate_d(running, refused)
    assert_killed_and_gone_on(running, refused)
    assert running.answer(gate, "stop").accepted
    assert completed(running, refused) == "stopped at gate D"
    assert library.champions() == []
    assert "Not enough new captions yet: 0 of" in completed(running, begin(running, "when-captions-wait"))

    approved = begin(running, "turn")
    gate = gate_d(running, approved)
    assert len(trainings(running, approved)) == 1
    assert losses(running, approved) == losses(running, refused), "whether it was killed or not, it learned the same"
    answer = {"verdict": "approve", "undecided": "take_passed", "reviewer": "form"}
    response = running.api.send("POST", f"/flow_runs/{approved}/resume", {"run_input": answer})  # type: ignore[dict-item]
    assert response.json()["status"] == "ACCEPT"
    assert completed(running, approved).startswith("promoted: nearer to people's captions")
    ended = {line.flow_run: line.outcome for line in library.ended_turns()}
    assert (ended[refused], ended[approved]) == ("stopped", "promoted")
    (champion,) = library.champions()
    assert (champion.reviewer, champion.gate, champion.lora.target) == ("form", gate, "captioner")

    add(running, "olga", recipe)
    running.schedule("olga")
    place = "turns/olga/0001/ingest"
    wait_for(lambda: running.store.get_document(place, IngestRequest) is not None, 300, running.worker_log)
    request = running.store.get_document(place, IngestRequest)
    assert request is not None and request.captioner_loras == (LoraUse(digest=champion.lora.digest),)
    running.wait_gate("olga-t1-gate-a-r1", seconds=600)
    assert running.answer("olga-t1-gate-a-r1", "stop").accepted
