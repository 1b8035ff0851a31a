"""Carrying out an order of the training service: pictures become a LoRA, with or without gates, and it is published.

Everything goes the way it goes in a turn: the same stages, the same slot, the same records.
"""

from collections.abc import Mapping

from prefect import flow

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.orders import OrderedFile, OrderEnded, TrainOrder
from flenwheel_core.library.characters import Library
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.orders import Orders
from flenwheel_core.records.exports import PublishChoice, check_choice, find_export, publish_request
from flenwheel_core.requests.export import ExportedFile, ExportRequest, ExportResult
from flenwheel_core.requests.publish import PublishedFile
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.runner.stage import EXPORT, INGEST, PUBLISH
from flows.flywheel1 import run_turn
from flows.start import NothingToDo, plain_errors
from flows.trainings import trained
from flows.turn import Turn
from flows.turn_runner import PrefectRunner, TurnRunner
from tasks.open_order import OrderOpened, open_order
from tasks.open_turn import NotBegun, open_store, recipe_of


@flow(name="train-lora", flow_run_name="order {order}", persist_result=False)
@plain_errors
def train_lora(order: str) -> str:
    """Carries out one order.

    Args:
        order: The order's id, as the training service gave it.
    """
    opened = open_order(order)
    if isinstance(opened, NotBegun):
        raise NothingToDo(opened.reason)
    turn = order_turn(opened)
    runner = PrefectRunner()
    exported = reviewed(turn, runner) if opened.gates else straight(turn, runner)
    return delivered(turn, opened.order, *exported, runner)


def order_turn(opened: OrderOpened) -> Turn:
    """The order as a turn of its character, or as a step outside of turns."""
    store, number = open_store(), opened.opened.number
    name = opened.order.character
    return Turn(
        store=store,
        character=Library(store).character(name),
        recipe=recipe_of(store, opened.opened),
        number=number if opened.gates else 0,
        flow_run=opened.opened.flow_run,
        name=f"{name}-t{number}" if opened.gates else name,
        folder=f"turns/{name}/{number:04d}" if opened.gates else f"runs/{opened.opened.flow_run}",
    )


def straight(turn: Turn, runner: TurnRunner) -> tuple[ExportRequest, ExportResult]:
    """Trains on the pictures as they were given; nobody looks, and nothing is promoted."""
    asked = turn.ingest_request()
    turn.take_in(asked, runner.stage(INGEST, asked, f"ingest {turn.name}"))
    made = trained(turn, runner, "order")
    export = turn.frozen("export", ExportRequest, lambda: plain_export(turn, made))
    return export, runner.stage(EXPORT, export, f"export {turn.name}")


def plain_export(turn: Turn, made: TrainResult) -> ExportRequest:
    """A LoRA that was not benchmarked, with what is known of it."""
    return ExportRequest(
        character=turn.character.ref(),
        lora=made.lora,
        samples=made.samples,
        sources=turn.sources(),
        pool=turn.store.put_images([entry.image for entry in turn.pool()]),
        turn=turn.number,
        sampler=turn.recipe.generate.sampler,
        choice=Choices(turn.store, turn.character.name).of(made.lora),
        consent=turn.library.consent(turn.character.name),
    )


def reviewed(turn: Turn, runner: TurnRunner) -> tuple[ExportRequest, ExportResult]:
    """A whole turn, with its gates. Raises InputError if a person stopped it."""
    outcome = run_turn(turn, runner)
    champion = turn.library.champion(turn.character.name)
    if champion is None:
        raise InputError("The order was not carried out.", why=f"the turn was {outcome}.")
    return find_export(turn.store, champion.lora.digest)


def delivered(turn: Turn, order: TrainOrder, export: ExportRequest, exported: ExportResult, runner: TurnRunner) -> str:
    """Publishes the files where finished LoRAs go, and ends the order. One that has ended, or was cancelled, is left as it is."""
    standing = Orders(turn.store).ended(order.id)
    if standing is not None:
        return standing.model_url or "cancelled"
    settings, places = Settings(), dict[str, PublishedFile]()
    if settings.publish_url is not None:
        choice = check_choice(turn.store, settings, export, PublishChoice(to="s3", again=False, ordered=True))
        published = runner.stage(PUBLISH, publish_request(turn.store, export, exported, choice), f"publish {turn.name}")
        places = {file.name: file for file in published.files}
    files = tuple(_ordered(turn, file, places.get(file.name)) for file in exported.files)
    url = _model_url(turn, export, exported, places)
    ended = OrderEnded(state="succeeded", lora=export.lora.digest, files=files, model_url=url)
    return Orders(turn.store).end(order.id, ended).model_url or "cancelled"


def _ordered(turn: Turn, file: ExportedFile, published: PublishedFile | None) -> OrderedFile:
    """A file as whoever ordered it finds it: what is published names no folder of this machine, so that its digest may be another."""
    if published is None:
        return OrderedFile(name=file.name, digest=file.digest, size_bytes=turn.store.blob_size(file.digest))
    found = {"digest": published.digest, "size_bytes": published.size_bytes, "address": published.address}
    return OrderedFile.model_validate({"name": file.name, **found})


def _model_url(turn: Turn, export: ExportRequest, exported: ExportResult, places: Mapping[str, PublishedFile]) -> str:
    """The LoRA's address: where it was published, else in the store."""
    name = next(file.name for file in exported.files if file.digest == export.lora.digest)
    return places[name].address if name in places else turn.store.blob_address(export.lora.digest)
