"""What a stage is: a name, a Request, a Result, and a body that is run in a process of its own."""

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from flenwheel_core.base.errors import InterruptedStageError, NotFoundError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.registry import runs_here
from flenwheel_core.models.shelf import Shelf
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.caption_compare import CaptionCompareRequest, CaptionCompareResult
from flenwheel_core.requests.choose import ChooseRequest, ChooseResult
from flenwheel_core.requests.critic_look import (
    CriticLookRequest,
    CriticLookResult,
    CriticLookTrainRequest,
    CriticLookTrainResult,
)
from flenwheel_core.requests.critic_score import CriticScoreRequest, CriticScoreResult
from flenwheel_core.requests.critic_train import CriticTrainRequest, CriticTrainResult
from flenwheel_core.requests.edit_compare import EditCompareRequest, EditCompareResult
from flenwheel_core.requests.edit_train import EditTrainRequest, EditTrainResult
from flenwheel_core.requests.enrich import EnrichRequest, EnrichResult
from flenwheel_core.requests.export import ExportRequest, ExportResult
from flenwheel_core.requests.generate import GenerateRequest, GenerateResult
from flenwheel_core.requests.ingest import IngestRequest, IngestResult
from flenwheel_core.requests.inject import InjectRequest, InjectResult, InjectTrainRequest, InjectTrainResult
from flenwheel_core.requests.publish import PublishRequest, PublishResult
from flenwheel_core.requests.screen import ScreenRequest, ScreenResult
from flenwheel_core.requests.style_study import StyleStudyRequest, StyleStudyResult
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.requests.train_share import TrainShareRequest, TrainShareResult
from flenwheel_core.requests.vl_train import VlTrainRequest, VlTrainResult
from flenwheel_core.store import Store

if TYPE_CHECKING:
    from flenwheel_core.adapters.lora_file import LoraFiles
    from flenwheel_core.base.progress import Progress
    from flenwheel_core.documents.storages import EditorStorage
    from flenwheel_core.models.protocols import ModelSetup

Request = TypeVar("Request", bound=StageRequest)
Result = TypeVar("Result", bound=StageResult)


@dataclass(frozen=True)
class StageContext:
    """What a stage body may use besides its request."""

    store: Store
    settings: Settings
    scratch: Path
    """Local folder of this request: checkpoints live here and survive a crash."""
    progress: "Progress"
    memory_level: int = 0
    """0 at first; raised by one when the run before ran out of memory."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set on SIGTERM: save and raise InterruptedStageError at the next safe point."""
    shelf: Shelf = field(default_factory=Shelf)
    """Where loaded weights stay between the pieces of work of this stage."""

    def setup(self, loras: "LoraFiles" = (), storage: "EditorStorage | None" = None) -> "ModelSetup":
        """How a model is to be set up here."""
        from flenwheel_core.models.protocols import ModelSetup

        return ModelSetup(
            loras=loras,
            storage=storage,
            memory_level=self.memory_level,
            note=self.progress.note,
            shelf=self.shelf,
            stop=self.stop,
        )

    def check_stop(self) -> None:
        """Raises InterruptedStageError if the stage was told to stop."""
        if self.stop.is_set():
            raise InterruptedStageError(
                "The stage was stopped; what it finished is saved.", remedy="Run it again: it goes on where it stopped."
            )


@dataclass(frozen=True)
class KeptFiles:
    """Files of a stage's scratch folder, each written at once, by patterns of their paths."""

    newest_of: str
    """Of these the last by name is the state: step-00000050 before step-00000060."""
    beside: tuple[str, ...] = ()
    """All of these belong to it, too."""


CHECKPOINTS = "checkpoints/step-*.safetensors"
"""Of trainings (`engine/run_job.py`)."""


@dataclass(frozen=True)
class Stage(Generic[Request, Result]):
    """One stage. `body` is `module:function`, imported only in the process that runs it."""

    request: type[Request]
    result: type[Result]
    body: str
    uses_gpu: bool
    on_card: Callable[[Request], bool] | None = None
    """Which requests of a GPU stage need the card; None: all."""
    several: Callable[[Request], int] | None = None
    """How many cards of a machine a request wants; None: one."""
    kept: "KeptFiles | None" = None
    """What of its scratch folder another machine would go on from."""

    def needs_card(self, request: Request) -> bool:
        """True if this request must hold the GPU slot."""
        return self.uses_gpu and (self.on_card is None or self.on_card(request))

    def cards(self, request: Request) -> int:
        """How many cards this request holds the slots of; 0 for one that needs none."""
        if not self.needs_card(request):
            return 0
        return 1 if self.several is None else self.several(request)

    @property
    def name(self) -> str:
        return self.request.stage

    def load_body(self) -> Callable[[Request, StageContext], Result]:
        module, _, name = self.body.partition(":")
        return cast("Callable[[Request, StageContext], Result]", getattr(importlib.import_module(module), name))


