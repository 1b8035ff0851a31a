"""The command that draws a style in several ways side by side: bases, presets of blocks, strengths."""

from pathlib import Path

from cyclopts import App

from deployments.cli.terminal import plain_console, progress_sink
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.services import load_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.evaluation.style_ranks import KNOWN_FROM
from flenwheel_core.library.characters import Library
from flenwheel_core.library.studies import Studies
from flenwheel_core.library.training_pool import training_pool
from flenwheel_core.models.pinning import BENCHMARK_MODELS, pin_recipe
from flenwheel_core.plans.scenes import style_choices
from flenwheel_core.plans.style_study import Studied, style_study
from flenwheel_core.plans.subjects import plan_of, usable_recipe
from flenwheel_core.records.provenance import Provenance
from flenwheel_core.reports.study_page import refuse_others_page, write_study_page
from flenwheel_core.requests.style_study import StyleStudyRequest, StyleStudyResult
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import STYLE_STUDY
from flenwheel_core.store import Store

console = plain_console()


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(compare_styles, name="compare-styles")


def compare_styles(
    style: str, *loras: str, strengths: str | None = None, recipe: str | None = None, page: Path | None = None
) -> None:
    """Draw a style's scenes with the bare base, with the style named in words, and with LoRAs at several strengths. Changes nothing.

    What was drawn before is reused. The studio shows the result with its grid, and asks for blind pairs.

    Parameters
    ----------
    style
        The style's name.
    loras
        First characters of digests of LoRAs, of any base: those of a sweep, for example. The champion if none is named.
    strengths
        Strengths, by commas, such as 0.4,0.7,1.0; the recipe's own for one LoRA, 1.0 for several.
    recipe
        Recipe with the scenes and the words; the style's own if not given.
    page
        A folder for a page for readers, which is made if it is not there: index.html with everything in it, and the grid as a picture.
        A study's page of before is replaced; another page is refused.
    """
    settings = Settings()
    if page is not None and page.exists() and not page.is_dir():
        raise InputError(f"{page} is no folder.", remedy="Name a folder for the page.")
    if page is not None:
        refuse_others_page(page)
    store = Store(settings.store_url, settings.store_options)
    library = Library(store)
    known = library.character(style)
    if known.kind != "style":
        raise InputError(f"{style} is a character, no style.", remedy="Compare bases: flenwheel compare-bases.")
    chosen = pin_recipe(usable_recipe(recipe or known.recipe, known.kind), settings, BENCHMARK_MODELS)
    pool = training_pool(library, style)
    against = plan_of(known.kind).measure(store, style, chosen)
    if against is None:
        raise InputError(f"{style} has no paintings to be measured against.", remedy="Run a turn of it first.")
    found = [_lora(store, id_) for id_ in loras] or [_champion(library, style)]
    usual = style_choices(chosen).strengths if len(found) == 1 else (1.0,)
    tried = [Studied(lora, _strengths(strengths) or usual) for lora in found]
    only = found[0] if len(found) == 1 else None
    request = style_study(known.ref(), chosen, store, tried, against, pool.fingerprint, chosen=only)
    with progress_sink() as sink:
        result = run_in_child(STYLE_STUDY, request, settings, sink)
    studies = Studies(store)
    studies.add(style, " and ".join(lora.name for lora in found), request)
    _print(result, request, style, settings)
    if page is not None:
        made = next(line for line in studies.of(style) if line.request == request.key())
        written = write_study_page(page, store, made, result, studies.wins(made.request))
        console.print(f"Written to {written}.", markup=False)


def _print(result: StyleStudyResult, request: StyleStudyRequest, style: str, settings: Settings) -> None:
    for one in sorted(result.ways, key=lambda one: one.style.distance):
        content = "" if one.style.content is None else f", content {one.style.content:.0%}"
        gain = (
            ""
            if one.gain is None
            else f", {one.gain[0]:+.2f} on the named style ({one.gain[1]:+.2f} to {one.gain[2]:+.2f})"
        )
        rank = "" if one.csd is None else f", CSD rank {one.csd:.2f}"
        copies = f", {one.style.copied} repeat a painting" if one.style.copied else ""
        console.print(
            f"{one.way.name}: style distance {one.style.distance:.2f}{content}{gain}{rank}{copies}", markup=False
        )
    if result.photos is not None:
        photos = result.photos
        console.print(
            f"photographs: style distance {photos.distance:.2f} ({photos.low:.2f} to {photos.high:.2f}), given, not drawn"
        )
    if result.csd_own is not None and result.csd_own < KNOWN_FROM:
        console.print(
            f"CSD does not know this style (own paintings {result.csd_own:.2f}): its ranks mean nothing here."
        )
    if result.strength is not None:
        console.print(f"Default strength: {result.strength:g}.")
    services = load_services(settings)
    if services is not None and services.studio_url:
        console.print(f"{services.studio_url}/styles/{style}/{request.key()}")


def _strengths(text: str | None) -> tuple[float, ...]:
    """Raises InputError for what is no strength."""
    try:
        found = tuple(float(one) for one in text.split(",")) if text else ()
    except ValueError as error:
        raise InputError(
            f"--strengths {text} are no numbers.", remedy="Write them with commas: 0.4,0.7,1.0."
        ) from error
    if any(not 0 < one <= 2 for one in found):
        raise InputError(f"--strengths {text}: a strength lies above 0, up to 2.")
    return found


def _lora(store: Store, id_: str) -> LoraRecord:
    found = Provenance(store).find(id_)
    if not isinstance(found, LoraRecord) or found.target != "generator":
        raise InputError(f"{id_} is no LoRA that draws.", remedy="See the LoRAs page of the studio.")
    return found


def _champion(library: Library, style: str) -> LoraRecord:
    standing = library.champion(style)
    if standing is None:
        raise InputError(f"{style} has no champion yet.", remedy="Name LoRAs, or run a turn first.")
    return standing.lora
