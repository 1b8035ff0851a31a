"""What the doctor says about kernels: tried in a process of their own, while no stage is on the card."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from deployments.prefect.api import PrefectApi
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


def test_each_card_that_is_named_has_a_slot_of_its_own_and_a_leak_is_seen_on_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the locks of cards lie
    settings = Settings(workspace=tmp_path / "workspace", machine_name="rack", gpu="0,1")
    limits = [SimpleNamespace(name=f"gpu:rack:{card}", active_slots=1, limit=1) for card in (0, 1, 2)]
    api = cast(PrefectApi, SimpleNamespace(limits=lambda: limits, runs=lambda states: []))
    with locked(settings.slot_lock) as lock:
        lock.note(json.dumps({"pid": 7, "stage": "train", "workspace": "w"}))
        told = [finding.text for finding in doctor._slots(settings)]
        assert told == ["GPU slot rack:0 is held by process 7, stage train, workspace w", "GPU slot rack:1 is free"]
        assert [finding.ok for finding in doctor._limits(api, settings)] == [True, False, True]