INGEST = Stage(
    IngestRequest,
    IngestResult,
    "flenwheel_core.stages.ingest:ingest",
    uses_gpu=True,
    on_card=lambda request: request.captioner is not None,
)
ENRICH = Stage(
    EnrichRequest,
    EnrichResult,
    "flenwheel_core.stages.enrich:enrich",
    uses_gpu=True,
    on_card=lambda request: runs_here(request.editor),
)
SCREEN = Stage(ScreenRequest, ScreenResult, "flenwheel_core.stages.screen:screen", uses_gpu=False)
TRAIN = Stage(
    TrainRequest,
    TrainResult,
    "flenwheel_core.stages.train:train",
    uses_gpu=True,
    several=lambda request: request.recipe.gpus,
    kept=KeptFiles(CHECKPOINTS, beside=("samples/*.png", "kept/*.safetensors", "looks/*.jsonl")),
)
TRAIN_SHARE = Stage(
    TrainShareRequest,
    TrainShareResult,
    "flenwheel_core.stages.train_share:train_share",
    uses_gpu=True,
    several=lambda request: request.cards,
)
GENERATE = Stage(GenerateRequest, GenerateResult, "flenwheel_core.stages.generate:generate", uses_gpu=True)
BENCHMARK = Stage(BenchmarkRequest, BenchmarkResult, "flenwheel_core.stages.benchmark:benchmark", uses_gpu=True)
CHOOSE = Stage(ChooseRequest, ChooseResult, "flenwheel_core.stages.choose:choose", uses_gpu=True)
STYLE_STUDY = Stage(StyleStudyRequest, StyleStudyResult, "flenwheel_core.stages.style_study:style_study", uses_gpu=True)
EXPORT = Stage(ExportRequest, ExportResult, "flenwheel_core.stages.export:export", uses_gpu=False)
PUBLISH = Stage(PublishRequest, PublishResult, "flenwheel_core.stages.publish:publish", uses_gpu=False)
EDIT_TRAIN = Stage(
    EditTrainRequest,
    EditTrainResult,
    "flenwheel_core.stages.edit_train:edit_train",
    uses_gpu=True,
    kept=KeptFiles(CHECKPOINTS),
)
EDIT_COMPARE = Stage(
    EditCompareRequest,
    EditCompareResult,
    "flenwheel_core.stages.edit_compare:edit_compare",
    uses_gpu=True,
)
VL_TRAIN = Stage(
    VlTrainRequest,
    VlTrainResult,
    "flenwheel_core.stages.vl_train:vl_train",
    uses_gpu=True,
    kept=KeptFiles(CHECKPOINTS),
)
CAPTION_COMPARE = Stage(
    CaptionCompareRequest,
    CaptionCompareResult,
    "flenwheel_core.stages.caption_compare:caption_compare",
    uses_gpu=True,
)
CRITIC_LOOK_TRAIN = Stage(
    CriticLookTrainRequest,
    CriticLookTrainResult,
    "flenwheel_core.stages.critic_look:critic_look_train",
    uses_gpu=True,
    kept=KeptFiles(f"fold-*/{CHECKPOINTS}", beside=("fold-*/lora.safetensors",)),
)
CRITIC_LOOK = Stage(CriticLookRequest, CriticLookResult, "flenwheel_core.stages.critic_look:critic_look", uses_gpu=True)
CRITIC_TRAIN = Stage(
    CriticTrainRequest, CriticTrainResult, "flenwheel_core.stages.critic_train:critic_train", uses_gpu=False
)
CRITIC_SCORE = Stage(
    CriticScoreRequest, CriticScoreResult, "flenwheel_core.stages.critic_score:critic_score", uses_gpu=False
)
INJECT_TRAIN = Stage(
    InjectTrainRequest,
    InjectTrainResult,
    "flenwheel_core.stages.inject_train:inject_train",
    uses_gpu=True,
    kept=KeptFiles("*/step-*.safetensors", beside=("*/finished.safetensors",)),
)
INJECT = Stage(InjectRequest, InjectResult, "flenwheel_core.stages.inject:inject", uses_gpu=True)

STAGES: dict[str, Stage[StageRequest, StageResult]] = {
    stage.name: cast("Stage[StageRequest, StageResult]", stage)
    for stage in (
        INGEST,
        ENRICH,
        SCREEN,
        TRAIN,
        TRAIN_SHARE,
        GENERATE,
        BENCHMARK,
        CHOOSE,
        STYLE_STUDY,
        EXPORT,
        PUBLISH,
        EDIT_TRAIN,
        EDIT_COMPARE,
        VL_TRAIN,
        CAPTION_COMPARE,
        CRITIC_LOOK_TRAIN,
        CRITIC_LOOK,
        CRITIC_TRAIN,
        CRITIC_SCORE,
        INJECT_TRAIN,
        INJECT,
    )
}


def register(stage: Stage[Request, Result]) -> Stage[Request, Result]:
    """Makes a stage known by its name. Modules named in the setting `stage_modules` call it when imported."""
    STAGES[stage.name] = cast("Stage[StageRequest, StageResult]", stage)
    return stage


def find_stage(name: str) -> Stage[StageRequest, StageResult]:
    """The stage of that name; raises NotFoundError that lists the names."""
    if name not in STAGES:
        raise NotFoundError(f"There is no stage {name!r}.", remedy=f"Stages are: {', '.join(STAGES)}.")
    return STAGES[name]
