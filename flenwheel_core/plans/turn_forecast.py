"""What a turn will take: pictures, steps, hours at the speed that was measured here, what is fetched, disk."""

from collections.abc import Mapping

from flenwheel_core.base.document import Document
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.models.hub import free_disk_bytes
from flenwheel_core.plans.injected_cells import TRIAL_SEEDS
from flenwheel_core.plans.injection import ALPHAS, PREVIEW_LABELS
from flenwheel_core.plans.model_needs import model_needs
from flenwheel_core.plans.speeds import drawing, injecting, training
from flenwheel_core.recipes.model import Recipe

GIGABYTE = 1e9
BYTES_A_PIXEL = 3
"""A PNG has no more."""


class Work(Document):
    """What one step makes."""

    step: str
    count: int
    unit: str
    kind: str
    """As `speeds.kind_of_work` names it."""
    may_grow: bool = False


class TurnForecast(Document):
    """Counted from the recipe before anything is made."""

    works: tuple[Work, ...]
    fetch_bytes: int | None
    """None: the Hub must be asked."""
    captioner_bytes: int = 0
    """Of those, what is for a captioner alone, which pictures with captions do not need."""
    left_out: tuple[str, ...] = ()
    """Models that a person left out here."""
    picture_bytes: int
    """At most."""
    look_passes: int = 0
    """Of the model forward, for each picture of a training, at most: how many pictures there are is not known before the gates."""


def forecast_turn(recipe: Recipe, settings: Settings, *, first_turn: bool) -> TurnForecast:
    """A turn with one round at each gate. Nothing is loaded, fetched or asked."""
    style = recipe.style
    edits = Work(
        step="enrich",
        count=0 if style else recipe.enrich.target_images,
        unit="edits",
        kind=drawing(recipe.models.editor, recipe.enrich.sampler),
    )
    injections = _injections(recipe) if first_turn and not style else ()
    drawn = drawing(recipe.models.base, recipe.generate.sampler)
    loras = ("train v1", "train challenger") if first_turn else ("train challenger",)
    trainings = [
        Work(
            step=step,
            count=recipe.train.steps,
            unit="steps",
            kind=training(recipe.models.base, recipe.train),
            may_grow=recipe.train.min_epochs is not None,
        )
        for step in loras
    ]
    choices = [
        Work(
            step=step.replace("train", "choose"),
            count=recipe.choice.pictures(recipe.train.steps),
            unit="pictures",
            kind=drawn,
        )
        for step in loras
        if recipe.choice.on and not style
    ]
    looks = len(recipe.doubts.steps(recipe.train.steps)) * (0 if style else 1)
    again = [
        Work(
            step=f"{step} without doubtful pictures, if any",
            count=max(recipe.doubts.steps(recipe.train.steps)),
            unit="steps",
            kind=trainings[0].kind,
        )
        for step in loras
        if looks and recipe.doubts.leave_out
    ]
    synthetic = Work(step="generate", count=recipe.generate.target_images, unit="pictures", kind=drawn)
    # A champion of an earlier turn has drawn its card already.
    cells = (len(style.card) if style else len(CARD_CELLS)) * recipe.benchmark.seeds_per_cell
    cells = (cells + (0 if style else recipe.benchmark.bleed_pictures)) * len(loras)
    card = Work(step="benchmark", count=cells, unit="pictures", kind=drawn)
    models = model_needs(recipe, settings, ask=False)
    wanted = [need for need in models if not need.left_out]
    needs = [need.remaining_bytes for need in wanted]
    return TurnForecast(
        works=(
            *((edits,) if edits.count else ()),
            *injections,
            *trainings[:-1],
            *again[: len(loras) - 1],
            *choices[:-1],
            synthetic,
            trainings[-1],
            *again[len(loras) - 1 :],
            *choices[-1:],
            card,
        ),
        fetch_bytes=None if None in needs else sum(bytes_ or 0 for bytes_ in needs),
        captioner_bytes=sum(need.remaining_bytes or 0 for need in wanted if need.uses == ("captioner",)),
        left_out=tuple(f"{' and '.join(need.uses)} {need.reference}" for need in models if need.left_out),
        picture_bytes=edits.count * _bytes(recipe.enrich.sampler)
        + (synthetic.count + card.count + sum(work.count for work in (*choices, *injections)))
        * _bytes(recipe.generate.sampler),
        look_passes=0 if style else recipe.doubts.passes(recipe.train.steps, recipe.train.batch_size),
    )


def _injections(recipe: Recipe) -> tuple[Work, ...]:
    """The trial of injection and the cells that it may fill, where the recipe asks for them."""
    if not recipe.enrich.injected:
        return ()
    kind = injecting(recipe.models.base, recipe.generate.sampler)
    ways = 1 + 2 * len(ALPHAS)  # without, with each strength, and with another's photos at each
    trial = len(PREVIEW_LABELS) * len(TRIAL_SEEDS) * ways
    return (
        Work(step="try injection", count=trial, unit="pictures", kind=kind),
        Work(step="inject, if the trial holds", count=recipe.enrich.injected, unit="pictures at most", kind=kind),
    )


def forecast_lines(forecast: TurnForecast, speeds: Mapping[str, float], settings: Settings) -> list[str]:
    """The forecast for people, at these speeds (seconds an item by kind of work)."""
    lines, known, unknown = [], 0.0, []
    for work in forecast.works:
        each = speeds.get(work.kind)
        counted = f"{work.step}: {work.count} {work.unit}{' or more, as the pool grows' if work.may_grow else ''}"
        if each is None:
            unknown.append(work.step)
            lines.append(f"{counted}; not measured here yet")
        else:
            known += each * work.count
            lines.append(f"{counted}, {_each(each)} each, {_duration(each * work.count)}")
    if not unknown:
        lines.append(f"in all: about {_duration(known)} of computing, at the speed measured here; gates wait for you")
    else:
        begun = f"{_duration(known)} and " if known else ""
        lines.append(f"in all: {begun}what is not measured yet ({', '.join(unknown)}); the first minutes of each tell")
    if forecast.look_passes:
        lines.append(
            f"looks: {forecast.look_passes} passes of the model forward for each picture of a training, at most; not in the time above"
        )
    fetch = "not known without asking the Hub" if forecast.fetch_bytes is None else _gigabytes(forecast.fetch_bytes)
    lines.append(f"to fetch: {'nothing' if forecast.fetch_bytes == 0 else fetch}")
    if forecast.captioner_bytes:
        lines.append(
            f"of that for the captioner: {_gigabytes(forecast.captioner_bytes)}; not needed where captions come with the pictures, or "
            "templates do: flenwheel models fetch RECIPE --without captioner"
        )
    if forecast.left_out:
        lines.append(f"left out here: {', '.join(forecast.left_out)}")
    free = _gigabytes(free_disk_bytes(settings))
    lines.append(f"disk: {_gigabytes(forecast.picture_bytes)} of pictures at most; {free} are free for models")
    return lines


def _bytes(sampler: Sampler) -> int:
    return sampler.width * sampler.height * BYTES_A_PIXEL


def _gigabytes(bytes_: int) -> str:
    return f"{bytes_ / GIGABYTE:.1f} GB" if bytes_ >= GIGABYTE / 10 else f"{bytes_ / 1e6:.0f} MB"


def _each(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
