"""What a source of paintings gives, whichever kind of source it is."""

import csv
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Protocol

from flenwheel_core.base.document import Document

UNKNOWN = "unknown"
"""Stands for a label that says nothing."""
_SAYS_NOTHING = re.compile(r"^(unknown|unknown[- ]?(artist|genre|style)|none)$")


@dataclass(frozen=True, slots=True)
class Painting:
    """What is known of a painting before its picture is read."""

    key: str
    """Names it within its source, such as the file and its row."""
    artist: str
    """As `plain_label` writes it; `unknown` if the source does not say."""
    genre: str
    style: str
    caption: str | None = None
    """Title or description, if the source has one."""


class SourceFacts(Document):
    """Where paintings came from: kept with everything that is made of them."""

    name: str
    revision: str | None
    """The commit of a data set on the Hub."""
    licence: str
    """As the source states it, of the picture files; the paintings' own rights follow from the artists."""


class PaintingSource(Protocol):
    """A source of paintings. Its labels are read from the data, never known beforehand."""

    @property
    def facts(self) -> SourceFacts: ...

    def paintings(self) -> Iterator[Painting]:
        """All paintings in the source's order, without their pictures."""

    def pictures(self, keys: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """The files of these paintings in the source's order, with their keys; a few are held in memory at once."""


def plain_label(text: str) -> str:
    """A label in the form that all sources share: `Pierre Auguste Renoir` and `pierre-auguste-renoir` are the same."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return UNKNOWN if not plain or _SAYS_NOTHING.match(plain) else plain


@cache
def years_of_death() -> Mapping[str, int]:
    """When artists died, as far as it is known here, by `plain_label`."""
    text = files("flenwheel_core.datasets").joinpath("artists.csv").read_text()
    return {row["artist"]: int(row["died"]) for row in csv.DictReader(text.splitlines())}
