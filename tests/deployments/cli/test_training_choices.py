"""`flenwheel choose` and `flenwheel doubts`: what trainings found, and what a person says instead."""

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.doubts import trained_on
from flenwheel_core.store import Store
from tests.kit.command_line import run
from tests.kit.gate_world import fill_library
from tests.kit.training_findings import choice_made, doubt_raised


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("FLENWHEEL_AUTHOR", "ana")
    found = Store(settings.store_url)
    fill_library(found)
    return found


def test_the_states_are_listed_and_another_one_is_taken(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "choose", "mira")
    assert code == 1 and "Nothing was chosen inside a training" in err and "choice.states" in err
    choice_made(store)
    out = run(capsys, "choose", "mira")[1]
    assert "step 200 was taken" in out and "it may be over-trained" in out
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("*")] == [["*", "step", "200"]]
    code, _, err = run(capsys, "choose", "mira", "--step", "300")
    assert code == 1 and "tried were" in err
    code, out, err = run(capsys, "choose", "mira", "mira-t1-v1", "--strength", "0.8", "--why", "softer")
    assert code == 0 and "step 400 at strength 0.8" in out and "goes on with it" in out, err
    request, _ = Choices(store, "mira").find("mira-t1-v1")
    taken = Choices(store, "mira").taken(request.lora)
    assert taken is not None and (taken.by, taken.why, taken.lora.strength) == ("ana", "softer", 0.8)
    out = run(capsys, "choose", "mira")[1]
    assert "Taken by ana. softer" in out
    assert [line.split()[:5] for line in out.splitlines() if line.startswith("*")] == [
        ["*", "step", "400", "strength", "0.8"]
    ]


def test_doubtful_pictures_are_listed_and_decided(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has found a doubtful picture" in run(capsys, "doubts", "mira")[1]
    image = Library(store).pool("mira")[1].image.digest
    doubt_raised(store, image)
    out = run(capsys, "doubts", "mira")[1]
    assert "nobody has decided" in out and "5.2 deviations less" in out
    code, out, err = run(capsys, "doubts", "mira", "--leave-out", image[:10])
    assert code == 0 and "left out by ana" in out, err
    assert image not in {entry.image.digest for entry in trained_on(store, "mira")}
    out = run(capsys, "doubts", "mira", "--keep", image[:10], "--by", "ben")[1]
    assert "kept by ben" in out and image in {entry.image.digest for entry in trained_on(store, "mira")}
    code, _, err = run(capsys, "doubts", "mira", "--leave-out", "zz")
    assert code == 1 and "No doubtful pictures begin with" in err
