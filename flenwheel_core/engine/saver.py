"""Checkpoints are written while the training goes on: it only waits until its state was copied.

A LoRA of 250 MB with its moments is three times as large. Putting it into words, writing it down and reading it back takes seconds,
in which the card would stand still.
"""

import threading

from flenwheel_core.engine.checkpoint import Checkpoint, CheckpointFolder


class BackgroundSaver:
    """Writes one checkpoint at a time, in the order given."""

    def __init__(self, folder: CheckpointFolder) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Takes the state as it is now; it is on disk some time later. Raises what kept the one before from being written."""
        self.finish()
        self._begin(checkpoint)

    def save_last(self, checkpoint: Checkpoint) -> None:
        """Returns when this state is on disk, whatever became of those before: nothing comes after it. Raises what kept it from there."""
        self.wait()
        self._error = None  # this one takes the place of what could not be written
        self._begin(checkpoint)
        self.finish()

    def _begin(self, checkpoint: Checkpoint) -> None:
        tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in checkpoint.tensors.items()}
        copied = Checkpoint(checkpoint.step, tensors, checkpoint.facts)
        self._thread = threading.Thread(target=self._write, args=(copied,), name="checkpoint", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Until everything is on disk. Raises what kept it from being written."""
        error = self.end()
        if error is not None:
            raise error

    def end(self) -> BaseException | None:
        """Until nothing is being written any more; what kept the last state from being written, if anything did."""
        self.wait()
        error, self._error = self._error, None
        return error

    def wait(self) -> None:
        """Until nothing is being written any more."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self, checkpoint: Checkpoint) -> None:
        try:
            self._folder.save(checkpoint)
        except Exception as error:
            self._error = error
