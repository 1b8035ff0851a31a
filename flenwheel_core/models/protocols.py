"""What a model family can offer. A family implements what it has; nothing asks for more.

All of these live in a stage's child process and load their weights when entered, once per stage.
Pictures are `PIL.Image.Image` in RGB.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from flenwheel_core.documents.images import Sampler

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from flenwheel_core.adapters.lora_file import LoraFiles
    from flenwheel_core.documents.storages import EditorStorage
    from flenwheel_core.models.shelf import Shelf


@dataclass(frozen=True)
class GenerateJob:
    """One picture to draw."""

    key: str
    prompt: str
    seed: int
    sampler: Sampler


@dataclass(frozen=True)
class EditJob:
    """One edit to make. `images` holds the source first, then further references."""

    key: str
    prompt: str
    seed: int
    sampler: Sampler
    images: "tuple[Image, ...]"
    shift: float | None = None
    """Fixed shift of the noise levels, for few-step LoRAs; None: the model's own schedule."""


@dataclass(frozen=True)
class Made:
    """A finished picture."""

    key: str
    image: "Image"


def _say_nothing(_text: str) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class ModelSetup:
    """How a model is to be set up for a piece of work."""

    loras: "LoraFiles" = ()
    """What it wears while it draws or edits."""
    storage: "EditorStorage | None" = None
    """How its weights are stored, where somebody chose; None: what the family takes on the card."""
    memory_level: int = 0
    """How often the card ran out of memory before: each time a tighter plan is taken."""
    note: Callable[[str], None] = _say_nothing
    """Told what was chosen, for the log."""
    shelf: "Shelf | None" = None
    """Where its transformer stays for the next piece of work of this process; None: its memory is free again afterwards."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the stage is to stop: for models that wait long for something, between two pictures the stage looks itself."""

    def make_room(self) -> None:
        """What stands on the shelf leaves: encoders do not share the card with it."""
        if self.shelf is not None:
            self.shelf.clear()


PLAIN_SETUP = ModelSetup()


class ImageGenerator(Protocol):
    """Draws pictures from text."""

    @property
    def model(self) -> str:
        """The resolved model reference, with revision."""
        ...

    def generate(self, jobs: Iterable[GenerateJob]) -> Iterator[Made]:
        """Yields each picture as it is finished; the same job always gives the same picture."""
        ...


class WorkPhase(Protocol):
    """A part of a model's work that was measured."""

    def line(self) -> str:
        """Name, seconds and peak card memory, for people."""
        ...


class ImageEditor(Protocol):
    """Edits pictures by instruction."""

    @property
    def model(self) -> str: ...

    @property
    def phases(self) -> Sequence[WorkPhase]:
        """What each part of the work took so far."""
        ...

    def edit(self, jobs: Iterable[EditJob]) -> Iterator[Made]:
        """Yields each edit as it is finished; may go through the jobs in another order, grouped by shape."""
        ...


class Captioner(Protocol):
    """Describes pictures."""

    @property
    def model(self) -> str: ...

    def caption(self, images: "Sequence[Image]") -> list[str]:
        """One caption a picture."""
        ...


class VerdictModel(Protocol):
    """Answers one question about pictures, as log-odds of its answers."""

    @property
    def model(self) -> str: ...

    def wear(self, lora: "Path") -> None:
        """Answers with this LoRA from now on, in place of another of the same shape."""
        ...

    def log_odds(self, pictures: "Sequence[Image]") -> tuple[float, ...]:
        """Of every answer but the last against the last, about these pictures together."""
        ...
