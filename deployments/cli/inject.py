"""The command `inject`: who photos show, as a residual on the prompt of a model that draws."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from deployments.cli.terminal import plain_console, progress_sink
from deployments.injection.run import (
    BASE,
    BASE_PROMPT,
    FEATURES,
    NEGATIVE_PROMPT,
    OUT_DIR,
    FolderInjection,
    inject_folders,
    train_head,
    use_token,
)
from deployments.prefect.flow_server import PrefectFlowServer
from flenwheel_core.base.errors import InputError, NotFoundError, RecipeError
from flenwheel_core.base.progress import Sink
from flenwheel_core.base.services import load_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.library.injections import Injections
from flenwheel_core.plans import injection as plans
from flenwheel_core.recipes.injection import HeadRecipe, InjectionRecipe, LearningRecipe, LearningStage, Place
from flenwheel_core.recipes.injection_file import load_head_recipe
from flenwheel_core.requests.inject import InjectRequest
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import INJECT
from flenwheel_core.store import Store

console = plain_console()
Words = Annotated[list[str] | None, Parameter(consume_multiple=True)]


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(inject)


def inject(
    name: str | None = None,
    *,
    seed_dirs: Words = None,
    out_dir: Path = OUT_DIR,
    train: bool = False,
    epochs: float = 3,
    batch_size: int = 2,
    lr: float = 1e-3,
    alphas: Words = None,
    gen_seeds: Words = None,
    steps: int = 28,
    guidance: float = 4.5,
    height: int = 768,
    width: int = 512,
    base_prompt: str = BASE_PROMPT,
    negative_prompt: str = NEGATIVE_PROMPT,
    qwen3_vl_model: str = FEATURES,
    qwen_image_model: str = BASE,
    device: str | None = None,
    dtype: Literal["fp16", "fp32", "bf16"] | None = None,
    hf_token: str | None = None,
    cache_dir: Path | None = None,
    head: Path | None = None,
    head_recipe: Path | None = None,
    place: Place = "phrase",
    tokens: int = 16,
    words: str = "person",
    stages: Words = None,
    oracle_steps: int = 0,
    verifier: str | None = None,
    reader: str | None = None,
    schedule: bool = False,
) -> None:
    """Draw people as their photos show them, before any LoRA: a linear head turns what Qwen-VL sees into a residual on the prompt.

    With a NAME it is a character of the workspace, drawn as its recipe says, and the pictures stand on its page in the studio. With
    --seed-dirs it is folders of photos.

    Parameters
    ----------
    name
        A character of the workspace.
    seed_dirs
        Folders with photo_view_*.png, by commas or spaces; a .txt beside a photo describes who is in it.
    out_dir
        Where checkpoints/linear_head.safetensors and generations/ are written.
    train
        Train the head first: on these folders, or on this character and all others of the workspace.
    epochs
        How often each photo is seen in each stage of training.
    batch_size
        Photos a training step.
    lr
        Peak learning rate.
    alphas
        Strengths, by commas or spaces: 0.5,1.0,1.5 if not given. 0, which is no injection, is always drawn besides.
    gen_seeds
        Seeds of pictures, by commas or spaces: 1234,5678,9999 if not given.
    steps
        Denoising steps.
    guidance
        With Qwen-Image true classifier-free guidance, two calls a step; with FLUX.1 its guidance embedding.
    height
        Height of pictures in pixels.
    width
        Width of pictures in pixels.
    base_prompt
        What is drawn.
    negative_prompt
        What guidance leads away from.
    qwen3_vl_model
        Qwen3-VL or Qwen2.5-VL: hub-id@revision, a folder, or nano.
    qwen_image_model
        What draws: hub-id@revision, a folder, or nano.
    device
        cuda, cuda:1, or cpu; the card of the settings if not given.
    dtype
        bf16 on a card and fp32 on a CPU, which is also what is used if not given.
    hf_token
        Token for the Hub; HF_TOKEN or HUGGINGFACE_TOKEN of the environment if not given, which no list of processes shows.
    cache_dir
        Fetched models are kept in hub/ of this folder; of the settings' folder (FLENWHEEL_MODELS) if not given.
    head
        A trained head; OUT_DIR/checkpoints/linear_head.safetensors if not given.
    head_recipe
        A TOML file with the other choices of a head that is trained, in the tables [head] and [learning]: docs/injection.md.
    place
        Of a head that is trained. phrase: tokens of its own that stand for a described phrase; all: one residual on every token; words:
        on those of --words; tokens: there, and on its own behind the prompt; both: on every token, and on its own.
    tokens
        How many tokens of its own.
    words
        Words of the prompt that the residual belongs to.
    stages
        regression (captions), flow (pictures), or both in this order; both where photos are described.
    oracle_steps
        Also learn each identity's residual itself in so many steps: the best that a head could do.
    verifier
        What tells who is in pictures: face, nano, or a vision model. Without it nothing is measured.
    reader
        What reads angle and expression: face, nano, or a classifier.
    schedule
        Let the running workspace draw the character (`flenwheel up`): it shows in the Prefect interface.
    """
    settings = settings_of(device, dtype, hf_token, cache_dir)
    chosen_alphas = plans.strengths(alphas) if alphas else plans.ALPHAS
    seeds = plans.whole_seeds(gen_seeds) if gen_seeds else plans.SEEDS
    more = InjectionRecipe() if head_recipe is None else load_head_recipe(head_recipe)
    recipe = more.head.changed(place=place, tokens=tokens, words=words)
    folders = tuple(part for text in seed_dirs or () for part in text.replace(",", " ").split())
    if (name is None) == (not folders):
        raise InputError(
            "Name a character, or folders of photos: one of them.",
            remedy="flenwheel inject NAME, or flenwheel inject --seed-dirs seed_1,seed_2.",
        )
    folder_options: dict[str, tuple[object, object]] = {
        "out-dir": (out_dir, OUT_DIR),
        "steps": (steps, 28),
        "guidance": (guidance, 4.5),
        "height": (height, 768),
        "width": (width, 512),
        "base-prompt": (base_prompt, BASE_PROMPT),
        "negative-prompt": (negative_prompt, NEGATIVE_PROMPT),
        "qwen3-vl-model": (qwen3_vl_model, FEATURES),
        "qwen-image-model": (qwen_image_model, BASE),
        "head": (head, None),
        "words": (words, "person"),
        "oracle-steps": (oracle_steps, 0),
        "verifier": (verifier, None),
        "reader": (reader, None),
    }
    if name is not None:
        _require_unset(
            folder_options, "is for folders of photos", "a character is drawn and measured as its recipe says"
        )
    if schedule:
        here: dict[str, tuple[object, object]] = {
            "batch-size": (batch_size, 2),
            "lr": (lr, 1e-3),
            "place": (place, "phrase"),
            "tokens": (tokens, 16),
            "stages": (stages, None),
            "head-recipe": (head_recipe, None),
        }
        _require_unset(here, "cannot be scheduled", "the form of the deployment inject/preview does not have it")
    if not train:
        of_training: dict[str, tuple[object, object]] = {
            "epochs": (epochs, 3),
            "batch-size": (batch_size, 2),
            "lr": (lr, 1e-3),
            "stages": (stages, None),
            "oracle-steps": (oracle_steps, 0),
            "place": (place, "phrase"),
            "tokens": (tokens, 16),
            "head-recipe": (head_recipe, None),
        }
        _require_unset(
            of_training,
            "changes nothing without --train",
            "it says how a head is trained",
            "Add --train, or leave it out.",
        )
    elif name is None:
        _require_unset({"head": (head, None)}, "changes nothing with --train", "the head that is trained is drawn with")
    if verifier is None:
        _require_unset(
            {"oracle-steps": (oracle_steps, 0)},
            "changes nothing without --verifier",
            "the oracle is drawn to be measured",
            "Name a verifier, or leave it out.",
        )
    if schedule:
        _schedule(name, settings, chosen_alphas, seeds, train=train, epochs=epochs)
        return
    with progress_sink() as sink:
        if name is not None:
            learning = more.learning.changed(
                epochs=epochs, batch_size=batch_size, learning_rate=lr, stages=_stages(stages) or ("flow",)
            )
            _of_character(name, settings, sink, recipe, learning if train else None, chosen_alphas, seeds)
            return
        asked = FolderInjection(
            seed_dirs=folders,
            out_dir=out_dir,
            train=train,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            alphas=chosen_alphas,
            gen_seeds=seeds,
            steps=steps,
            guidance=guidance,
            height=height,
            width=width,
            base_prompt=base_prompt,
            negative_prompt=negative_prompt,
            qwen3_vl_model=qwen3_vl_model,
            qwen_image_model=qwen_image_model,
            head_file=head,
            head=recipe,
            stages=_stages(stages),
            oracle_steps=oracle_steps,
            learning=more.learning,
            verifier=verifier,
            reader=reader,
        )
        inject_folders(asked, settings, sink, console.print)


def _of_character(
    name: str,
    settings: Settings,
    sink: Sink,
    head: HeadRecipe,
    learning: LearningRecipe | None,
    alphas: tuple[float, ...],
    seeds: tuple[int, ...],
) -> None:
    """Draws a character of the workspace, after a training where one is asked for; the pictures stand on its page."""
    store = Store(settings.store_url, settings.store_options)
    if learning is not None:
        request = plans.character_training(name, store, settings, head, learning)
        train_head(request, store, settings, sink, console.print)
    drawing = _preview(name, store, settings, sink, alphas, seeds)
    result = run_in_child(INJECT, drawing, settings, sink)
    Injections(store).add_preview(name, drawing)
    console.print(result.summary())
    services = load_services(settings)
    if services is not None and services.studio_url:
        console.print(f"{services.studio_url}/characters/{name}")


def _preview(
    name: str, store: Store, settings: Settings, sink: Sink, alphas: tuple[float, ...], seeds: tuple[int, ...]
) -> InjectRequest:
    """What is drawn; where there is no head yet for the nano models, after one was trained on drawn characters."""
    try:
        return plans.preview(name, store, settings, alphas=alphas, seeds=seeds)
    except NotFoundError:
        from flenwheel_core.nano.injection_lessons import nano_head

        request = nano_head(name, store, settings)
        if request is None:
            raise
        console.print(
            f"There is no head yet for the nano models: one is trained first, on {len(request.identities)} drawn characters."
        )
        train_head(request, store, settings, sink, console.print)
        return plans.preview(name, store, settings, alphas=alphas, seeds=seeds)


def _require_unset(
    options: dict[str, tuple[object, object]], what: str, why: str, remedy: str = "Leave it out."
) -> None:
    """Raises InputError for an option that would change nothing; each has its value and what it is if it is not given."""
    given = [name for name, (value, usual) in options.items() if value != usual]
    if given:
        raise InputError(f"--{given[0]} {what}.", why=f"{why}.", remedy=remedy)


def _schedule(
    name: str | None,
    settings: Settings,
    alphas: tuple[float, ...],
    seeds: tuple[int, ...],
    *,
    train: bool,
    epochs: float,
) -> None:
    """As a run of the deployment. Raises InputError for folders: a run knows the characters of its workspace."""
    if name is None:
        raise InputError(
            "Only a character's preview can be scheduled.", remedy="Leave --schedule out, or name a character."
        )
    store = Store(settings.store_url, settings.store_options)
    Library(store).character(name)
    server = PrefectFlowServer(settings)
    started = server.start_preview(name, alphas, seeds, train=train, epochs=epochs)
    console.print(f"Scheduled a preview of {name} ({started.flow_run}).")
    address = server.run_address(started.flow_run)
    if address is not None:
        console.print(address)


def _stages(given: list[str] | None) -> tuple[LearningStage, ...]:
    """Raises InputError for what is no stage; none where none is named."""
    known: dict[str, LearningStage] = {"regression": "regression", "flow": "flow"}
    found = [part for text in given or () for part in text.replace(",", " ").split()]
    wrong = [part for part in found if part not in known]
    if wrong:
        raise InputError(f"There is no stage {wrong[0]!r}.", remedy="Choose regression, flow, or both.")
    return tuple(known[part] for part in dict.fromkeys(found))


def settings_of(device: str | None, dtype: str | None, token: str | None, cache: Path | None) -> Settings:
    """The settings of this machine with what the command says. Raises RecipeError for numbers that nothing here computes in."""
    if dtype == "fp16":
        raise RecipeError(
            "Nothing is computed in fp16 here.",
            why="Qwen-Image leaves its range, and pictures turn black.",
            remedy="Use --dtype bf16, or leave it out.",
        )
    use_token(token)
    changes: dict[str, object] = {}
    if device is not None:
        changes["gpu"] = _card(device)
    if cache is not None:
        changes["models"] = cache
    settings = Settings().model_copy(update=changes)
    on_cpu = settings.gpu == "cpu"
    if (dtype == "fp32" and not on_cpu) or (dtype == "bf16" and on_cpu):
        raise RecipeError(
            f"{'A CPU' if on_cpu else 'A card'} does not compute in {dtype} here.",
            why="a card computes in bf16 and a CPU in fp32.",
            remedy="Leave --dtype out.",
        )
    return settings


def _card(device: str) -> str:
    kind, _, index = device.partition(":")
    if device == "cpu" or (kind == "cuda" and (index.isdigit() or not index)):
        return "cpu" if kind == "cpu" else index or "auto"
    raise InputError(f"There is no device {device!r}.", remedy="Choose cuda, cuda:0, or cpu.")
