"""Which model folders a recipe's stages need: made once at full size, and shared by all rehearsals of a machine."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.speed import rehearsal_folders as folders
from benchmarks.speed.rehearsal_bases import qwen_image_folder, z_image_folder
from benchmarks.speed.rehearsal_klein import klein_folder
from benchmarks.speed.rehearsal_kontext import kontext_folder
from flenwheel_core.base.errors import RecipeError
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.recipes.model import Recipe

Kind = Literal["flux", "kontext", "klein", "qwen_edit", "qwen_image", "z_image", "nano"]
_KINDS: dict[str, Kind] = {
    "black-forest-labs/FLUX.1-dev": "flux",
    "black-forest-labs/FLUX.1-Kontext": "kontext",
    "black-forest-labs/FLUX.2-klein-base-4B": "klein",
    "Qwen/Qwen-Image-Edit": "qwen_edit",
    "Qwen/Qwen-Image": "qwen_image",
    "Tongyi-MAI/Z-Image": "z_image",
}
_BASES: dict[Kind, str] = {
    "flux": "flux1-dev",
    "klein": "flux2-klein-base-4b",
    "qwen_image": "qwen-image",
    "z_image": "z-image",
}
DRAWING = frozenset({"train", "train_no_prior", "generate", "benchmark"})
EDITING = frozenset({"enrich", "enrich_40", "edit_train", "edit_compare"})


@dataclass(frozen=True)
class ModelFolders:
    """The folders of a recipe's models; those that no wanted stage opens are not there."""

    base: Path
    editor: Path
    captioner: Path
    few_step: Path | None = None
    """What the editor wears to need few steps; None where it has no such LoRA."""


@dataclass(frozen=True)
class Places:
    """Where folders lie: `work`, and `disk` for editors and the captioner that are not in `work` already."""

    work: Path
    disk: Path

    def base(self, name: str) -> Path:
        return self._found(name) or self.work / name

    def editor(self, name: str) -> Path:
        return self._found(name) or self.disk / name

    def _found(self, name: str) -> Path | None:
        return next((folder / name for folder in (self.work, self.disk) if (folder / name / "done").exists()), None)


def make_folders(recipe: Recipe, stages: Collection[str], places: Places, *, edit_2511: bool = False) -> ModelFolders:
    """What these stages of the recipe open, made if it is not there. Raises RecipeError for a model that has no imitation."""
    wanted = set(stages)
    base_kind, editor_kind = kind_of(recipe.models.base), kind_of(recipe.models.editor)
    if base_kind == "nano":
        return ModelFolders(weights_folder("flux"), weights_folder("editor"), weights_folder("vlm"))
    base = _base(base_kind, places, made=bool(wanted & DRAWING or (editor_kind == "kontext" and wanted & EDITING)))
    qwen, captioner = places.editor("qwen-image-edit-2509"), places.editor("qwen2.5-vl-7b")
    if "ingest" in wanted and not (captioner / "done").exists():
        folders.captioner_folder(captioner, folders.edit_folder(qwen))
    if editor_kind == "klein":
        editor = base if base_kind == "klein" else places.editor("flux2-klein-base-4b")
        return ModelFolders(base, klein_folder(editor) if wanted & EDITING else editor, captioner)
    if editor_kind == "kontext":
        editor = base.with_name("flux1-kontext-dev")
        return ModelFolders(base, kontext_folder(editor, base) if wanted & EDITING else editor, captioner)
    if not wanted & EDITING:
        return ModelFolders(base, qwen, captioner)
    folders.edit_folder(qwen)
    if edit_2511:
        qwen = folders.edit_folder(qwen.with_name("qwen-image-edit-2511"), zero_cond_t=True, weights_of=qwen)
    few_step = folders.random_lora(places.work / "few-step.safetensors", qwen, folders.LIGHTNING_RANK)
    return ModelFolders(base, qwen, captioner, few_step)


def _base(kind: Kind, places: Places, *, made: bool) -> Path:
    """Where the base lies, and that it is `made`."""
    base = places.base(_BASES[kind])
    if made and kind == "qwen_image":
        return qwen_image_folder(base, folders.edit_folder(places.editor("qwen-image-edit-2509")))
    if made and kind == "klein":
        klein_folder(base)
    elif made and kind == "z_image":
        z_image_folder(base)
    elif made:
        folders.flux_folder(base)
    return base


def kind_of(reference: str) -> Kind:
    """Which imitation stands for a model of a recipe."""
    if reference == "nano":
        return "nano"
    for beginning, kind in _KINDS.items():
        if reference.startswith(beginning):
            return kind
    raise RecipeError(
        f"The rehearsal has no folder like {reference}.",
        why=f"it imitates {', '.join(_KINDS)} and the nano models.",
        remedy="Name another recipe, or add the model to benchmarks/speed/rehearsal_models.py.",
    )


def case_ending(recipe: Recipe, *, edit_2511: bool) -> str:
    """What tells a recipe's rows from those of the FLUX recipes, each of which is rehearsed on the card it is for."""
    if edit_2511:
        return "_2511"
    if recipe.name.startswith("flux_character"):
        return ""
    return {"klein_character": "_klein", "kontext_edit": "_kontext"}.get(recipe.name, f"_{recipe.name}")
