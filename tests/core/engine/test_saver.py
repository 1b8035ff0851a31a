"""A checkpoint is what the state was when it was handed over, whatever the training does meanwhile; failures are told."""

import threading
from pathlib import Path

import pytest
import torch

from flenwheel_core.engine.checkpoint import Checkpoint, CheckpointFolder
from flenwheel_core.engine.saver import BackgroundSaver


class Slow(CheckpointFolder):
    """A disk that waits until it is told to go on."""

    may_write = threading.Event()

    def save(self, checkpoint: Checkpoint) -> None:
        assert self.may_write.wait(240)
        super().save(checkpoint)


class Full(CheckpointFolder):
    def save(self, checkpoint: Checkpoint) -> None:
        raise OSError("no space left on device")


def at(step: int, weight: torch.Tensor) -> Checkpoint:
    return Checkpoint(step, {"weight": weight}, {"losses": []})


def test_the_training_goes_on_while_its_state_is_written(tmp_path: Path) -> None:
    folder = Slow(tmp_path, "run", keep=2)
    saver, weight = BackgroundSaver(folder), torch.zeros(4)
    saver.save(at(1, weight))
    assert list(tmp_path.iterdir()) == [], "nothing is written yet, and the training is here already"
    weight += 1
    folder.may_write.set()
    saver.finish()
    found = folder.latest()
    assert found is not None and found.step == 1 and not found.tensors["weight"].any(), "as it was"
    saver.save(at(2, weight))
    saver.wait()
    found = folder.latest()
    assert found is not None and found.step == 2 and bool(found.tensors["weight"].all())


def test_what_kept_a_state_from_the_disk_is_told_once(tmp_path: Path) -> None:
    saver = BackgroundSaver(Full(tmp_path, "run", keep=2))
    saver.save(at(1, torch.zeros(1)))
    with pytest.raises(OSError, match="no space"):
        saver.save(at(2, torch.zeros(1)))
    saver.finish()


class FullOnce(CheckpointFolder):
    """A disk that is full for one state, and then has room again."""

    def save(self, checkpoint: Checkpoint) -> None:
        if checkpoint.step == 1:
            raise OSError("no space left on device")
        super().save(checkpoint)


def test_the_last_state_is_on_disk_whatever_became_of_the_one_before(tmp_path: Path) -> None:
    folder = FullOnce(tmp_path, "run", keep=2)
    saver = BackgroundSaver(folder)
    saver.save(at(1, torch.zeros(1)))
    saver.save_last(at(2, torch.zeros(1)))
    found = folder.latest()
    assert found is not None and found.step == 2 and saver.end() is None


def test_a_last_state_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    saver = BackgroundSaver(Full(tmp_path, "run", keep=2))
    with pytest.raises(OSError, match="no space"):
        saver.save_last(at(1, torch.zeros(1)))
