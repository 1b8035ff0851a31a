"""Which state of a training became its LoRA, at which strength, and what the others would have drawn."""

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.scores import CellScore, Comparison, Scorecard


class State(Document):
    """A LoRA as it was after a step, worn at a strength."""

    step: int
    strength: float = Field(description="share of the weight that LoRAs are drawn with")
    lora: Digest = Field(description="LoRA file of the state, at strength 1")

    @property
    def name(self) -> str:
        """For people."""
        return f"step {self.step}" if self.strength == 1 else f"step {self.step} at strength {self.strength:g}"


class TriedState(Document):
    """A state with its small card."""

    state: State
    card: Scorecard

    @property
    def shown(self) -> float:
        """Mean share of what its pictures were asked for that they show."""
        return sum(worth(cell) for cell in self.card.cells) / max(1, len(self.card.cells))


class StateChoice(Document):
    """The choice inside one training."""

    name: str = Field(description="name of the LoRA")
    training: Digest = Field(description="key of the training's request")
    tried: tuple[TriedState, ...] = Field(description="the last state at strength 1 last: taken if nothing beats it")
    taken: int = Field(description="place in `tried`")
    best: int = Field(description="place of what the small card liked best")
    confirmed: Comparison | None = Field(
        description="the best beside the last state on further pictures; None: they are the same one"
    )
    held_out: int = Field(
        description="real pictures that nothing was trained on, which identity is measured against; 0: the sources"
    )

    @property
    def default(self) -> int:
        """The place of the last state at strength 1."""
        return len(self.tried) - 1

    def find(self, step: int | None, strength: float | None) -> TriedState | None:
        """What was tried at this step and strength; the last step, or strength 1, where nothing is said. None: nothing was."""
        wanted = (self.tried[self.default].state.step if step is None else step, 1.0 if strength is None else strength)
        return next((one for one in self.tried if (one.state.step, one.state.strength) == wanted), None)


def worth(cell: CellScore) -> float:
    """The share of what a picture was asked for that it shows: angle, expression, pose; 0 if it shows somebody else or is unfit for use.

    What could not be told is left out. Finer than whether it passes: fewer pictures tell two LoRAs apart.
    """
    told = [ok for ok in (cell.angle_ok, cell.expression_ok, cell.pose_ok) if ok is not None]
    if cell.reasons or not cell.measured:
        return 0.0
    return sum(told) / len(told) if told else 1.0
