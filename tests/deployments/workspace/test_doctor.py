"""What the doctor says about kernels: tried in a process of their own, while no stage is on the card."""

import sys
from pathlib import Path

import pytest

from deployments.workspace import doctor
from flenwheel_core.base.locks import locked
from flenwheel_core.base.settings import Settings
from flenwheel_core.identity.people_weights import FACE_FILES, PEOPLE_FILES, WRITING, people_folder, people_weights_here


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a machine that has a card as far as the driver knows, and a slot that no other test has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_has_card", lambda: True)
    monkeypatch.setattr(Settings, "slot_lock", tmp_path / "slot.lock")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return Settings(workspace=tmp_path)


def test_kernels_are_tried_in_a_process_of_their_own(settings: Settings) -> None:
    found = doctor._kernels(settings)
    assert found.ok and found.text == "kernels: none, PyTorch computes everything (needs an NVIDIA card)"


def test_kernels_are_not_tried_while_a_stage_uses_the_card(settings: Settings) -> None:
    with locked(settings.slot_lock):
        found = doctor._kernels(settings)
    assert found.ok and "a stage uses the card" in found.text


def test_a_slot_that_cannot_be_locked_is_a_finding(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "slot_lock", tmp_path)
    found = doctor._kernels(settings)
    assert not found.ok and "cannot be taken" in found.text


def test_weights_for_people_are_no_fault_if_absent_and_one_if_altered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    absent = doctor._people()
    assert absent.ok and "flenwheel models people" in absent.text
    people_folder().mkdir(parents=True)
    for file in PEOPLE_FILES:
        (people_folder() / file.name).write_bytes(b"other")
    assert not doctor._people().ok


def test_an_installation_from_before_writing_was_looked_for_is_whole_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = people_folder()
    if not people_weights_here():
        pytest.skip("flenwheel models people")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    people_folder().mkdir(parents=True)
    for file in FACE_FILES:
        (people_folder() / file.name).symlink_to(here / file.name)
    found = doctor._people()
    assert found.ok and "writing" in found.text and "flenwheel models people" in found.text
    (people_folder() / WRITING.name).write_bytes(b"other")
    assert not doctor._people().ok
