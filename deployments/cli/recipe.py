"""Commands about recipes: show, check, diff."""

from cyclopts import App

from deployments.cli.terminal import plain_console
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.settings_sources import read_settings_text
from flenwheel_core.plans.recipe_check import recipe_notes, recipe_problems
from flenwheel_core.recipes.loading import (
    describe_fields,
    diff_recipes,
    find_recipe,
    list_recipes,
    load_recipe,
    unusable,
)

console = plain_console()


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    recipe = App(name="recipe", help="The choices of a run, as TOML files.")
    recipe.command(show)
    recipe.command(check)
    recipe.command(diff)
    app.command(recipe)


def show(name: str | None = None) -> None:
    """Print a recipe; without a name, list the recipes and every key with its default and meaning.

    Parameters
    ----------
    name
        A recipe's name, or the path of a .toml file.
    """
    if name is not None:
        console.print(read_settings_text(find_recipe(name)))
        return
    for known in list_recipes():
        console.print(f"{known}: {load_recipe(known).description}")
    console.print()
    for key, default, meaning in describe_fields():
        console.print(f"{key} = {default}\n    {meaning}")


def check(name: str) -> None:
    """Check a recipe: unknown and idle keys, wrong types, impossible values, models and LoRA files. Fetches nothing.

    Parameters
    ----------
    name
        A recipe's name, or the path of a .toml file.
    """
    recipe = load_recipe(name)
    problems = recipe_problems(recipe, Settings())
    if problems:
        raise unusable(str(find_recipe(name)), problems)
    for note in recipe_notes(recipe, Settings()):
        console.print(note)
    console.print(f"{recipe.name} is a usable recipe ({recipe.content_digest()[:12]}).")


def diff(first: str, second: str) -> int:
    """Show the choices in which two recipes differ; exits with 1 if there are any.

    Parameters
    ----------
    first
        A recipe's name or path.
    second
        Another one.
    """
    lines = diff_recipes(load_recipe(first), load_recipe(second))
    console.print("\n".join(lines) if lines else "The recipes make the same choices.")
    return 1 if lines else 0
