"""Commands about sets of paintings that a style is learned from."""

from pathlib import Path

from cyclopts import App

from deployments.cli.terminal import plain_console, progress_sink
from flenwheel_core.base.names import TRIGGER
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.datasets.choices import PaintingChoices, load_choices
from flenwheel_core.datasets.prepare import prepare, require_free
from flenwheel_core.datasets.select import select
from flenwheel_core.datasets.sources import open_paintings
from flenwheel_core.datasets.statistics import write_statistics

console = plain_console()


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    dataset = App(name="dataset", help="Sets of paintings that a style is learned from.")
    dataset.command(prepare_paintings, name="prepare")
    dataset.command(stats)
    app.command(dataset)


def prepare_paintings(
    source: str, *, to: Path, choices: Path | None = None, style: str | None = None, trigger: str = "ohwx_style"
) -> None:
    """Filter paintings, split them, and write the folder that `flenwheel ingest` takes. Every painting keeps the reason it was left out.

    Parameters
    ----------
    source
        A folder of pictures, a folder of Parquet files with the columns of huggan/wikiart, or hub-id@revision of such a data set.
    to
        The folder to write; one that was prepared before is written anew.
    choices
        A TOML file of choices: which artists, genres and sizes, how many, what is held out.
    style
        Only this style, by its name in the data; before the file's.
    trigger
        The word that the style will answer to.
    """
    chosen = load_choices(choices) if choices is not None else PaintingChoices()
    chosen = chosen.model_copy(update={"style": style}) if style is not None else chosen
    word = TRIGGER.check(trigger)
    require_free(to)
    opened = open_paintings(source, Settings())
    with progress_sink() as sink:
        looking, writing = Progress("look", sink), Progress("write", sink)
        selection = select(opened, chosen, progress=lambda done, of: looking.step(done, of, "pictures"))
        for name, left_out, left in selection.counts():
            console.print(f"{name}: {left_out} left out, {left} left")
        facts = prepare(
            opened, selection, chosen, to, trigger=word, progress=lambda done, of: writing.step(done, of, "pictures")
        )
    parts = facts.parts
    console.print(
        f"{parts['train']} paintings to train on in {to / 'train'}; held out: {parts['held_out_painting']} paintings, "
        f"{parts['held_out_artist']} of other artists. See it: flenwheel dataset stats {to}."
    )


def stats(folder: Path) -> None:
    """Write what a prepared set looks like: a Parquet table, plots, and a page.

    Parameters
    ----------
    folder
        What `flenwheel dataset prepare` wrote.
    """
    for path in write_statistics(folder):
        console.print(str(path))
