"""Whether a LoRA may be given to others at all: what the licences of its models say, as far as it is known here. No legal advice."""

from collections.abc import Iterable

from flenwheel_core.base.errors import InputError
from flenwheel_core.models.licences import ModelLicence, licence_of


def require_shareable(name: str, models: Iterable[str], *, public: bool, allowed_by: str = "") -> None:
    """Raises InputError if a licence forbids to give away what is made with its model, or, for a public place, if nobody knows that it
    allows it; unless a person says what does (`allowed_by`)."""
    if allowed_by.strip():
        return
    against: list[tuple[str, ModelLicence]] = []
    for model in dict.fromkeys(models):
        licence = licence_of(model)
        if licence.shared is False or (public and licence.shared is None):
            against.append((model, licence))
    if against:
        words = {False: "allows no derivatives", None: "nobody here knows whether it may be given to others"}
        raise InputError(
            f"{name} cannot be published{' for everybody' if public else ''}.",
            why="; ".join(
                f"{model}: {licence.name or 'licence not known'}, {words[False if licence.shared is False else None]}"
                for model, licence in against
            ),
            remedy="Read these licences, then name what allows it: --allowed-by TEXT."
            + (" A private repository asks for less." if public else ""),
        )
