"""What a model family can offer. A family implements what it has; nothing asks for more.

All of these live in a stage's child process and load their weights when entered, once per stage.
Pictures are `PIL.Image.Image` in RGB.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flenwheel_core.domain.images import Labels, Sampler

if TYPE_CHECKING:
    from PIL.Image import Image

    from flenwheel_core.identity.fingerprint import ThresholdRule


@dataclass(frozen=True)
class LoraFile:
    """A LoRA on this machine's disk."""

    path: Path
    weight: float


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


@dataclass(frozen=True)
class Working:
    """How a model is to be opened for a piece of work."""

    memory_level: int = 0
    """How often the card ran out of memory before: each time a tighter plan is taken."""
    note: Callable[[str], None] = _say_nothing
    """Told what was chosen, for the log."""


WORKING = Working()


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


class Judge(Protocol):
    """Says whether two pictures show the same character."""

    @property
    def model(self) -> str: ...

    def same_character(self, first: "Image", second: "Image") -> float:
        """Probability between 0 and 1."""
        ...


class Reader(Protocol):
    """Reads angle, expression and pose from pictures."""

    @property
    def model(self) -> str: ...

    def read(self, images: "Sequence[Image]") -> list[Labels]:
        """What each picture shows; None where it cannot tell."""
        ...


@dataclass(frozen=True)
class Embedded:
    """Identity embedding of one picture, or why there is none."""

    embedding: tuple[float, ...] | None
    problem: str | None = None
    """A ReasonCode such as no_face; may come beside an embedding (extra_faces)."""
    subject_size: int | None = None
    """Height of the face or subject in pixels."""
    labels: Labels | None = None
    """What was read in passing, such as the turn of the head: advisory."""
    sharpness: float | None = None
    """Sharpness of the face or subject alone."""


class Verifier(Protocol):
    """Embeds the identity of a character."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Digest of weights and preprocessing: embeddings of different versions are never compared."""
        ...

    @property
    def threshold_rule(self) -> "ThresholdRule":
        """How a character's own spread becomes its threshold in this verifier's space."""
        ...

    @property
    def sees_whole_picture(self) -> bool:
        """True if embeddings also tell pictures of one character apart, so that nearly equal ones mean a duplicate."""
        ...

    def embed(self, images: "Sequence[Image]") -> list[Embedded]:
        """One result a picture, in order."""
        ...

    def prompt_fidelity(self, embedded: Sequence[Embedded], prompts: Sequence[str]) -> list[float | None]:
        """How well each embedded picture fits its prompt, as a cosine; None where this verifier knows no text."""
        ...


OpenGenerator = Callable[..., AbstractContextManager[ImageGenerator]]
OpenEditor = Callable[..., AbstractContextManager[ImageEditor]]
