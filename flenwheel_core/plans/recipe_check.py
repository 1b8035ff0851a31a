"""Could this recipe run here? Its models and LoRA files are looked at; nothing is fetched and nothing is loaded."""

from collections.abc import Iterator

from flenwheel_core.adapters.lora_header import read_header
from flenwheel_core.base.errors import FlenwheelError, InputError, RecipeError
from flenwheel_core.base.given_path import given_path, is_file, is_folder
from flenwheel_core.base.settings import Settings
from flenwheel_core.identity.face_weights import FACE_MODELS
from flenwheel_core.identity.style_verifier import STYLE
from flenwheel_core.models.family_options import edit_problems, lora_problems, model_linears, option_problems
from flenwheel_core.models.hub_file import hub_file
from flenwheel_core.models.pinning import ROLES, ModelUse, chosen
from flenwheel_core.models.recipe_family import known_family, require_family
from flenwheel_core.models.references import ModelRole, hub_reference, is_hub_id, resolve_model
from flenwheel_core.models.registry import family_of, most_pictures, require_kind
from flenwheel_core.recipes.model import Recipe


def recipe_problems(recipe: Recipe, settings: Settings) -> list[str]:
    """A sentence for each model and LoRA file of a recipe that a turn would stumble over."""
    return [*_models(recipe, settings), *_family(recipe, settings), *_loras(recipe, settings)]


def require_edit_choices(recipe: Recipe, settings: Settings) -> None:
    """Raises RecipeError for choices under [enrich] that the editor does not read; it must be here. Nothing is loaded.

    Says nothing of a model that no family knows: a stage of one's own may read it, and the stages refuse what they cannot open.
    """
    folder = resolve_model(recipe.models.editor, ModelRole.EDITOR, settings)
    try:
        family = family_of(folder)
    except InputError:
        return
    problems = edit_problems(family, recipe.enrich)
    if problems:
        raise RecipeError(
            f"{recipe.models.editor} cannot edit so.", why="; ".join(problems), remedy="Mend the recipe's [enrich]."
        )


def recipe_notes(recipe: Recipe, settings: Settings) -> list[str]:
    """What a person may want to know of a recipe that is usable."""
    return [*_pinned(recipe), *_lora_size(recipe, settings)]


def _lora_size(recipe: Recipe, settings: Settings) -> Iterator[str]:
    """How large the LoRA's file will be, where the base is here to be looked at."""
    if hub_reference(recipe.models.base):
        return
    folder = resolve_model(recipe.models.base, ModelRole.GENERATOR, settings)
    family = family_of(folder)
    if family.linears:
        numbers = model_linears(family, folder).lora_parameters(recipe.train.lora)
        size = numbers * (2 if recipe.train.lora.file_format == "bf16" else 4)
        yield f"The LoRA's file will hold {numbers / 1e6:.2f} million numbers, {size / 1e6:.1f} MB."


def _pinned(recipe: Recipe) -> list[str]:
    references = [reference for use in ROLES if (reference := chosen(recipe, use)) and hub_reference(reference)]
    references += [lora.file for lora in recipe.enrich.loras if hub_file(lora.file) is not None]
    if not references:
        return []
    return [
        f"{', '.join(references)}: pinned to the commit that is there when a turn begins.",
        "What is here and what must be fetched: flenwheel models RECIPE.",
    ]


def _models(recipe: Recipe, settings: Settings) -> Iterator[str]:
    for use, role in ROLES.items():
        reference = getattr(recipe.models, use)
        if reference is None or hub_reference(reference):
            continue
        if chosen(recipe, use) is None:
            yield from _faces(use, reference)
        elif not reference.strip() or reference != reference.strip():
            yield f"models.{use}: {reference!r} names no model"
        elif is_hub_id(reference) and not is_folder(given_path(reference)):
            yield f"models.{use}: {reference} names no revision; write {reference}@main: it is pinned when a turn begins"
        else:
            try:
                folder = resolve_model(reference, role, settings)
                require_kind(folder, role)
                most = most_pictures(folder) if use == "editor" else recipe.enrich.references
                if recipe.enrich.references > most:
                    yield f"enrich.references: {recipe.enrich.references} pictures an edit, and {reference} takes {most}"
                if use == "editor":
                    yield from edit_problems(family_of(folder), recipe.enrich)
                    yield from lora_problems(family_of(folder), folder, "editor.train", recipe.editor.train.lora)
                if use == "base":
                    yield from option_problems(family_of(folder), recipe.train)
                    yield from lora_problems(family_of(folder), folder, "train", recipe.train.lora)
            except FlenwheelError as error:
                yield f"models.{use}: {error.what} {error.why}".rstrip()


def _family(recipe: Recipe, settings: Settings) -> Iterator[str]:
    try:
        require_family(recipe, settings)
    except RecipeError as error:
        yield f"family: {error.what} {error.why} {error.remedy}"
    except FlenwheelError:
        return  # a base that cannot be looked at is named above


def _faces(use: ModelUse, reference: str) -> Iterator[str]:
    if reference == STYLE:
        if use != "verifier":
            yield f"models.{use}: {STYLE} is a verifier, and nothing else"
        return
    model = reference.partition(":")[2]
    if use not in ("verifier", "reader"):
        yield f"models.{use}: {reference} looks at faces only; name a model"
    elif model and (use == "reader" or model not in FACE_MODELS):
        yield f"models.{use}: there is no {reference}; known are face" + (
            f" and face:{', face:'.join(sorted(FACE_MODELS))}" if use == "verifier" else ""
        )


def _loras(recipe: Recipe, settings: Settings) -> Iterator[str]:
    try:
        editor = known_family(recipe.models.editor, ModelRole.EDITOR, settings) if recipe.enrich.loras else None
    except FlenwheelError:
        editor = None  # an editor that cannot be looked at is named above
    for lora in recipe.enrich.loras:
        if hub_file(lora.file) is not None:
            continue
        path = given_path(lora.file)
        if path.suffix != ".safetensors" or not is_file(path):
            yield f"enrich.loras: there is no .safetensors file {lora.file}"
            continue
        try:
            family = read_header(path).family
        except InputError as error:
            yield f"enrich.loras: {error.what} {error.why}"
            continue
        if editor is not None and family not in (None, editor):
            yield f"enrich.loras: {path.name} says of itself that it is for {family}, not for the editor, which is {editor}"
