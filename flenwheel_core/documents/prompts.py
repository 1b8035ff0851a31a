"""The 23 cells of the model card, prompt templates, and the plan of edits and generations."""

from typing import Literal

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, Angle, Expression, Labels, Pose


class Cell(Document):
    """One cell of the model card and what a picture must show to fill it."""

    id: str
    angle: Angle | None = None
    expression: Expression | None = None
    pose: Pose = "portrait"

    def labels(self) -> Labels:
        return Labels(angle=self.angle, expression=self.expression, pose=self.pose)

    def is_shown_by(self, labels: Labels) -> bool:
        """True if `labels` say all that this cell asks for."""
        if self.pose != "portrait":
            return labels.pose == self.pose
        portrait = labels.pose in (None, "portrait")
        return portrait and labels.angle == self.angle and labels.expression == self.expression


CARD_CELLS: tuple[Cell, ...] = (
    *(
        Cell(id=f"{angle}-{expression}", angle=angle, expression=expression)
        for angle in ANGLES
        for expression in EXPRESSIONS
    ),
    Cell(id="t-pose", angle="front", expression="neutral", pose="t-pose"),
    Cell(id="standing", angle="front", expression="neutral", pose="standing"),
    Cell(id="sitting", angle="front", expression="neutral", pose="sitting"),
)
"""5 angles x 4 expressions, and T-pose, standing, sitting: 23 cells."""

CELLS_BY_ID: dict[str, Cell] = {cell.id: cell for cell in CARD_CELLS}


def cell_of(labels: Labels) -> Cell | None:
    """The cell that `labels` fill, if any."""
    return next((cell for cell in CARD_CELLS if cell.is_shown_by(labels)), None)


class PromptTemplate(Document):
    """A prompt with fields in braces: {trigger} {class_word} {angle} {expression} {pose} {background} {lighting} ..."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    kind: Literal["edit", "generate"]
    attribute: str = Field(description="what it varies: angle, expression, pose, background, lighting, clothing, style")
    text: str


class EditItem(Document):
    """One edit to make: this source, this prompt, this seed."""

    key: str = Field(description="unique within the plan and stable between runs")
    source: Digest
    prompt: str
    seed: int
    template: str | None = None
    cell: str | None = None
    labels: Labels = Field(default_factory=Labels, description="what the result must show")
    references: tuple[Digest, ...] = Field(default=(), description="further reference pictures")


class GenerateItem(Document):
    """One picture to generate: this prompt, this seed."""

    key: str = Field(description="unique within the plan and stable between runs")
    prompt: str
    seed: int
    template: str | None = None
    cell: str | None = None
    labels: Labels = Field(default_factory=Labels, description="what the result must show")
