"""What a folder says of an address: `model_index.json`, written by hand. Nothing in it is secret."""

import ipaddress
from decimal import Decimal
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

import httpx
from pydantic import ConfigDict, Field, ValidationError, field_validator

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import MissingWeightsError, RecipeError
from flenwheel_core.base.given_path import given_path
from flenwheel_core.models.model_files import PIPELINE_INDEX


class EditAddress(Document):
    """Where edits are made, and what they cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    class_name: Literal["ImageEditAddress"] = Field(alias="_class_name")
    url: str = Field(
        description="Takes a form with pictures and a prompt, as https://api.openai.com/v1/images/edits does."
    )
    model: str = Field(min_length=1, description="Name of the model there.")
    key_file: str = Field(default="", description="A file with the key and nothing else; none is sent if left out.")
    price: Decimal = Field(ge=0, description="Of one edit, in the currency; 0 for a server of your own.")
    currency: str = Field(
        default="USD", max_length=8, description="Of the price, and of the setting edit_budget for it."
    )
    picture_field: str = Field(default="image[]", description="Form field of the pictures.")
    seed_field: str = Field(default="", description="Form field of the seed, where the address takes one.")
    sizes: tuple[str, ...] = Field(
        default=("1024x1024", "1536x1024", "1024x1536"),
        description="Sizes the address draws, WIDTHxHEIGHT: the one nearest to the source's shape is asked for; none is, if empty.",
    )
    fields: dict[str, str] = Field(default_factory=dict, description="Further form fields, such as quality.")
    timeout_seconds: float = Field(default=180.0, gt=0, le=3600)
    tries: int = Field(default=5, ge=1, le=20, description="How often a busy or broken address is asked for one edit.")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What the folder says. Raises RecipeError for what cannot be."""
        place = folder / PIPELINE_INDEX
        try:
            return cls.model_validate_json(place.read_bytes())
        except ValidationError as error:
            said = [f"{'.'.join(str(p) for p in one['loc'])}: {one['msg']}" for one in error.errors()]
            raise RecipeError(
                f"{place} does not describe an editor behind an address.",
                why="; ".join(said),
                remedy="docs/guide.md shows one, with all its keys.",
            ) from None

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    def key(self) -> str | None:
        """The secret. Raises MissingWeightsError if its file cannot be read."""
        if not self.key_file:
            return None
        place = given_path(self.key_file)
        try:
            found = place.read_text().strip()
        except (OSError, ValueError):
            found = ""
        if not found or not (found.isascii() and found.isprintable()) or len(found.split()) != 1:
            raise MissingWeightsError(
                f"There is no key in {place}.",
                why=f"{self.host} wants one, and the file holds no single word.",
                remedy="Write the key into it, readable for you alone.",
            )
        return found

    def size_for(self, source: tuple[int, int]) -> str | None:
        """The size to ask for: nearest in shape to a source of this width and height."""
        ratio = source[0] / source[1]
        return min(self.sizes, key=lambda size: abs(_ratio(size) / ratio - 1), default=None)

    @field_validator("url")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        parts = urlsplit(url)
        try:
            httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(str(error)) from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError("write https://HOST/PATH, without a name or a password in it")
        if parts.scheme == "http" and not _is_here(parts.hostname):
            raise ValueError("pictures and keys go over https only, except to this machine")
        return url

    @field_validator("sizes")
    @classmethod
    def _are_sizes(cls, sizes: tuple[str, ...]) -> tuple[str, ...]:
        for size in sizes:
            width, _, height = size.partition("x")
            if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
                raise ValueError(f"{size!r} is no WIDTHxHEIGHT")
        return sizes


def _ratio(size: str) -> float:
    width, _, height = size.partition("x")
    return int(width) / int(height)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
