"""How things look in a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from flenwheel_core.base.document import Document
from flenwheel_core.base.progress import ProgressEvent, Sink


def plain_console(*, stderr: bool = False) -> Console:
    """A console that prints names and messages as they are: brackets are no markup, `:word:` is no picture.

    What should stand out is a rich Text.
    """
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_sink() -> Iterator[Sink]:
    """A progress bar per stage on a terminal; plain lines elsewhere."""
    console = plain_console(stderr=True)
    if not console.is_terminal:
        yield lambda event: console.print(event.line())
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[line]}", markup=False),
        console=console,
    ) as bars:
        tasks: dict[str, int] = {}

        def show(event: ProgressEvent) -> None:
            if event.kind == "note":
                bars.console.print(event.line())
                return
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(event.stage, total=event.total or None, line="")
            line = event.line().removeprefix(f"{event.stage} · ")
            bars.update(tasks[event.stage], completed=event.done, total=event.total or None, line=line)  # type: ignore[arg-type]

        yield show


def changes_of(before: Document, after: Document) -> str:
    """What differs between two documents of one kind, in words."""
    new = after.model_dump(mode="json")
    changed = {key: value for key, value in before.model_dump(mode="json").items() if value != new[key]}
    return (
        ", ".join(f"{key.replace('_', ' ')} {value} is now {new[key]}" for key, value in changed.items()) or "no change"
    )


def human_size(size_bytes: int) -> str:
    """Bytes as KiB, MiB or GiB."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
