"""Which family opens which model.

The kind of a model is read from its folder (`model_index.json` or `config.json`), never guessed from its name. Families are imported when
they are first asked for, so that importing this module costs nothing.
"""

import importlib
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flenwheel_core.errors import InputError
from flenwheel_core.families.protocols import WORKING, Working
from flenwheel_core.families.references import ModelRole, resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from flenwheel_core.domain.stages import EditorStorage
    from flenwheel_core.families.protocols import (
        Captioner,
        ImageEditor,
        ImageGenerator,
        Judge,
        LoraFile,
        Reader,
        Verifier,
    )
    from flenwheel_core.families.qwen_edit.trainer import EditTrained, EditTrainJob
    from flenwheel_core.settings import Settings
    from flenwheel_core.training.job import Trained, TrainHooks, TrainJob

GENERATORS = {"FluxPipeline": "flenwheel_core.families.flux.generator:open_generator"}
TRAINERS = {"FluxPipeline": "flenwheel_core.families.flux.trainer:open_trainer"}
EDITORS = {
    "QwenImageEditPipeline": "flenwheel_core.families.qwen_edit.editor:open_editor",
    "QwenImageEditPlusPipeline": "flenwheel_core.families.qwen_edit.editor:open_editor",
}
EDIT_TRAINERS = dict.fromkeys(EDITORS, "flenwheel_core.families.qwen_edit.trainer:open_trainer")


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _class_of(folder: Path) -> str:
    index = folder / "model_index.json"
    config = index if index.exists() else folder / "config.json"
    try:
        content = json.loads(config.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} is not a model folder.",
            why=f"{config.name} is missing or no JSON.",
            remedy="Give a folder in diffusers or transformers format, or hub-id@revision.",
        ) from error
    name = content.get("_class_name") or (content.get("architectures") or [""])[0] if isinstance(content, dict) else ""
    return str(name)


def _pick(table: dict[str, str], folder: Path, what: str) -> Any:
    return _load(table[_name_in(table, folder, what)])


def _name_in(table: dict[str, str], folder: Path, what: str) -> str:
    name = _class_of(folder)
    if name not in table:
        raise InputError(
            f"{folder} cannot be used as {what}.",
            why=f"it holds a {name or 'nameless model'}; known are {', '.join(sorted(table))}.",
            remedy="Name another model in the recipe's [models] table.",
        )
    return name


def require_kind(folder: Path, role: ModelRole) -> None:
    """Raises InputError if the model in `folder` cannot be used so; nothing is loaded. Roles without a table take what they are given."""
    tables = {ModelRole.GENERATOR: (GENERATORS, "an image generator"), ModelRole.EDITOR: (EDITORS, "an image editor")}
    if role in tables:
        _name_in(tables[role][0], folder, tables[role][1])


def open_generator(
    reference: str, settings: "Settings", loras: "tuple[LoraFile, ...]" = (), working: Working = WORKING
) -> "AbstractContextManager[ImageGenerator]":
    """A context that holds the loaded generator."""
    folder = resolve_model(reference, ModelRole.GENERATOR, settings)
    opener = _pick(GENERATORS, folder, "an image generator")
    return cast("AbstractContextManager[ImageGenerator]", opener(folder, reference, settings, loras, working))


def find_trainer(reference: str, settings: "Settings") -> "Callable[[TrainJob, TrainHooks], Trained]":
    """What trains a LoRA on this model."""
    folder = resolve_model(reference, ModelRole.GENERATOR, settings)
    opener = _pick(TRAINERS, folder, "a model to train a LoRA on")
    return cast("Callable[[TrainJob, TrainHooks], Trained]", opener(folder, reference, settings))


def open_editor(
    reference: str,
    settings: "Settings",
    loras: "tuple[LoraFile, ...]" = (),
    storage: "EditorStorage | None" = None,
    working: Working = WORKING,
) -> "AbstractContextManager[ImageEditor]":
    """A context that holds the loaded editor."""
    folder = resolve_model(reference, ModelRole.EDITOR, settings)
    opener = _pick(EDITORS, folder, "an image editor")
    return cast("AbstractContextManager[ImageEditor]", opener(folder, reference, settings, loras, storage, working))


def find_edit_trainer(
    reference: str, settings: "Settings", storage: "EditorStorage | None" = None
) -> "Callable[[EditTrainJob, TrainHooks], EditTrained]":
    """What trains a LoRA on this editor."""
    folder = resolve_model(reference, ModelRole.EDITOR, settings)
    opener = _pick(EDIT_TRAINERS, folder, "an editor to train a LoRA on")
    return cast("Callable[[EditTrainJob, TrainHooks], EditTrained]", opener(folder, reference, settings, storage))


def open_captioner(
    reference: str, settings: "Settings", working: Working = WORKING
) -> "AbstractContextManager[Captioner]":
    """A context that holds the loaded vision-language model as captioner."""
    folder = resolve_model(reference, ModelRole.CAPTIONER, settings)
    return cast(
        "AbstractContextManager[Captioner]",
        _load("flenwheel_core.families.qwen_vl.captioner:open_captioner")(folder, reference, settings, working),
    )


def open_judge(reference: str, settings: "Settings", working: Working = WORKING) -> "AbstractContextManager[Judge]":
    """A context that holds the loaded vision-language model as judge."""
    folder = resolve_model(reference, ModelRole.CAPTIONER, settings)
    return cast(
        "AbstractContextManager[Judge]",
        _load("flenwheel_core.families.qwen_vl.judge:open_judge")(folder, reference, settings, working),
    )


def open_verifier(reference: str, settings: "Settings") -> "AbstractContextManager[Verifier]":
    """A context that holds the identity verifier: `face`, or a vision model reference."""
    return cast(
        "AbstractContextManager[Verifier]",
        _load("flenwheel_core.identity.verifiers:open_verifier")(reference, settings),
    )


def open_reader(reference: str, settings: "Settings") -> "AbstractContextManager[Reader]":
    """A context that holds the reader of angle and expression: `face`, or a reader model reference."""
    return cast(
        "AbstractContextManager[Reader]", _load("flenwheel_core.identity.readers:open_reader")(reference, settings)
    )
