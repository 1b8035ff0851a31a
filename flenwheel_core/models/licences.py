"""Under which licence a model is, and whether what is made of it may be used commercially, as far as it is known here. No legal advice."""

import re
from dataclasses import dataclass

from flenwheel_core.models.known_models import KNOWN_MODELS, SHIPPED_LICENCE
from flenwheel_core.models.references import hub_reference, is_shipped

_FREE = {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0", "cc0-1.0", "cc-by-4.0"}
"""Licences that allow commercial use of what is derived from the model."""
_NOT_COMMERCIAL = re.compile(r"non.?commercial|\bnc\b|\bresearch[ -](?:only|licen|use|purpose)|^[\w.]+-research$")
"""A laboratory may be called research, too."""
_NOT_SHARED = re.compile(r"no.?deriv|\bnd\b|no.?redistribution|proprietary|all rights reserved")
_HUB_IDS = _FREE | {"openrail", "openrail++", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0"}
"""Licences that the Hub knows by their name."""


@dataclass(frozen=True)
class ModelLicence:
    """A model's licence. `commercial` says whether a LoRA made on it may be used commercially; None: nobody here knows."""

    name: str
    commercial: bool | None

    @property
    def shared(self) -> bool | None:
        """Whether a LoRA made on the model may be given to others; None: nobody here knows. Non-commercial licences allow it under the same
        terms, those that allow no derivatives forbid it."""
        plain = self.name.lower().replace("_", "-")
        if _NOT_SHARED.search(plain):
            return False
        return True if self.commercial is not None else None

    def card_fields(self, hub_id: str = "") -> dict[str, str]:
        """What the front of a model card says, as the Hub reads it; `hub_id` is the model's, for a link to the text."""
        plain = self.name.lower().partition(",")[0].strip()
        if plain in _HUB_IDS:
            return {"license": plain}
        fields = {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-")}
        if hub_id and self.name:
            fields["license_link"] = f"https://huggingface.co/{hub_id}/blob/main/LICENSE.md"
        return {key: value for key, value in fields.items() if value}

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
    if is_shipped(reference):
        return named_licence(SHIPPED_LICENCE)
    hub = hub_reference(reference)
    known = None if hub is None else KNOWN_MODELS.get(hub[0])
    return named_licence("" if known is None else known.licence)
