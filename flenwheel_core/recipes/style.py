"""Choices of a style's turns: what is drawn, what is measured, at which strengths."""

from typing import Annotated

from pydantic import Field

from flenwheel_core.base.document import Document

Scene = Annotated[str, Field(min_length=3, max_length=1000)]


class StyleRecipe(Document):
    """What a style is drawn with. Scenes say what is shown and never how it is painted; trigger and class word are put behind them."""

    scenes: tuple[Scene, ...] = Field(min_length=4, description="What synthetic pictures show.")
    card: tuple[Scene, ...] = Field(
        min_length=4, description="What the style card shows, for every LoRA alike; other scenes than are trained on."
    )
    named: tuple[str, ...] = Field(
        default=(),
        description="Words for the style that the base may know already, such as 'impressionist painting': what a LoRA must beat.",
    )
    held_out: float = Field(
        default=0.2,
        gt=0,
        lt=0.9,
        description="Share of the paintings that is measured against and never trained on, where no folder held_out_... is given.",
    )
    content_margin: float = Field(
        default=0.02, ge=0, le=1, description="The share of content that is kept may fall by this much."
    )
    strengths: tuple[Annotated[float, Field(gt=0, le=2)], ...] = Field(
        default=(0.4, 0.7, 1.0, 1.2),
        min_length=2,
        description="Strengths of the finished LoRA that are tried; the nearest to the style that keeps the content is its default.",
    )
