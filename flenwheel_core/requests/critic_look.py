"""Requests and results of the stages in which a vision-language model learns verdicts, and looks at the pictures of a gate."""

from pydantic import Field

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.critics import Looker
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.base import StageRequest, StageResult


class CriticLookTrainRequest(StageRequest):
    stage = "critic_look_train"

    lessons: Digest = Field(description="blob: CriticLessons")
    model: str = Field(description="resolved reference of the vision-language model")
    recipe: TrainingRecipe
    most_pixels: int | None = Field(default=None, ge=1, description="larger pictures are shown smaller")
    seed: int


class CriticLookTrainResult(StageResult):
    looker: Looker
    looks: Digest = Field(description="blob: Looks, of every lesson by the LoRA that had not learned its turn")
    lessons: int

    def summary(self) -> str:
        return f"{self.looker.model} learned {self.lessons} verdicts, {len(self.looker.loras)} times with some turns left out"


class CriticLookRequest(StageRequest):
    stage = "critic_look"

    looker: Looker
    images: Digest = Field(description="image set of the candidates")
    screenings: Digest | None = Field(default=None, description="screening table of the same")


class CriticLookResult(StageResult):
    looks: Digest = Field(description="blob: Looks, of every picture by each LoRA")
    pictures: int

    def summary(self) -> str:
        return f"{self.pictures} pictures were looked at for the critic"
