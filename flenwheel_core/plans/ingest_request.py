"""The request of an ingest, and the models it uses: looking at pictures needs neither the base model nor the editor."""

import logging
from collections.abc import Sequence

from flenwheel_core.base.settings import Settings
from flenwheel_core.library.captioners import CaptionerLibrary
from flenwheel_core.library.characters import Character
from flenwheel_core.models.left_out import is_left_out
from flenwheel_core.models.pinning import ModelUse, pin_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.store import Store

_log = logging.getLogger(__name__)


def uses_captioner(recipe: Recipe, files: Sequence[SourceFile]) -> bool:
    """True if a picture has no caption and the captioner is to write one."""
    return recipe.ingest.describe_with_captioner and any(not file.caption for file in files)


def ingest_recipe(recipe: Recipe, files: Sequence[SourceFile], settings: Settings) -> Recipe:
    """The recipe as reading these files can use it here: without its captioner if that was left out, which is said to who listens."""
    captioner = recipe.models.captioner
    if captioner is None or not uses_captioner(recipe, files) or not is_left_out(captioner, settings):
        return recipe
    bare = sum(not file.caption for file in files)
    _log.info(
        "No captioner here, %s was left out: %d of %d pictures have no caption, and get the recipe's template with what the reader sees "
        "(angle, expression). Captions of your own are taken as they are: a .txt beside a picture. To have them written: "
        "flenwheel models fetch %s",
        captioner,
        bare,
        len(files),
        recipe.name,
    )
    return recipe.model_copy(update={"models": recipe.models.model_copy(update={"captioner": None})})


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
    """The request, with the models that it uses pinned; they are fetched if they are not here. Raises MissingWeightsError.

    A captioner that was left out here is not used.
    """
    found = pin_recipe(ingest_recipe(recipe, files, settings), settings, ingest_models(recipe, files))
    return ingest_request(character, files, found, CaptionerLibrary(Store(settings.store_url, settings.store_options)))
