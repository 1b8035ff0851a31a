"""Which family opens which model.

The kind of a model is read from its folder (`model_index.json` or `config.json`), never guessed from its name. Families are found by their
folders beside this file; their code is imported when it is first asked for, so that importing this module costs nothing.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flenwheel_core.base.errors import InputError
from flenwheel_core.models.family import Entry, Family
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.models.references import ModelRole, own_folder, resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from flenwheel_core.base.settings import Settings
    from flenwheel_core.engine.edit_job import EditTrained, EditTrainJob
    from flenwheel_core.engine.job import Trained, TrainHooks, TrainJob
    from flenwheel_core.engine.vl_job import VlTrained, VlTrainJob
    from flenwheel_core.models.prompt_model import FeatureKind, PictureFeatures, PromptModel
    from flenwheel_core.models.protocols import Captioner, ImageEditor, ImageGenerator, VerdictModel
    from flenwheel_core.recipes.captioner import VlBackend

_families: list[Family] = []
_USES = {
    "generator": "an image generator",
    "trainer": "a model to train a LoRA on",
    "editor": "an image editor",
    "edit_trainer": "an editor to train a LoRA on",
    "captioner": "a captioner",
    "verdicts": "a model that learns verdicts",
    "vl_trainer": "a captioner to train a LoRA on",
    "vl_unsloth": "a captioner that Unsloth trains a LoRA on",
    "prompts": "a base that injection draws with",
    "features": "a model that injection sees with",
}
_USE_OF_ROLE = {ModelRole.GENERATOR: "generator", ModelRole.EDITOR: "editor"}


def families() -> tuple[Family, ...]:
    """All families, those of this package first."""
    if not _families:
        _families.extend(_shipped())
    return tuple(_families)


def register(family: Family) -> Family:
    """Makes a family known that lives outside of this package."""
    if family not in families():
        _families.append(family)
    return family


def _shipped() -> Iterator[Family]:
    package = importlib.import_module("flenwheel_core.models")
    for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        if found.ispkg:
            yield importlib.import_module(f"{package.__name__}.{found.name}.family").FAMILY


def family_of(folder: Path) -> Family:
    """The family of a model folder; raises InputError if none knows it."""
    return _family(folder, "", "used")


def most_pictures(folder: Path) -> int:
    """How many pictures an edit of this editor may be given, its source among them. Raises InputError if no family knows it."""
    return family_of(folder).most_pictures.get(_class_of(folder), 1)


def runs_here(reference: str) -> bool:
    """False for a folder whose model does its work elsewhere, so that no card is needed. Nothing is fetched, hashed or loaded.

    A model that cannot be told yet may need the card.
    """
    folder = own_folder(reference)
    try:
        return folder is None or family_of(folder).needs_card
    except InputError:
        return True


def family_of_architecture(architecture: str) -> Family | None:
    """The family whose LoRAs name this `modelspec.architecture`; None if no family does."""
    return next((family for family in families() if architecture in family.architectures), None)


def load_entry(entry: Entry) -> Any:
    """What an entry names."""
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


def require_kind(folder: Path, role: ModelRole) -> None:
    """Raises InputError if the model in `folder` cannot be used so; nothing is loaded. Other roles take what they are given."""
    if role in _USE_OF_ROLE:
        use = _USE_OF_ROLE[role]
        _family(folder, use, f"used as {_USES[use]}")


def require_learning_editor(reference: str, settings: "Settings") -> None:
    """Raises InputError for an editor that no LoRA can be trained on; nothing is loaded.

    Says nothing of a model that no family knows: a stage of one's own may read it, and the stages refuse what they cannot open.
    """
    folder = resolve_model(reference, ModelRole.EDITOR, settings)
    try:
        family_of(folder)
    except InputError:
        return
    _family(folder, "edit_trainer", f"used as {_USES['edit_trainer']}")


def open_generator(
    reference: str, settings: "Settings", setup: ModelSetup = PLAIN_SETUP
) -> "AbstractContextManager[ImageGenerator]":
    """A context that holds the loaded generator."""
    folder, opener = _find(reference, ModelRole.GENERATOR, "generator", settings)
    return cast("AbstractContextManager[ImageGenerator]", opener(folder, reference, settings, setup))


def find_trainer(reference: str, settings: "Settings") -> "Callable[[TrainJob, TrainHooks], Trained]":
    """What trains a LoRA on this model."""
    folder, opener = _find(reference, ModelRole.GENERATOR, "trainer", settings)
    return cast("Callable[[TrainJob, TrainHooks], Trained]", opener(folder, reference, settings))


def open_editor(
    reference: str, settings: "Settings", setup: ModelSetup = PLAIN_SETUP
) -> "AbstractContextManager[ImageEditor]":
    """A context that holds the loaded editor."""
    folder, opener = _find(reference, ModelRole.EDITOR, "editor", settings)
    return cast("AbstractContextManager[ImageEditor]", opener(folder, reference, settings, setup))


def find_edit_trainer(reference: str, settings: "Settings") -> "Callable[[EditTrainJob, TrainHooks], EditTrained]":
    """What trains a LoRA on this editor."""
    folder, opener = _find(reference, ModelRole.EDITOR, "edit_trainer", settings)
    return cast("Callable[[EditTrainJob, TrainHooks], EditTrained]", opener(folder, reference, settings))


def open_captioner(
    reference: str, settings: "Settings", setup: ModelSetup = PLAIN_SETUP
) -> "AbstractContextManager[Captioner]":
    """A context that holds the loaded vision-language model as captioner."""
    folder, opener = _find(reference, ModelRole.CAPTIONER, "captioner", settings)
    return cast("AbstractContextManager[Captioner]", opener(folder, reference, settings, setup))


def open_verdicts(
    reference: str,
    settings: "Settings",
    setup: ModelSetup = PLAIN_SETUP,
    *,
    question: str,
    answers: Sequence[str],
    most_pixels: int | None = None,
) -> "AbstractContextManager[VerdictModel]":
    """A context that holds a vision-language model that answers `question` with one of `answers`, as log-odds."""
    folder, opener = _find(reference, ModelRole.CAPTIONER, "verdicts", settings)
    made = opener(folder, reference, settings, setup, question=question, answers=answers, most_pixels=most_pixels)
    return cast("AbstractContextManager[VerdictModel]", made)


def find_vl_trainer(
    reference: str, settings: "Settings", backend: "VlBackend" = "own"
) -> "Callable[[VlTrainJob, TrainHooks], VlTrained]":
    """What trains a LoRA on this vision-language model. Raises InputError where the backend is not set up on this machine."""
    use = "vl_trainer" if backend == "own" else "vl_unsloth"
    folder, opener = _find(reference, ModelRole.CAPTIONER, use, settings)
    return cast("Callable[[VlTrainJob, TrainHooks], VlTrained]", opener(folder, reference, settings))


def open_prompt_model(
    reference: str, settings: "Settings", setup: ModelSetup = PLAIN_SETUP
) -> "AbstractContextManager[PromptModel]":
    """A context that holds a base model that draws from prompt embeddings."""
    folder, opener = _find(reference, ModelRole.GENERATOR, "prompts", settings)
    return cast("AbstractContextManager[PromptModel]", opener(folder, reference, settings, setup))


def open_features(
    reference: str,
    settings: "Settings",
    setup: ModelSetup = PLAIN_SETUP,
    *,
    kind: "FeatureKind" = "eyes",
) -> "AbstractContextManager[PictureFeatures]":
    """A context that holds a vision-language model that says what it sees."""
    folder, opener = _find(reference, ModelRole.CAPTIONER, "features", settings)
    made = opener(folder, reference, settings, setup, kind=kind)
    return cast("AbstractContextManager[PictureFeatures]", made)


def _find(reference: str, role: ModelRole, use: str, settings: "Settings") -> tuple[Path, Any]:
    """The model's folder, and what its family does this with; raises InputError if it cannot."""
    folder = resolve_model(reference, role, settings)
    return folder, load_entry(getattr(_family(folder, use, f"used as {_USES[use]}"), use))


def _family(folder: Path, use: str, what: str) -> Family:
    name = _class_of(folder)
    found = next((family for family in families() if family.opens(name, use)), None)
    if found is not None:
        return found
    known = ", ".join(sorted(one for family in families() for one in family.classes_for(use)))
    raise InputError(
        f"{folder} cannot be {what}.",
        why=f"it holds a {name or 'nameless model'}; known are {known}.",
        remedy="Name another model in the recipe's [models] table.",
    )


def _class_of(folder: Path) -> str:
    index = folder / "model_index.json"
    config = index if index.exists() else folder / "config.json"
    try:
        content = json.loads(config.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{folder} is not a model folder.",
            why=f"{config.name} is missing or no JSON.",
            remedy="Give a folder in diffusers or transformers format, or hub-id@revision.",
        ) from error
    if not isinstance(content, dict):
        return ""
    architectures = content.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else ""
    return str(content.get("_class_name") or first)
