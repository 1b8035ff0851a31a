"""How fast work went on this machine: measured by the stages, kept in the store, and what a turn's hours are told from."""

import socket
from datetime import UTC, datetime

from pydantic import AwareDatetime

from flenwheel_core.base.document import Document
from flenwheel_core.documents.images import Sampler
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.base import StageRequest
from flenwheel_core.requests.benchmark import BenchmarkRequest
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.inject import InjectRequest
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.store import Journal, Store


class Speed(Document):
    """One measurement."""

    at: AwareDatetime
    host: str
    work: str
    """The kind of work, as `kind_of_work` names it."""
    seconds_each: float


def drawing(model: str, sampler: Sampler) -> str:
    """Pictures that one model draws or edits in the same way."""
    called = 2 if sampler.true_cfg > 1 else 1
    return f"{_bare(model)} {sampler.width}x{sampler.height}, {sampler.steps * called} calls"


def injecting(model: str, sampler: Sampler) -> str:
    """Pictures that one model draws with what photos show; its weights may be kept otherwise then, so it has a speed of its own."""
    return f"{drawing(model, sampler)}, injected"


def training(model: str, recipe: TrainingRecipe) -> str:
    """Steps of training one model in the same way."""
    batch = recipe.batch_size * recipe.gradient_accumulation
    return f"{_bare(model)} training {recipe.resolution}, batch {batch}, rank {recipe.lora.rank}"


def kind_of_work(request: StageRequest) -> str | None:
    """What a request's items are, for their speed; None where nothing is foretold."""
    if isinstance(request, EnrichRequest):
        return drawing(request.editor, request.sampler)
    if isinstance(request, GenerateRequest | BenchmarkRequest):
        return drawing(request.base, request.sampler)
    if isinstance(request, TrainRequest):
        return training(request.base, request.recipe)
    if isinstance(request, InjectRequest) and not {"editor", "lora"} & set(request.controls):
        return injecting(request.base, request.sampler)
    return None


def remember_speed(store: Store, work: str, seconds_each: float) -> None:
    """Keeps a measurement of this machine."""
    line = Speed(at=datetime.now(UTC), host=socket.gethostname(), work=work, seconds_each=seconds_each)
    _journal(store).append(line)


def known_speeds(store: Store) -> dict[str, float]:
    """Seconds an item by kind of work: the newest of this machine."""
    here = socket.gethostname()
    return {line.work: line.seconds_each for line in _journal(store).read() if line.host == here}


def _bare(model: str) -> str:
    """Without the revision: another one is as fast."""
    return model.partition("@")[0]


def _journal(store: Store) -> Journal[Speed]:
    return store.journal("speeds", Speed)
