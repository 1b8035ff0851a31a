"""The benchmark as a page a person reads: markdown for the artifact and the exported model card."""

from collections.abc import Callable, Sequence

from flenwheel_core.base.ids import short
from flenwheel_core.documents.scores import CellScore, Comparison, Scorecard, StyleScore
from flenwheel_core.evaluation.grid import cells_of
from flenwheel_core.requests.benchmark import BenchmarkResult


def benchmark_markdown(result: BenchmarkResult) -> str:
    """Verdict, figures side by side, and one line a cell."""
    parts = ["## Model card benchmark", ""]
    if result.comparison is not None:
        parts += [*_verdict(result.comparison), ""]
    cards = {"challenger": result.challenger} | ({"champion": result.champion} if result.champion else {})
    parts += [*_figures(cards), "", *_cells(cards)]
    return "\n".join(parts) + "\n"


def _verdict(comparison: Comparison) -> list[str]:
    lines = [f"**{'Promote the challenger' if comparison.promote else 'Keep the champion'}.**", ""]
    if comparison.collapse_alarm:
        lines += [
            "> **Collapse alarm:** identity holds while diversity falls. Add real pictures before the next turn.",
            "",
        ]
    return lines + [f"* {reason}" for reason in comparison.reasons]


def _figures(cards: dict[str, Scorecard]) -> list[str]:
    def percent(value: float | None) -> str:
        return "not read" if value is None else f"{value:.0%}"

    def number(value: float | None) -> str:
        return "first turn" if value is None else f"{value:.3f}"

    styles = [card.style for card in cards.values() if card.style is not None]
    rows: list[tuple[str, list[str]]] = [
        ("LoRA", [short(card.lora) if card.lora else "none" for card in cards.values()]),
        (
            "first-try pass rate",
            [
                f"{card.pass_rate:.0%} ({card.pass_rate_low:.0%} to {card.pass_rate_high:.0%})"
                for card in cards.values()
            ],
        ),
        *(style_rows(styles) if styles else _of_character(cards, percent)),
        ("diversity, effective pictures", [f"{card.diversity:.1f}" for card in cards.values()]),
    ]
    if not styles:
        rows.append(("drift since turn 1", [number(card.drift) for card in cards.values()]))
        rows.append(("not measurable", [str(sum(not cell.measured for cell in card.cells)) for card in cards.values()]))
    if any(card.real_likeness is not None for card in cards.values()):
        texts = [
            card.real_likeness.text() if card.real_likeness is not None else "none kept back" for card in cards.values()
        ]
        rows.append(("likeness to real pictures", texts))
    if any(card.bleed is not None for card in cards.values()):
        texts = [card.bleed.text() if card.bleed is not None else "not drawn" for card in cards.values()]
        rows.append(("somebody else gets its face", texts))
    if any(card.prompt_fidelity is not None for card in cards.values()):
        rows.append(("prompt fidelity (CLIP-T)", [number(card.prompt_fidelity) for card in cards.values()]))
    head = f"| | {' | '.join(cards)} |"
    return [head, "|---" * (len(cards) + 1) + "|", *(f"| {name} | {' | '.join(values)} |" for name, values in rows)]


def _of_character(cards: dict[str, Scorecard], percent: Callable[[float | None], str]) -> list[tuple[str, list[str]]]:
    return [
        ("identity, mean", [f"{card.identity:.3f}" for card in cards.values()]),
        ("identity, 5 % quantile", [f"{card.identity_p05:.3f}" for card in cards.values()]),
        ("angle right", [percent(card.angle_rate) for card in cards.values()]),
        ("expression right", [percent(card.expression_rate) for card in cards.values()]),
        ("pose right", [percent(card.pose_rate) for card in cards.values()]),
    ]


def style_rows(styles: Sequence[StyleScore]) -> list[tuple[str, list[str]]]:
    """What is measured of style LoRAs: a name, and a text for each."""
    content = ["nobody could tell" if one.content is None else f"{one.content:.0%}" for one in styles]
    return [
        ("distance to held-out paintings", [f"{one.distance:.2f} ({one.low:.2f} to {one.high:.2f})" for one in styles]),
        ("farthest in", [", ".join(farthest(one)) for one in styles]),
        ("content kept", content),
        ("pictures that repeat a painting", [str(one.copied) for one in styles]),
    ]


def farthest(style: StyleScore, number: int = 3) -> list[str]:
    """The features in which pictures are farthest from the style."""
    order = sorted(style.parts, key=lambda name: -style.parts[name])[:number]
    return [f"{name.replace('_', ' ')} {style.parts[name]:.2f}" for name in order]


def _cells(cards: dict[str, Scorecard]) -> list[str]:
    lines = [f"| cell | {' | '.join(cards)} |", "|---" * (len(cards) + 1) + "|"]
    for cell in cells_of(cards["challenger"]):
        texts = [_cell([score for score in card.cells if score.cell == cell]) for card in cards.values()]
        lines.append(f"| {cell} | {' | '.join(texts)} |")
    return lines


def _cell(scores: Sequence[CellScore]) -> str:
    measured = [score for score in scores if score.measured]
    if not measured:
        return "not measurable"
    of_style = any(score.content is not None for score in measured)
    identities = [score.identity for score in measured if score.identity is not None and not of_style]
    mean = f", identity {sum(identities) / len(identities):.3f}" if identities else ""
    wrong = sorted(
        {
            name
            for score in measured
            for name, ok in (("angle", score.angle_ok), ("expression", score.expression_ok), ("pose", score.pose_ok))
            if ok is False
        }
        | {reason.code.replace("_", " ") for score in measured for reason in score.reasons}
    )
    why = f" ({', '.join(wrong)})" if wrong else ""
    return f"{sum(score.passed for score in measured)} of {len(measured)}{mean}{why}"
