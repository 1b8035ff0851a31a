"""Under which licence a model is, and whether what is made of it may be used commercially, as far as it is known here. No legal advice."""

import re
from dataclasses import dataclass

from flenwheel_core.models.known_models import KNOWN_MODELS, SHIPPED_LICENCE
from flenwheel_core.models.references import hub_reference

_FREE = {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0", "cc0-1.0", "cc-by-4.0"}
"""Licences that allow commercial use of what is derived from the model."""
_NOT_COMMERCIAL = re.compile(r"non.?commercial|\bnc\b")


@dataclass(frozen=True)
class ModelLicence:
    """A model's licence. `commercial` says whether a LoRA made on it may be used commercially; None: nobody here knows."""

    name: str
    commercial: bool | None

    @property
    def use(self) -> str:
        """What it allows, for people."""
        words: dict[bool | None, str] = {True: "commercial use allowed", False: "not for commercial use"}
        return words.get(self.commercial, "read it before commercial use")

    def __str__(self) -> str:
        return f"{self.name or 'licence not known'}, {self.use}"


def named_licence(name: str) -> ModelLicence:
    """What is known of a licence by its name, as the Hub or the table of known models writes it."""
    plain = name.lower().partition(",")[0].strip()
    if plain in _FREE:
        return ModelLicence(name, True)
    return ModelLicence(name, False if _NOT_COMMERCIAL.search(plain.replace("_", "-")) else None)


def licence_of(reference: str) -> ModelLicence:
    """The licence of a model reference, as records of pictures and LoRAs hold it. Nothing is asked for and nothing is opened."""
    if reference.partition("@")[0] == "nano":
        return named_licence(SHIPPED_LICENCE)
    hub = hub_reference(reference)
    known = None if hub is None else KNOWN_MODELS.get(hub[0])
    return named_licence("" if known is None else known.licence)
