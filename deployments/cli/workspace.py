"""Commands that work on the workspace without a server: init, ingest, gc, nano."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from deployments.cli.details import check_details
from deployments.cli.ingest_preview import preview
from deployments.cli.terminal import changes_of, human_size, plain_console, progress_sink
from deployments.studio.sessions import new_token
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.names import CHARACTER
from flenwheel_core.base.progress import hearing
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import KINDS_SAID
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.plans.cuts import cut_notes
from flenwheel_core.plans.ingest_request import pinned_ingest_request
from flenwheel_core.plans.scenes import photos_note
from flenwheel_core.plans.source_files import keep_files, sources_in
from flenwheel_core.plans.subjects import plan_of, usable_recipe
from flenwheel_core.recipes.loading import lasting_name
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import INGEST
from flenwheel_core.store import Store
from flenwheel_core.store.garbage import find_garbage, remove_garbage

console = plain_console()

EXAMPLES: dict[str, object] = {
    "store": "s3://bucket/prefix",
    "slot": "myhost:0",
    "vram_gib": 16.0,
    "threads": 4,
    "unsloth_python": "/opt/unsloth/bin/python",
    "studio_url": "https://studio.example",
    "prefect_url": "https://prefect.example",
    "publish_url": "s3://bucket/published",
    "server_url": "http://server:4200",
    "database_url": "postgresql://flenwheel:PASSWORD@db:5432/flenwheel",
    "redis_url": "redis://:PASSWORD@cache:6379/0",
    "runs_at_once": 2,
    "meeting_address": "10.0.0.7",
}
"""What the file of `flenwheel init` shows for settings that are unset."""


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    app.command(init)
    app.command(token)
    app.command(ingest)
    app.command(gc)
    nano = App(name="nano", help="The nano world: drawn characters with known truth.")
    nano.command(sheet)
    nano.command(weights)
    app.command(nano)


def init(folder: Path = Path()) -> None:
    """Make a folder ready for FLENwheel: writes a commented `flenwheel.toml`.

    Parameters
    ----------
    folder
        The folder to work in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "flenwheel.toml"
    if path.exists():
        console.print(f"{path} is there already; nothing was changed.")
        return
    lines = ["# Facts of this machine. Every line is optional; FLENWHEEL_NAME in the environment wins over it.", ""]
    for name, field in Settings.model_fields.items():
        value = field.get_default(call_default_factory=True)
        example = new_token() if name == "token" else EXAMPLES[name] if value is None else value
        lines += [f"# {field.description}", f"# {name} = {_toml(example)}", ""]
    # It may hold the token, and the store's keys.
    path.touch(mode=0o600)
    path.write_text("\n".join(lines))
    console.print(f"Wrote {path}. Next: flenwheel ingest NAME FOLDER, then flenwheel up.")


def token() -> None:
    """Print a new token: a secret for `FLENWHEEL_TOKEN` that nobody can guess. It is kept nowhere."""
    console.print(new_token(), markup=False)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | dict):
        return "[]" if isinstance(value, tuple) else "{}"
    return str(value) if isinstance(value, int | float) else json.dumps(str(value), ensure_ascii=False)


