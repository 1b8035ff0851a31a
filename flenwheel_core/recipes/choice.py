"""The choices about choosing inside a training: which of its states becomes the LoRA, and at which strength."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from flenwheel_core.base.document import Document


class ChoiceRecipe(Document):
    """States of a training are tried on a small card; one that beats the last state by a paired test takes its place."""

    states: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(),
        max_length=8,
        description="Shares of a training after which the LoRA is kept and tried besides the last one, such as [0.5, 0.75]; "
        "none: the last one is taken untried.",
    )
    strengths: tuple[Annotated[float, Field(gt=0, le=2)], ...] = Field(
        default=(1.0,),
        min_length=1,
        max_length=8,
        description="Strengths that each state is tried at, in shares of generate.lora_weight; another than 1 is put into the file.",
    )
    pick_pictures: int = Field(
        default=12,
        ge=4,
        le=500,
        description="Pictures that each state is drawn with, at each strength, to pick the best.",
    )
    confirm_pictures: int = Field(
        default=24,
        ge=6,
        le=500,
        description="Further pictures, with other seeds, on which the best must beat the last state; drawn with these two only.",
    )
    significance: float = Field(
        default=0.05, gt=0, lt=0.5, description="The best state is taken with a p-value below this (paired test)."
    )

    @property
    def on(self) -> bool:
        """True if there is anything to choose from."""
        return bool(self.states) or any(strength != 1 for strength in self.strengths)

    def kept_steps(self, steps: int) -> tuple[int, ...]:
        """The steps after which a training of `steps` keeps its state."""
        return tuple(sorted({step for share in self.states if 0 < (step := round(share * steps)) < steps}))

    def tried(self, steps: int) -> tuple[tuple[int, float], ...]:
        """Every (step, strength) of a training of `steps`, the last state at strength 1 last: what is taken if nothing beats it."""
        states = (*self.kept_steps(steps), steps)
        every = {(step, strength) for step in states for strength in self.strengths}
        return (*sorted(every - {(steps, 1.0)}), (steps, 1.0))

    def pictures(self, steps: int) -> int:
        """Pictures drawn for the choice in a training of `steps`, at most."""
        return len(self.tried(steps)) * self.pick_pictures + 2 * self.confirm_pictures if self.on else 0

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.states)) < len(self.states) or len(set(self.strengths)) < len(self.strengths):
            raise ValueError("choice.states and choice.strengths name each value once")
        return self


def is_default(value: object) -> bool:
    """For `exclude_if`: a recipe that says nothing of it keeps the digest it had before there was a choice."""
    return value == ChoiceRecipe()
