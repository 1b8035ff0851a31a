"""The request of an ingest, and the models it uses: looking at pictures needs neither the base model nor the editor."""

from collections.abc import Sequence

from flenwheel_core.base.settings import Settings
from flenwheel_core.library.captioners import CaptionerLibrary
from flenwheel_core.library.characters import Character
from flenwheel_core.models.pinning import ModelUse, pin_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.store import Store


def uses_captioner(recipe: Recipe, files: Sequence[SourceFile]) -> bool:
    """True if a picture has no caption and the captioner is to write one."""
    return recipe.ingest.describe_with_captioner and any(not file.caption for file in files)


def ingest_request(
    character: Character, files: tuple[SourceFile, ...], recipe: Recipe, captioners: CaptionerLibrary
) -> IngestRequest:
    """What reading a character's pictures asks for. The recipe's models are pinned, as far as reading uses them."""
    captioner = recipe.models.captioner if uses_captioner(recipe, files) else None
    return IngestRequest(
        character=character.ref(),
        files=files,
        recipe=recipe.ingest,
        verifier=recipe.models.verifier,
        captioner=captioner,
        captioner_loras=captioners.loras(captioner),
        reader=recipe.models.reader,
        caption_template=recipe.caption_template,
        phrases=recipe.phrases,
        text_tokens=recipe.train.text_tokens,
    )


def ingest_models(recipe: Recipe, files: Sequence[SourceFile]) -> tuple[ModelUse, ...]:
    """The models that an ingest of these files uses."""
    return ("verifier", "reader", "captioner") if uses_captioner(recipe, files) else ("verifier", "reader")


def pinned_ingest_request(
    character: Character, files: tuple[SourceFile, ...], recipe: Recipe, settings: Settings
) -> IngestRequest:
    """The request, with the models that it uses pinned; they are fetched if they are not here. Raises MissingWeightsError."""
    found = pin_recipe(recipe, settings, ingest_models(recipe, files))
    return ingest_request(character, files, found, CaptionerLibrary(Store(settings.store_url, settings.store_options)))
