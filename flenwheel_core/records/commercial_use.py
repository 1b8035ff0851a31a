"""Marking a LoRA for commercial use: only where the licences of all models that went into it allow it, or a person says what does."""

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import Digest
from flenwheel_core.models.licences import ModelLicence, licence_of
from flenwheel_core.requests.export import ExportRequest
from flenwheel_core.store import Store


class UsedModel(Document):
    """A model that the LoRA was trained on, or that made pictures of its training pool."""

    model: str
    use: str
    licence: str
    commercial: bool | None


class CommercialUse(Document):
    """The mark: it lies beside the exported LoRA."""

    lora: Digest
    models: tuple[UsedModel, ...]
    allowed_by: str = ""
    """What allows it where the licences known here do not, in the words of the person who says so."""


def mark_for_commercial_use(store: Store, request: ExportRequest, allowed_by: str = "") -> CommercialUse:
    """The mark of an exported LoRA. Raises InputError if a model's licence forbids it, or is not known, and nothing is said against it."""
    models = used_models(store, request)
    against = [one for one in models if one.commercial is not True]
    if against and not allowed_by.strip():
        raise InputError(
            f"{request.lora.name} cannot be marked for commercial use.",
            why="; ".join(f"{one.model} ({one.use}): {ModelLicence(one.licence, one.commercial)}" for one in against),
            remedy="Train on a base whose licence allows it, or name what allows it, such as a licence you bought: --allowed-by TEXT.",
        )
    return CommercialUse(lora=request.lora.digest, models=models, allowed_by=allowed_by.strip())


def used_models(store: Store, request: ExportRequest) -> tuple[UsedModel, ...]:
    """The base first, then what made pictures of the pool, each once."""
    uses = {request.lora.base_model: "base"}
    for image in store.get_images(request.pool):
        if image.model is not None:
            uses.setdefault(image.model, f"made {image.kind.value} images of the pool")
    found = []
    for model, use in uses.items():
        licence = licence_of(model)
        found.append(UsedModel(model=model, use=use, licence=licence.name, commercial=licence.commercial))
    return tuple(found)
