"""The choices of a set of paintings, as a TOML file."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.settings_sources import read_toml
from flenwheel_core.datasets.paintings import plain_label

FilterName = Literal[
    "style",
    "artist",
    "rights",
    "genre",
    "damaged",
    "size",
    "aspect",
    "monochrome",
    "frame",
    "duplicate",
    "artist_limit",
    "genre_balance",
]
FILTERS: dict[FilterName, str] = {
    "style": "another style",
    "artist": "not one of the artists asked for",
    "rights": "the artist is unknown, or died too late, or nobody knows when",
    "genre": "a genre that is left out",
    "damaged": "the picture cannot be read",
    "size": "too small",
    "aspect": "too long or too high",
    "monochrome": "one colour only: a print, a drawing, a grey photo",
    "frame": "a frame or a border around it",
    "duplicate": "another scan of a painting that is there",
    "artist_limit": "enough of this artist",
    "genre_balance": "enough of this genre",
}
"""What leaves a painting out, in the order in which it is asked: the first that holds is its reason."""


class PaintingChoices(Document):
    """Which paintings of a source make up a set, and how they become pictures to train on."""

    style: str | None = Field(
        default=None, description="Only this style, by its name in the data; every style if unset."
    )
    artists: tuple[str, ...] = Field(default=(), description="Only these artists; all if empty.")
    died_by: int | None = Field(
        default=1955,
        description="Only artists who died in this year or before: 70 years on, their paintings are free in the EU. No check if unset.",
    )
    died: dict[str, int] = Field(
        default_factory=dict, description="Years of death of artists that the program does not know."
    )
    genres_left_out: tuple[str, ...] = Field(
        default=(), description="Genres that are left out, such as sketch-and-study."
    )
    minimum_side_px: int = Field(
        default=768, ge=16, description="Shorter side of a picture, at least; nothing is scaled up."
    )
    maximum_aspect: float = Field(default=2.0, ge=1, description="Longer side over shorter side, at most.")
    minimum_saturation: float = Field(
        default=0.05, ge=0, lt=1, description="Mean saturation, 0 to 1, below which a picture counts as one colour."
    )
    maximum_frame: float = Field(
        default=0.02, ge=0, lt=0.5, description="Plain border, as a share of the side, that may be there."
    )
    duplicate_bits: int = Field(
        default=8, ge=0, le=32, description="Bits of a perceptual hash that scans of one painting may differ in."
    )
    per_artist: int = Field(
        default=200, ge=1, description="Pictures of one artist, at most, so that one painter is not the style."
    )
    genre_share: float = Field(
        default=0.5, gt=0, le=1, description="Share of one genre, at most, where there are others."
    )
    held_out_paintings: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the paintings kept for measuring only."
    )
    held_out_artists: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the artists kept for measuring only."
    )
    resolution: int = Field(default=1024, ge=64, le=4096, description="Side of a square of the pictures' pixel area.")
    bucket_step: int = Field(default=64, ge=16, le=256, description="Sides are multiples of this.")
    flips: bool = Field(default=True, description="A mirrored copy of each picture that is trained on.")
    crops: int = Field(
        default=0, ge=0, le=8, description="Random cuts of each picture that is trained on, besides the whole."
    )
    crop_share: float = Field(default=0.8, ge=0.5, lt=1, description="Smallest share of its area that a cut shows.")
    seed: int = Field(default=0, ge=0, description="Seed of what is chosen, held out and cut.")

    def wants(self, label: str | None, found: str) -> bool:
        """True if a label of the data is the one asked for, or none was."""
        return label is None or plain_label(label) == found


def load_choices(path: Path) -> PaintingChoices:
    """The choices in a TOML file; raises RecipeError that names each wrong key."""
    try:
        return PaintingChoices.model_validate(read_toml(path))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise RecipeError(
            f"{path} holds no usable choices of paintings.",
            why="; ".join(problems),
            remedy=f"Known keys are {', '.join(PaintingChoices.model_fields)}.",
        ) from error
