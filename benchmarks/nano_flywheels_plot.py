"""Draws `docs/images/nano_flywheels.svg` from the result files: `python -m benchmarks.nano_flywheels_plot`."""

import json
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmarks.result_file import RESULTS

OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "nano_flywheels.svg"
PANELS = (
    ("corrections_per_100", "corrections per 100 edits"),
    ("pass_rate", "first-try pass rate"),
    ("identity", "identity (cosine)"),
    ("diversity", "diversity"),
)
COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e5bb5", "#b7791f", "#555555")
WIDTH, HEIGHT, LEFT, TOP, GAP = 250, 170, 44, 56, 50

Row = Mapping[str, str | int | float | bool | None]


def main() -> None:
    files = sorted(RESULTS.glob("nano_flywheels*.json"))
    rows: list[Row] = [row for file in files for row in json.loads(file.read_text())["rows"]]
    OUT.write_text(drawing([row for row in rows if "character" in row]))
    print(OUT)


def drawing(rows: Sequence[Row]) -> str:
    """One panel a figure, one line an arm: the mean over its characters in each turn."""
    arms = list(dict.fromkeys(str(row["arm"]) for row in rows))
    width = len(PANELS) * (WIDTH + GAP) + LEFT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 40}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for index, arm in enumerate(arms):
        x = LEFT + index * 190
        parts.append(f'<line x1="{x}" y1="14" x2="{x + 22}" y2="14" stroke="{COLOURS[index]}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 28}" y="18">{escape(arm.replace("_", " "))}</text>')
    for number, (figure, title) in enumerate(PANELS):
        parts += _panel(rows, arms, figure, title, LEFT + number * (WIDTH + GAP))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(rows: Sequence[Row], arms: Sequence[str], figure: str, title: str, left: int) -> list[str]:
    lines = {arm: means(rows, arm, figure) for arm in arms}
    values = [value for points in lines.values() for value in points.values()]
    turns = sorted({turn for points in lines.values() for turn in points})
    if not values:
        return []
    top = max(values) * 1.05 or 1.0

    def place(turn: int, value: float) -> str:
        share = (turn - turns[0]) / max(1, turns[-1] - turns[0])
        return f"{left + share * WIDTH:.1f},{TOP + HEIGHT * (1 - value / top):.1f}"

    parts = [f'<text x="{left}" y="{TOP - 12}" font-weight="bold">{escape(title)}</text>']
    for step in range(5):
        y = TOP + HEIGHT * (1 - step / 4)
        parts.append(f'<line x1="{left}" y1="{y}" x2="{left + WIDTH}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end" fill="#666">{top * step / 4:.3g}</text>')
    for turn in turns:
        x = place(turn, 0).split(",")[0]
        parts.append(f'<text x="{x}" y="{TOP + HEIGHT + 18}" text-anchor="middle" fill="#666">turn {turn}</text>')
    for index, points in enumerate(lines.values()):
        path = " ".join(place(turn, value) for turn, value in points.items())
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[index]}" stroke-width="2.5"/>')
        parts += [
            f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="3.5" fill="{COLOURS[index]}"/>'
            for point in path.split()
        ]
    return parts


def means(rows: Sequence[Row], arm: str, figure: str) -> dict[int, float]:
    """The mean of a figure over an arm's characters, by turn."""
    found: dict[int, list[float]] = {}
    for row in rows:
        value = row.get(figure)
        if row["arm"] == arm and value is not None:
            found.setdefault(int(row["turn"] or 0), []).append(float(value))
    return {turn: statistics.fmean(values) for turn, values in sorted(found.items())}


if __name__ == "__main__":
    main()
