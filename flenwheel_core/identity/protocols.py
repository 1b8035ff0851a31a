"""What tells one character from another (a verifier), and what reads angle, expression and pose (a reader)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from flenwheel_core.documents.images import Labels

if TYPE_CHECKING:
    from PIL.Image import Image

    from flenwheel_core.identity.fingerprint import ThresholdRule


Beliefs = Mapping[str, float]
"""How sure a reading is, 0 to 1, by the field of Labels it is of."""


class Reader(Protocol):
    """Reads angle, expression and pose from pictures."""

    @property
    def model(self) -> str: ...

    def read(self, images: "Sequence[Image]") -> list[Labels]:
        """What each picture shows; None where it cannot tell."""
        ...

    def look(self, images: "Sequence[Image]") -> list[tuple[Labels, Beliefs]]:
        """The same, and how sure each reading is."""
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
    """What was read in passing, such as the turn of the head."""
    labels_certain: bool = False
    """True if they were read from the whole face and can be compared with what was asked; else they are a coarse hint."""
    beliefs: Beliefs = field(default_factory=dict)
    """How sure these labels are."""
    sharpness: float | None = None
    """Sharpness of the face or subject alone."""
    box: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom of the face in pixels of the picture; None where the whole picture was embedded."""
    others: "tuple[Embedded, ...]" = ()
    """Further people of the same picture, the largest first; each with its own embedding."""


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
