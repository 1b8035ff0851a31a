"""The kinds of gates, in one table: what each shows, what it takes, and what its verdicts feed.

Usable are the good pictures, and the corrected ones in place of those that need correction, where corrections are taken
(`FinalDecision.usable`). Whatever treats gates differently asks this table; nothing else compares the names of kinds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

GateKind = Literal["enriched", "synthetic", "triplets", "verdicts", "captions"]


@dataclass(frozen=True)
class KindOfGate:
    """What is particular to the gates of one kind."""

    name: GateKind
    letter: str
    title: str
    """What it shows, in a heading."""
    asked: str
    """What waits for verdicts, in a sentence."""
    feeds_pool: bool
    """Its usable pictures enter the training pool."""
    lessons: Literal["gives", "approves"] | None
    """Each usable picture that somebody looked at gives the editor a lesson; or it approves the lessons of other gates; or neither."""
    aims_at_cells: bool
    """Its pictures are aimed at the model-card cells that the sources leave open: cells that stay empty are worth a warning."""
    too_few: str
    """Why it asks for a minimum."""
    strict: bool
    """Screening before it asks for more."""
    made_again: str | None
    """What becomes of a picture with a better prompt, such as "edited again"; None where better prompts are not taken."""
    takes_corrections: bool = True
    """A corrected picture may take the place of one that needs correction."""
    shows_again: bool = False
    """It shows again what other gates decided, for what learns from it: the critic or the captioner."""

    @property
    def step(self) -> str:
        """Its name within a turn, such as gate-a."""
        return f"gate-{self.letter.lower()}"

    @property
    def of_editor(self) -> bool:
        """True if it shows, as lessons, what other gates judged: its turn is the editor's, not that of the character that it shows."""
        return self.lessons == "approves"

    @property
    def judges_new(self) -> bool:
        """True if its pictures were not judged before: its turn is that of the character that it shows."""
        return not self.of_editor and not self.shows_again


_ONE_POSE = "training on too few pictures gives a LoRA that knows one pose."

ENRICHED = KindOfGate(
    name="enriched",
    letter="A",
    title="enriched images",
    asked="edits of the sources",
    feeds_pool=True,
    lessons="gives",
    aims_at_cells=True,
    too_few=_ONE_POSE,
    strict=False,
    made_again="edited again",
)
SYNTHETIC = KindOfGate(
    name="synthetic",
    letter="B",
    title="synthetic images",
    asked="synthetic pictures",
    feeds_pool=True,
    lessons=None,
    aims_at_cells=False,
    too_few=_ONE_POSE,
    strict=True,
    made_again="drawn again",
)
TRIPLETS = KindOfGate(
    name="triplets",
    letter="C",
    title="triplets for the editor",
    asked="lessons for the editor",
    feeds_pool=False,
    lessons="approves",
    aims_at_cells=False,
    too_few="an editor that is trained on too few lessons learns those by heart.",
    strict=False,
    made_again=None,
)

VERDICTS = KindOfGate(
    name="verdicts",
    letter="D",
    title="verdicts for the critic",
    asked="verdicts that surprised the critic, on turns it had not learned,",
    feeds_pool=False,
    lessons=None,
    aims_at_cells=False,
    too_few="a critic that learns from too few verdicts knows one day's mood.",
    strict=False,
    made_again=None,
    takes_corrections=False,
    shows_again=True,
)

CAPTIONS = KindOfGate(
    name="captions",
    letter="D",
    title="captions for the captioner",
    asked="captions that the captioner is to learn",
    feeds_pool=False,
    lessons=None,
    aims_at_cells=False,
    too_few="a captioner that learns from too few captions says them of every picture.",
    strict=False,
    made_again=None,
    takes_corrections=False,
    shows_again=True,
)

KINDS: Mapping[GateKind, KindOfGate] = {kind.name: kind for kind in (ENRICHED, SYNTHETIC, TRIPLETS, VERDICTS, CAPTIONS)}
