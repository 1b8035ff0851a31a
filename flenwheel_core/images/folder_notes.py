"""What is said about a folder: one line a matter, with the names of the files it concerns."""

from flenwheel_core.images.names import printable_path

MOST_NAMES = 5
"""A line that concerns more files names the first few and counts the rest."""


class FolderNotes:
    """Lines in the order in which their matter came up first."""

    def __init__(self) -> None:
        self._lines: list[str | tuple[str, list[str]]] = []
        self._about: dict[str, list[str]] = {}

    def say(self, line: str) -> None:
        """A line of its own."""
        self._lines.append(line)

    def about(self, name: str, message: str) -> None:
        """What is true of a file; files of which the same is true share a line."""
        names = self._about.get(message)
        if names is None:
            names = self._about[message] = []
            self._lines.append((message, names))
        names.append(name)

    def lines(self) -> tuple[str, ...]:
        """All that was said."""
        return tuple(line if isinstance(line, str) else f"{listed(line[1])}: {line[0]}" for line in self._lines)


def listed(names: list[str]) -> str:
    """The names in one line: `a.png, b.png and 7 more`."""
    shown = [printable_path(name) for name in names[:MOST_NAMES]]
    rest = len(names) - len(shown)
    return f"{', '.join(shown)} and {rest} more" if rest else ", ".join(shown)
