"""Counts runs of equal lines between files: what was written twice.

Exact: only white space is folded. Lines without a word (blank, lone brackets), comments and imports are passed over, so a run goes on
across them. A run is as long as it can be; one that stands in three files counts for each of the three pairs.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

SHORTEST = 6
_IMPORT = re.compile(r"(from|import)\s")
_Line = tuple[int, str]
"""Its number, from 1, and its text."""


@dataclass(frozen=True)
class Repeat:
    """Equal lines of two files; numbers count from 1."""

    first: Path
    first_line: int
    second: Path
    second_line: int
    lines: int

    def told(self, root: Path) -> str:
        one, other = self.first.relative_to(root), self.second.relative_to(root)
        return f"{self.lines} lines: {one}:{self.first_line} {other}:{self.second_line}"


def repeated_runs(files: Sequence[Path], shortest: int = SHORTEST) -> list[Repeat]:
    """All runs of at least so many lines that two of these files share, the longest first."""
    lines = {path: counted_lines(path.read_text()) for path in files}
    places: dict[tuple[str, ...], list[tuple[Path, int]]] = defaultdict(list)
    for path, content in lines.items():
        for index in range(len(content) - shortest + 1):
            places[tuple(text for _, text in content[index : index + shortest])].append((path, index))
    # Starts that lie beside each other on one diagonal are one run.
    starts = {
        (first, second)
        for shared in places.values()
        for first, second in combinations(shared, 2)
        if first[0] != second[0]
    }
    found = []
    for (first, one), (second, other) in starts:
        if ((first, one - 1), (second, other - 1)) in starts:
            continue
        length = shortest
        while ((first, one + length - shortest + 1), (second, other + length - shortest + 1)) in starts:
            length += 1
        found.append(Repeat(first, lines[first][one][0], second, lines[second][other][0], length))
    return sorted(found, key=lambda run: (-run.lines, run.first, run.first_line, run.second, run.second_line))


def counted_lines(source: str) -> list[_Line]:
    """The lines that count, white space folded."""
    found = []
    inside = False  # an import over several lines
    for number, line in enumerate(source.splitlines(), 1):
        text = " ".join(line.split())
        if inside:
            inside = ")" not in text
        elif _IMPORT.match(text):
            inside = "(" in text and ")" not in text
        elif not text.startswith("#") and re.search(r"\w", text):
            found.append((number, text))
    return found
