"""What is drawn to choose inside a training: the model card's cells, with seeds that no benchmark draws."""

from flenwheel_core.base.ids import Digest, derive_seed
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.choices import State
from flenwheel_core.documents.prompts import CARD_CELLS, GenerateItem
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.evaluation.model_card import card_item
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.choose import ChooseRequest
from flenwheel_core.requests.train import TrainResult


def choice_items(character: CharacterRef, recipe: Recipe, part: str, number: int) -> tuple[GenerateItem, ...]:
    """So many pictures, spread over the card's cells; `part` (pick or confirm) gives them seeds of their own."""
    items = []
    for index in range(number):
        place = index * len(CARD_CELLS) // number if number < len(CARD_CELLS) else index % len(CARD_CELLS)
        cell, seed = CARD_CELLS[place], derive_seed(recipe.benchmark.seed, "choice", part, index) % 2**31
        items.append(card_item(character, recipe, cell, seed, key=f"{part}-{cell.id}-{index}"))
    return tuple(items)


def states_of(trained: TrainResult, recipe: Recipe) -> tuple[State, ...]:
    """The states of a training that are tried, the last one at strength 1 last."""
    steps, kept = trained.lora.steps, {one.step: one.lora for one in trained.kept}
    files = {**kept, steps: trained.lora.digest}
    wanted = recipe.choice.tried(steps)
    return tuple(State(step=step, strength=strength, lora=files[step]) for step, strength in wanted if step in files)


def choose_request(
    character: CharacterRef, recipe: Recipe, trained: TrainResult, fingerprint: Fingerprint, held_out: Digest | None
) -> ChooseRequest:
    """How the states of a training are tried; `held_out` is the image set of sources that nothing is trained on."""
    return ChooseRequest(
        character=character,
        base=recipe.models.base,
        lora=trained.lora,
        states=states_of(trained, recipe),
        pick_items=choice_items(character, recipe, "pick", recipe.choice.pick_pictures),
        confirm_items=choice_items(character, recipe, "confirm", recipe.choice.confirm_pictures),
        lora_weight=recipe.generate.lora_weight,
        fingerprint=fingerprint,
        held_out=held_out,
        verifier=recipe.models.verifier,
        reader=recipe.models.reader,
        screening=recipe.screening,
        recipe=recipe.benchmark,
        significance=recipe.choice.significance,
        sampler=recipe.generate.sampler,
    )
