"""Draws `docs/images/injection.svg`, the curves over the strength, from the result file: `python -m benchmarks.lab.injection_plot`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.result_file import RESULTS

OUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "injection.svg"
PANELS = (("identity", "identity, cosine to held-out photos"), ("prompt_kept", "share of the prompt that is there"))
LINES = (
    ("choice_flow", "injection", "#c0392b", ""),
    ("shuffled_choice_flow", "another's photos", "#c0392b", "4 3"),
    ("choice_regression", "captions alone", "#1b6ca8", ""),
    ("shuffled_choice_regression", "another's, captions alone", "#1b6ca8", "4 3"),
)
WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 190, 46, 56, 60

Row = Mapping[str, str | int | float | bool | None]


def main() -> None:
    OUT.write_text(drawing(json.loads((RESULTS / "injection.json").read_text())["rows"]))
    print(OUT)


def drawing(rows: Sequence[Row]) -> str:
    """A panel a figure, of unknown characters; every line begins at alpha 0, which is the same for a head and its control."""
    table = {str(row["case"]): row for row in rows}
    alphas = sorted({float(str(row["alpha"])) for row in rows if row.get("method") == "injection"})
    width = len(PANELS) * (WIDTH + GAP) + LEFT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 36}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for index, (_, name, colour, dash) in enumerate(LINES):
        x = LEFT + index * (width - LEFT) // len(LINES)
        parts.append(
            f'<line x1="{x}" y1="14" x2="{x + 20}" y2="14" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
        )
        parts.append(f'<text x="{x + 25}" y="18">{name}</text>')
    for number, (figure, title) in enumerate(PANELS):
        left = LEFT + number * (WIDTH + GAP)
        parts += _panel(table, alphas, figure, title, left)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(table: Mapping[str, Row], alphas: Sequence[float], figure: str, title: str, left: int) -> list[str]:
    found: dict[str, list[tuple[float, float]]] = {}
    for case, *_ in LINES:
        start = "choice_flow_0" if case.endswith("flow") else "choice_regression_0"
        points = [(alpha, table.get(f"{case}_{alpha:g}" if alpha else start, {}).get(figure)) for alpha in alphas]
        found[case] = [(alpha, float(value)) for alpha, value in points if isinstance(value, int | float)]
    values = [value for points in found.values() for _, value in points]
    low, high = min([0.0, *values]), max([1.0, *values])

    def place(alpha: float, value: float) -> tuple[float, float]:
        return left + WIDTH * alpha / max(alphas), TOP + HEIGHT * (1 - (value - low) / (high - low))

    parts = [f'<text x="{left}" y="{TOP - 12}" font-weight="bold">{title}</text>']
    for step in range(5):
        value = low + (high - low) * step / 4
        y = place(0, value)[1]
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + WIDTH}" y2="{y:.1f}" stroke="#e4e4e0"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="10">{value:.2g}</text>')
    for alpha in alphas:
        parts.append(
            f'<text x="{place(alpha, low)[0]:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{alpha:g}</text>'
        )
    for case, _, colour, dash in LINES:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in found[case]))
        if line:
            parts.append(
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
            )
    return [*parts, f'<text x="{left + WIDTH}" y="{TOP + HEIGHT + 30}" text-anchor="end" font-size="10">alpha</text>']


if __name__ == "__main__":
    main()
