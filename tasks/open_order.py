"""Opens an order: its character with its pictures, and its recipe with every model pinned."""

from collections.abc import Collection

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flenwheel_core.base.document import Document
from flenwheel_core.documents.orders import TrainOrder
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.orders import Orders
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.models.pinning import TRAINING_MODELS, ModelUse
from flenwheel_core.plans.order_recipe import order_recipe
from flenwheel_core.plans.subjects import plan_of, usable_recipe
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.store import Store
from tasks.open_turn import NotBegun, open_store
from tasks.pinning import pinned_snapshot


class OrderOpened(Document):
    """An order that is being carried out; a replay gets the same."""

    order: TrainOrder
    opened: TurnOpened
    gates: bool
    """A whole turn with its gates; otherwise a training on the pictures as they were given."""


@task(name="open order", task_run_name="open order {order_id}", cache_policy=NO_CACHE, persist_result=False)
def open_order(order_id: str) -> OrderOpened | NotBegun:
    """The order, ready to be carried out. Raises InputError if its pictures or choices cannot be used."""
    store = open_store()
    orders, library = Orders(store), Library(store)
    order = orders.get(order_id).order
    ended = orders.ended(order_id)
    if ended is not None:
        return NotBegun(reason=f"The order has {ended.state} already.")
    orders.begin(order_id)
    chosen = order_recipe(order, usable_recipe(order.recipe, order.kind))
    _furnish(library, order)
    claim = library.open_turn if chosen.gates.orders else library.open_step
    made = library.turns(order.character) if chosen.gates.orders else library.steps(order.character)
    standing = next((one for one in made if one.flow_run == flow_run.id), None)
    if standing is None:
        standing = claim(order.character, flow_run.id, _snapshot(store, library, order, chosen.gates.orders))
    return OrderOpened(order=order, opened=standing, gates=chosen.gates.orders)


def _snapshot(store: Store, library: Library, order: TrainOrder, gates: bool) -> str:
    chosen = order_recipe(order, usable_recipe(order.recipe, order.kind))
    files = library.sources(order.character)
    uses: Collection[ModelUse] = plan_of(order.kind).models if gates else TRAINING_MODELS
    return store.put_blob(pinned_snapshot(chosen, uses, files).to_bytes())


def _furnish(library: Library, order: TrainOrder) -> None:
    """The character and its pictures; again is no harm."""
    character = Character(
        name=order.character,
        trigger=order.trigger,
        class_word=order.class_word,
        kind=order.kind,
        recipe=order.recipe,
    )
    library.create_character(character)
    if not library.sources(order.character):
        files = tuple(
            SourceFile(name=f"{number:03d}.png", digest=picture.image, caption=picture.description or None)
            for number, picture in enumerate(order.pictures, start=1)
        )
        library.add_sources(order.character, files)
