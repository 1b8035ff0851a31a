"""The commands `flenwheel character`: look at a character and put right what was given wrongly, before its first turn."""

from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from deployments.cli.details import check_details
from deployments.cli.terminal import changes_of, plain_console
from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.ids import short
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import KINDS_SAID, Consent
from flenwheel_core.images.names import printable_path
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.plans.subjects import usable_recipe
from flenwheel_core.recipes.loading import lasting_name
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.store import Store

console = plain_console()

character = App(
    name="character", help="Look at a character, and put right what was given wrongly before its first turn."
)


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    app.command(character)


@character.command
def show(name: str) -> None:
    """Show a character and the pictures that were given for it."""
    library = _library()
    found = library.character(name)
    facts = f": trigger {found.trigger}, class word {found.class_word}, kind {found.kind}, recipe {found.recipe}"
    console.print(Text.assemble((name, "bold"), facts))
    consent = library.consent(name)
    if consent is not None:
        console.print(consent.text())
    elif found.kind == "person":
        console.print(
            f"Nobody said whose face it is: flenwheel character consent {name} --whose NAME --vouched-by YOU."
        )
    for file in library.sources(name):
        mask = "  (with a mask)" if file.mask else ""
        console.print(f"  {short(file.digest)}  {printable_path(file.name)}{mask}  {file.caption or ''}".rstrip())


@character.command
def change(
    name: str,
    *,
    trigger: str | None = None,
    class_word: str | None = None,
    kind: Annotated[str | None, Parameter(help=KINDS_SAID)] = None,
    recipe: str | None = None,
) -> None:
    """Change a character that has had no turn. What is not named stays."""
    library = _library()
    standing = library.character(name)
    check_details(trigger, class_word, kind)
    given = {
        "trigger": trigger,
        "class_word": class_word,
        "kind": kind,
        "recipe": lasting_name(recipe) if recipe else None,
    }
    new = Character.model_validate(
        standing.model_dump() | {key: value for key, value in given.items() if value is not None}
    )
    if new.recipe != standing.recipe or new.kind != standing.kind:
        usable_recipe(new.recipe, new.kind)
    library.change_character(new)
    console.print(f"{name}: {changes_of(standing, new)}.")


@character.command
def consent(name: str, *, whose: str, vouched_by: str) -> None:
    """Say whose face a character has, and who vouches that it may be used. It is kept with every LoRA and shown on its card.

    Parameters
    ----------
    name
        The character's name.
    whose
        The person's name, "my own", or that it is an invented person.
    vouched_by
        Who vouches that this person, or whoever may speak for them, agreed.
    """
    if not 1 <= len(whose.strip()) <= 200 or not 1 <= len(vouched_by.strip()) <= 60:
        raise InputError("Whose face it is takes 1 to 200 characters, who vouches 1 to 60.")
    said = Consent(whose=whose.strip(), vouched_by=vouched_by.strip())
    _library().give_consent(name, said)
    console.print(f"{name}: {said.text()}")


@character.command(name="take-back")
def take_back(name: str, *files: str) -> None:
    """Take back pictures that were given, unless they are in the training pool.

    Parameters
    ----------
    name
        The character's name.
    files
        Names of files as `flenwheel character show` gives them, or beginnings of their digests.
    """
    library = _library()
    library.character(name)
    given = library.sources(name)
    if not files:
        raise InputError("No picture is named.", remedy=f"See: flenwheel character show {name}.")
    digests = tuple(dict.fromkeys(digest for file in files for digest in _found(name, given, file)))
    library.take_back(name, digests)
    console.print(f"{name}: {len(digests)} taken back, {len(library.sources(name))} left.")


@character.command
def remove(name: str) -> None:
    """Remove a character that has had no turn, with its pictures. The name is free again."""
    library = _library()
    library.remove_character(name)
    console.print(f"{name} was removed.")


def _found(name: str, given: tuple[SourceFile, ...], wanted: str) -> tuple[str, ...]:
    """The digests a person means: of an exact name, of a name as it is shown, or by their beginning."""
    for matches in (
        {file.digest for file in given if file.name == wanted},
        {file.digest for file in given if printable_path(file.name) == wanted},
        {file.digest for file in given if len(wanted) >= 4 and file.digest.startswith(wanted)},
    ):
        if matches:
            return tuple(sorted(matches))
    raise NotFoundError(
        f"{name} has no picture {printable_path(wanted)}.", remedy=f"See: flenwheel character show {name}."
    )


def _library() -> Library:
    settings = Settings()
    return Library(Store(settings.store_url, settings.store_options))