def ingest(
    character: str,
    folder: Path,
    *,
    trigger: str | None = None,
    class_word: str | None = None,
    kind: Annotated[str | None, Parameter(help=KINDS_SAID)] = None,
    recipe: str | None = None,
    dry_run: bool = False,
) -> int:
    """Add pictures of a character, or paintings of a style, and report which are usable and what is missing.

    A character that is there already keeps its trigger, class word, kind and recipe: only its name and the folder are needed.
    Until its first turn they can be changed, and pictures taken back: see `flenwheel character`.

    Parameters
    ----------
    character
        The character's name: lowercase letters, digits and dashes.
    folder
        A folder of pictures (PNG, JPEG, WebP), with captions beside them (`.txt`, `.caption`) or in a table
        (`metadata.jsonl`, `metadata.csv`, kohya's `meta.json`); or one picture.
    trigger
        The instance token that will mean this character in prompts; ohwx_char if not given, ohwx_style for a style.
    class_word
        What the character is: person, dog, robot ...; person if not given, style for a style.
    recipe
        The recipe its turns use by default; flux_character_24gb if not given, flux_style_24gb for a style.
    dry_run
        Only show which pictures would be taken, with which captions. Nothing is changed.
    """
    CHARACTER.check(character)
    check_details(trigger, class_word, kind)
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    library = Library(store)
    standing = library.character(character) if character in library.characters() else None
    kind = kind or (standing.kind if standing else "person")
    usual = plan_of(kind).new
    new = Character.model_validate(
        {
            "name": character,
            "trigger": trigger or (standing.trigger if standing else usual.trigger),
            "class_word": class_word or (standing.class_word if standing else usual.class_word),
            "kind": kind,
            "recipe": (lasting_name(recipe) if recipe else None) or (standing.recipe if standing else usual.recipe),
        }
    )
    choices = usable_recipe(new.recipe, new.kind)
    found = sources_in(folder)
    if dry_run:
        for line in preview(found, new.ref(), choices):
            console.print(f"  {line}")
        return 0
    kept = keep_files(store, found)
    if not kept.files:
        _print_notes(kept.notes)
        raise InputError(f"{folder} holds no pictures that can be read.", remedy="Give a folder with 10 to 20 of them.")
    if standing is None:
        library.create_character(new)
    else:
        library.change_character(new)
    library.add_sources(character, kept.files)
    with hearing(lambda line: console.print(f"  {line}")):
        request = pinned_ingest_request(new, library.sources(character), choices, settings)
    with progress_sink() as sink:
        result = run_in_child(INGEST, request, settings, sink)
    if standing is not None and standing != new:
        console.print(f"  {character} was changed: {changes_of(standing, new)}.")
    _print_notes(kept.notes)
    for problem in result.problems:
        mark = "left out" if problem.dropped else "kept, but"
        console.print(f"  {problem.file}: {mark}: {problem.message}")
    if photos := plan_of(new.kind).photos(store.get_images(result.sources)):
        console.print(f"  {photos_note(photos)}")
    _print_notes(cut_notes(store.get_images(result.sources), choices.train))
    console.print(Text.assemble((character, "bold"), f": {result.summary()}."))
    if result.missing:
        console.print("A turn cannot start yet. Missing:\n  " + "\n  ".join(result.missing))
        return 1
    console.print(f"Next: flenwheel up, then flenwheel run {character}.")
    return 0


def _print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        console.print(f"  {note}")


def gc(*, yes: Annotated[bool, Parameter(help="remove without asking")] = False) -> None:
    """Remove what nothing references: orphaned files, unfinished writes, checkpoints of training that is over or given up."""
    settings = Settings()
    garbage = find_garbage(settings)
    if not garbage.files and not garbage.folders:
        console.print("Nothing to remove: everything in the store is referenced.")
        return
    for path in garbage.files:
        console.print(f"  {path}")
    for folder in garbage.folders:
        console.print(f"  {folder}")
    console.print(f"{len(garbage.files) + len(garbage.folders)} things, {human_size(garbage.size_bytes)}.")
    if yes or console.input("Remove them? [y/N] ", markup=False).strip().lower() == "y":
        remove_garbage(settings, garbage)
        console.print("Removed.")


def sheet(seed: int = 1_000_003, *, out: Path | None = None) -> None:
    """Draw a contact sheet of a nano character: every cell of the model card.

    Parameters
    ----------
    seed
        The character; seeds from 1000000 on were never used for training.
    out
        Where to write the PNG.
    """
    from flenwheel_core.nano.sheets import character_sheet

    path = out or Path(f"nano-{seed}.png")
    character_sheet(seed).save(path)
    console.print(str(path))


def weights() -> None:
    """Print the folders of the shipped models, in the form that diffusers and transformers open; packed ones are unpacked first."""
    from typing import get_args

    from flenwheel_core.models.embedded import NanoPart, is_shipped_here, weights_folder

    for part in get_args(NanoPart):
        if is_shipped_here(part):
            console.print(f"{part}: {weights_folder(part)}", markup=False, soft_wrap=True)
