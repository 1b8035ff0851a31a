"""Request and result of the stage `choose`: which state of a training becomes its LoRA."""

from pydantic import Field

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.choices import State, StateChoice
from flenwheel_core.documents.images import Sampler, is_unset
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.recipes.benchmark import BenchmarkRecipe
from flenwheel_core.recipes.screening import ScreeningRecipe
from flenwheel_core.requests.base import StageRequest, StageResult


class ChooseRequest(StageRequest):
    stage = "choose"
    version = 2  # since then diversity counts pictures that are not nearly copies of each other

    character: CharacterRef
    base: str
    lora: LoraRecord = Field(description="the training's own: its last state")
    states: tuple[State, ...] = Field(min_length=2, description="the last state at strength 1 last")
    pick_items: tuple[GenerateItem, ...] = Field(min_length=1, description="what every state draws")
    confirm_items: tuple[GenerateItem, ...] = Field(min_length=1, description="what the best and the last state draw")
    lora_weight: float = 1.0
    fingerprint: Fingerprint
    held_out: Digest | None = Field(
        default=None, exclude_if=is_unset, description="image set of real pictures that are never trained on"
    )
    verifier: str
    reader: str | None = None
    screening: ScreeningRecipe
    recipe: BenchmarkRecipe
    significance: float
    sampler: Sampler


class ChooseResult(StageResult):
    lora: LoraRecord = Field(description="what was taken: a state of the training, with another strength in its file")
    choice: StateChoice

    def summary(self) -> str:
        taken = self.choice.tried[self.choice.taken]
        why = "nothing beat it" if self.choice.taken == self.choice.default else "it beat the last state"
        return f"{self.choice.name}: {taken.state.name} of {len(self.choice.tried)} tried; {why}"
