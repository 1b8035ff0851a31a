"""Injection into pictures of the people in folders of photos: what the command and the entry point for Modal both call."""

import os
from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from deployments.injection.results import prepare, write_results
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import Digest
from flenwheel_core.base.progress import Sink
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.injections import HeadFacts
from flenwheel_core.documents.wording import require_mention
from flenwheel_core.library.injections import Injections
from flenwheel_core.plans import injection as plans
from flenwheel_core.plans.injection_photos import folder_identities
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe, LearningStage
from flenwheel_core.requests.inject import (
    InjectionIdentity,
    InjectionPrompt,
    InjectRequest,
    InjectResult,
    InjectTrainRequest,
    InjectTrainResult,
    Method,
)
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import INJECT, INJECT_TRAIN
from flenwheel_core.store import Store

OUT_DIR = Path("/mnt/output/injection_poc")
BASE_PROMPT = "a portrait photo of a person, studio lighting, 85mm"
NEGATIVE_PROMPT = "blurry, low quality, deformed, watermark"
FEATURES = "Qwen/Qwen3-VL-8B-Instruct@main"
BASE = "Qwen/Qwen-Image@main"

_WORDS_OR_ALL = "Name words of the prompt with --words, or put it on all tokens with --place all."

Say = Callable[[str], None]


class FolderInjection(Document):
    """What is asked for, with the defaults of the proof of concept that it follows."""

    seed_dirs: tuple[str, ...]
    out_dir: Path = OUT_DIR
    train: bool = False
    epochs: float = Field(default=3, gt=0)
    batch_size: int = Field(default=2, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    alphas: tuple[float, ...] = plans.ALPHAS
    gen_seeds: tuple[int, ...] = plans.SEEDS
    steps: int = 28
    guidance: float = 4.5
    height: int = 768
    width: int = 512
    base_prompt: str = BASE_PROMPT
    negative_prompt: str = NEGATIVE_PROMPT
    qwen3_vl_model: str = FEATURES
    qwen_image_model: str = BASE
    head_file: Path | None = None
    head: HeadRecipe = Field(default_factory=HeadRecipe)
    stages: tuple[LearningStage, ...] = Field(default=(), description="empty: all that the photos allow")
    oracle_steps: int = Field(default=0, ge=0)
    learning: LearningRecipe = Field(
        default_factory=LearningRecipe, description="what the fields above do not say of how the head learns"
    )
    verifier: str | None = None
    reader: str | None = None


def inject_folders(asked: FolderInjection, settings: Settings, sink: Sink, say: Say) -> InjectResult:
    """Trains a head if asked, draws, measures, and writes the output folder. Raises InputError and RecipeError before anything loads."""
    plans.require_vision(asked.qwen3_vl_model)
    plans.require_drawing(asked.qwen_image_model)
    if asked.train and asked.head.place != "all":
        require_mention(asked.base_prompt, asked.head.words, remedy=_WORDS_OR_ALL)
    store = Store(settings.store_url, settings.store_options)
    identities = folder_identities(asked.seed_dirs, store, words=asked.head.words)
    oracle: Digest | None = None
    prepare(asked.out_dir)
    file = None if asked.train else asked.head_file or standing_head(asked.out_dir)
    if file is not None:
        facts = require_usable(file, asked)
    features, base = plans.pinned_pair(asked.qwen3_vl_model, asked.qwen_image_model, settings)
    sampler = plans.sampler_for(
        base, settings, steps=asked.steps, guidance=asked.guidance, width=asked.width, height=asked.height
    )
    if file is None:
        request = _training(asked, identities=identities, settings=settings, say=say)
        trained = train_head(request, store, settings, sink, say)
        head, oracle, facts = trained.head, trained.oracle, trained.facts
    else:
        head = Injections(store).bring_head(file.read_bytes(), facts)
    identities = plans.known_by(facts, identities, store)
    if sampler.true_cfg > 1:
        say(f"Guidance {asked.guidance:g} is true classifier-free guidance with this model: two calls a step.")
    else:
        say(f"Guidance {asked.guidance:g} is the guidance embedding of this model; the negative prompt is not used.")
    controls: tuple[Method, ...] = ("shuffled", "oracle") if asked.verifier else ()
    drawing = InjectRequest(
        identities=identities,
        features=features,
        base=base,
        head=head,
        oracle=oracle,
        words=asked.head.words,
        prompts=(InjectionPrompt(text=asked.base_prompt),),
        negative=asked.negative_prompt,
        alphas=asked.alphas,
        seeds=asked.gen_seeds,
        sampler=sampler,
        controls=controls,
        verifier=asked.verifier,
        reader=asked.reader,
    )
    result = run_in_child(INJECT, drawing, settings, sink)
    for line in write_results(asked.out_dir, store, drawing, result):
        say(line)
    say(result.verdict)
    return result


def use_token(given: str | None) -> None:
    """The Hub is asked with this token; with HUGGINGFACE_TOKEN of the environment if none is given and there is no HF_TOKEN."""
    named = os.environ.get("HUGGINGFACE_TOKEN")
    if given:
        os.environ["HF_TOKEN"] = given
    elif named:
        os.environ.setdefault("HF_TOKEN", named)


def train_head(
    request: InjectTrainRequest, store: Store, settings: Settings, sink: Sink, say: Say
) -> InjectTrainResult:
    """The trained head, made known to the workspace."""
    trained = run_in_child(INJECT_TRAIN, request, settings, sink)
    Injections(store).add_head(request, trained)
    say(trained.summary())
    return trained


def standing_head(out_dir: Path) -> Path:
    """The head in an output folder; the pickle that the proof of concept writes, where there is only that. Raises InputError for none."""
    folder = out_dir / "checkpoints"
    for name in ("linear_head.safetensors", "linear_head.pt"):
        if (folder / name).exists():
            return folder / name
    raise InputError(
        f"There is no head in {folder}.",
        why="without one nothing says what photos mean to a prompt.",
        remedy="Train one: --train; or name a file: --head.",
    )


def require_usable(file: Path, asked: FolderInjection) -> HeadFacts:
    """What is known of a head in a file. Raises InputError for what is none, and for a prompt without the words of its residual."""
    from flenwheel_core.injection.heads import read_head

    facts = read_head(file)[1]
    if facts.place != "all":
        require_mention(asked.base_prompt, asked.head.words)
    return facts


def _training(
    asked: FolderInjection, *, identities: tuple[InjectionIdentity, ...], settings: Settings, say: Say
) -> InjectTrainRequest:
    described = any(photo.described for one in identities for photo in one.photos)
    stages: tuple[LearningStage, ...] = asked.stages or (("regression", "flow") if described else ("flow",))
    if not described and not asked.stages:
        say(
            "No photo has a description beside it, so the head learns from pictures alone; towards zero it would learn nothing."
        )
    learning = asked.learning.changed(
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        learning_rate=asked.lr,
        stages=stages,
        oracle_steps=asked.oracle_steps,
    )
    return plans.training(
        identities,
        features=asked.qwen3_vl_model,
        base=asked.qwen_image_model,
        head=asked.head,
        learning=learning,
        width=asked.width,
        height=asked.height,
        settings=settings,
        verifier=asked.verifier,
    )
