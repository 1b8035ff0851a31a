"""How a recipe would use a card, stage by stage, before anything is loaded or fetched."""

from flenwheel_core.base.errors import FlenwheelError, ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.memory.card import CONTEXT_GIB, multiplies_fp8, open_card
from flenwheel_core.models.card_plan import CardRoom, StagePlan
from flenwheel_core.models.hub import find_here, find_without_network
from flenwheel_core.models.pinning import ROLES, ModelUse
from flenwheel_core.models.references import hub_reference, resolve_model
from flenwheel_core.models.registry import family_of, load_entry
from flenwheel_core.recipes.model import Recipe

_USES: tuple[tuple[ModelUse, str], ...] = (("editor", "enrich, edit_train"), ("base", "train, generate, benchmark"))


def card_of(settings: Settings, given_gib: float | None) -> CardRoom:
    """The card of this machine, or one of `given_gib` of the Ada generation or later. Raises ResourceError where there is neither."""
    if given_gib is not None:
        return CardRoom(given_gib - CONTEXT_GIB, multiplies_fp8=True)
    card = open_card(settings)
    if card is None:
        raise ResourceError(
            "There is no card here to plan for.",
            why=f"the setting gpu is {settings.gpu!r}, and no CUDA card is seen.",
            remedy="Name the memory of one in GiB: --card 24.",
        )
    return CardRoom(card.usable_gib, multiplies_fp8(card.device))


def plan_stages(recipe: Recipe, settings: Settings, card: CardRoom) -> list[StagePlan]:
    """One plan a stage, or why there is none. A model that is not here is not fetched for it."""
    found: list[StagePlan] = []
    for use, stages in _USES:
        if use == "editor" and recipe.style is not None:
            continue  # nothing of a style is edited
        reference = getattr(recipe.models, use)
        hub = hub_reference(reference)
        if hub is not None and find_here(*hub, settings) is None and find_without_network(*hub, settings) is None:
            found.append(StagePlan(stages, f"{reference} is not here yet; flenwheel models fetch brings it", None))
            continue
        try:
            folder = resolve_model(reference, ROLES[use], settings)
            planner = family_of(folder).planner
        except FlenwheelError as error:
            found.append(StagePlan(stages, error.what, None))
            continue
        if planner:
            found += load_entry(planner)(folder, recipe, use, card)
        else:
            found.append(StagePlan(stages, f"{family_of(folder).name} plans nothing ahead", None))
    return found
