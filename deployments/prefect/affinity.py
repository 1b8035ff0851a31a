"""Whether the models that a run needs lie on this machine: of runs whose turn it is equally, a worker takes such a one first.

A run that has waited for `PATIENCE_SECONDS` counts as one whose models lie everywhere, so that none waits for a machine that never comes.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from flenwheel_core.base.errors import first_line
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.models.hub import find_here, find_without_network
from flenwheel_core.models.hub_file import file_here, hub_file
from flenwheel_core.models.pinning import ROLES, chosen
from flenwheel_core.models.references import hub_reference
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.store import Store

_log = logging.getLogger(__name__)
PATIENCE_SECONDS = 600.0
"""About as long as it takes to fetch the weights of a large model: longer than that nobody gains by waiting for who has them."""
KNOWN_SECONDS = 60.0


class ModelsHere:
    """What this machine knows of the models of recipes. Nothing is fetched, and the Hub is not asked."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, bool]] = {}

    def has(self, parameters: Mapping[str, object]) -> bool:
        """True if nothing of what a run with these parameters needs would have to be fetched, as far as can be known."""
        asked = tuple(value if isinstance(value := parameters.get(key), str) else "" for key in ("character", "recipe"))
        key = (asked[0], asked[1])
        found = self._known.get(key)
        if found is None or self._clock() - found[0] > KNOWN_SECONDS:
            found = self._known[key] = (self._clock(), self._look(*key))
        return found[1]

    def _look(self, character: str, recipe: str) -> bool:
        try:
            if not recipe and character:
                recipe = (
                    Library(Store(self._settings.store_url, self._settings.store_options)).character(character).recipe
                )
            if not recipe:
                return True
            return all_here(load_recipe(recipe), self._settings)
        except Exception as error:
            # Who begins it says what is wrong. A worker that ended here would take its runs with it.
            _log.info("Whether models of %s %s lie here is not known: %s", character, recipe, first_line(error))
            return True


def all_here(recipe: Recipe, settings: Settings) -> bool:
    """True unless a model of the Hub that the recipe names is missing here: all others come with the program, or are folders."""
    references = [reference for use in ROLES if (reference := chosen(recipe, use)) is not None]
    models = [found for reference in references if (found := hub_reference(reference)) is not None]
    files = [file for lora in recipe.enrich.loras if (file := hub_file(lora.file)) is not None]
    return all(
        find_here(*model, settings) is not None or find_without_network(*model, settings) is not None
        for model in models
    ) and all(file_here(file, settings) is not None for file in files)


def has_waited(since: datetime | None, now: datetime) -> bool:
    """True for a run that anybody takes by now, wherever its models lie."""
    return since is not None and (now - since).total_seconds() > PATIENCE_SECONDS
