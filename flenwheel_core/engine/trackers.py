"""Where curves go: loss.jsonl always, TensorBoard and trackio by choice."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.documents.loras import LossPoint


class Tracker(Protocol):
    """Takes named numbers at a step."""

    def log(self, step: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class LossFile:
    """loss.jsonl: one line a log point and one for the figures of each sample grid.

    On resume it is cut back to what the checkpoint knows: its losses, and the figures of grids before step `before`.
    """

    def __init__(self, path: Path, points: Sequence[LossPoint], *, before: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [*_figures(path, before), *((point.step, {"loss": point.loss}) for point in points)]
        self._file = path.open("w")
        for step, values in sorted(lines, key=lambda line: line[0]):
            self.log(step, values)

    def log(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _figures(path: Path, before: int) -> list[tuple[int, dict[str, float]]]:
    """Lines of an earlier part of the run that are not losses; a line that was cut off is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            values = json.loads(line)
            step = int(values.pop("step"))
        except (ValueError, KeyError, AttributeError):
            continue
        if "loss" not in values and step < before:
            found.append((step, values))
    return found


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Trackio:
    def __init__(self, project: str, run: str) -> None:
        import trackio

        self._trackio = trackio
        trackio.init(project=project, name=run, resume="allow")

    def log(self, step: int, values: dict[str, float]) -> None:
        self._trackio.log(values, step=step)

    def close(self) -> None:
        self._trackio.finish()


def make_trackers(names: Sequence[str], folder: Path, *, run: str) -> list[Tracker]:
    """The chosen trackers; raises MissingWeightsError if a package is missing."""
    require_trackers(names)
    trackers: list[Tracker] = []
    for name in names:
        trackers.append(_TensorBoard(folder / "tensorboard") if name == "tensorboard" else _Trackio("flenwheel", run))
    return trackers


def require_trackers(names: Sequence[str]) -> None:
    """Raises MissingWeightsError if a tracker's package is missing."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingWeightsError(
                f"The tracker {name} is not installed here.",
                remedy="pip install 'flenwheel[tracking]', or leave it out.",
            )
