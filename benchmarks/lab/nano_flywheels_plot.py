"""Draws `docs/images/nano_flywheels.svg`, three turns in the easier world: `python -m benchmarks.lab.nano_flywheels_plot`."""

import json
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmarks.result_file import RESULTS

OUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "nano_flywheels.svg"
MAIN, EDITOR = "both_flywheels", "editor_only"
PANELS = (("pass_rate", "first-try pass rate"), ("identity", "identity (cosine)"), ("diversity", "diversity"))
COLOURS = ("#1b6ca8", "#999999", "#c0392b", "#2e8b57", "#8e5bb5", "#b7791f", "#0aa5a5")
WIDTH, HEIGHT, LEFT, TOP, GAP = 250, 170, 44, 62, 50

Row = Mapping[str, str | int | float | bool | None]
Points = dict[int, float]


def main() -> None:
    files = [RESULTS / f"nano_flywheels_{part}.json" for part in ("world1", "editor")]
    rows: list[Row] = [row for file in files for row in json.loads(file.read_text())["rows"]]
    OUT.write_text(drawing([row for row in rows if "character" in row]))
    print(OUT)


def drawing(rows: Sequence[Row]) -> str:
    """Corrections by turn, of all characters; then a panel a figure, one line an arm: the mean over the characters that all arms share."""
    arms = sorted({str(row["arm"]) for row in rows} - {EDITOR}, key=lambda arm: (arm != MAIN, arm))
    shared = set.intersection(*({str(row["character"]) for row in rows if row["arm"] == arm} for arm in arms))
    names = [MAIN, "bare_editor", *arms[1:]]
    colours = dict(zip(names, COLOURS, strict=False))
    everybody = len({row["character"] for row in rows if row["arm"] == MAIN})
    corrections = {MAIN: means(rows, MAIN, "corrections_per_100"), "bare_editor": bare(rows)}
    width = (len(PANELS) + 1) * (WIDTH + GAP) + LEFT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 40}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for index, name in enumerate(names):
        x = LEFT + index * (width - LEFT) // len(names)
        parts.append(f'<line x1="{x}" y1="14" x2="{x + 22}" y2="14" stroke="{colours[name]}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 28}" y="18">{escape(name.replace("_", " "))}</text>')
    parts += _panel(corrections, f"corrections per 100 edits ({everybody} characters)", LEFT, 0.0, colours)
    few = [row for row in rows if row["character"] in shared]
    for number, (figure, title) in enumerate(PANELS, start=1):
        lines = {arm: means(few, arm, figure) for arm in arms}
        lowest = min((value for points in lines.values() for value in points.values()), default=0.0)
        left = LEFT + number * (WIDTH + GAP)
        parts += _panel(lines, f"{title} ({len(shared)} characters)", left, 0.9 * lowest, colours)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(lines: Mapping[str, Points], title: str, left: int, bottom: float, colours: Mapping[str, str]) -> list[str]:
    values = [value for points in lines.values() for value in points.values()]
    turns = sorted({turn for points in lines.values() for turn in points})
    if not values:
        return []
    top = bottom + (max(values) - bottom) * 1.05 or 1.0

    def place(turn: int, value: float) -> str:
        share = (turn - turns[0]) / max(1, turns[-1] - turns[0])
        return f"{left + share * WIDTH:.1f},{TOP + HEIGHT * (1 - (value - bottom) / (top - bottom)):.1f}"

    parts = [f'<text x="{left}" y="{TOP - 12}" font-weight="bold">{escape(title)}</text>']
    for step in range(5):
        y = TOP + HEIGHT * (1 - step / 4)
        text = f"{bottom + (top - bottom) * step / 4:.3g}"
        parts.append(f'<line x1="{left}" y1="{y}" x2="{left + WIDTH}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end" fill="#666">{text}</text>')
    for turn in turns:
        x = place(turn, bottom).split(",")[0]
        parts.append(f'<text x="{x}" y="{TOP + HEIGHT + 18}" text-anchor="middle" fill="#666">turn {turn}</text>')
    for name, points in lines.items():
        path = " ".join(place(turn, value) for turn, value in points.items())
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="2.5"/>')
        parts += [
            f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="3.5" fill="{colours[name]}"/>'
            for point in path.split()
        ]
    return parts


def means(rows: Sequence[Row], arm: str, figure: str) -> Points:
    """The mean of a figure over an arm's characters, by turn."""
    found: dict[int, list[float]] = {}
    for row in rows:
        value = row.get(figure)
        if row["arm"] == arm and value is not None:
            found.setdefault(int(row["turn"] or 0), []).append(float(value))
    return {turn: statistics.fmean(values) for turn, values in sorted(found.items())}


def bare(rows: Sequence[Row]) -> Points:
    """Corrections of the same edits by the editor without its LoRA; before the first LoRA there is no other."""
    return means(rows, EDITOR, "corrections_per_100") | means(rows, EDITOR, "corrections_per_100_bare")


if __name__ == "__main__":
    main()
