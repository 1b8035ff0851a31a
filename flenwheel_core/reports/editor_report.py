"""The report of a run of Flywheel 2."""

import io

from PIL import Image

from flenwheel_core.lessons.gather import Lessons
from flenwheel_core.reports.gate_page import picture_tag
from flenwheel_core.requests.edit_compare import EditCompareResult, EditorScorecard
from flenwheel_core.store import Store


def editor_report(store: Store, lessons: Lessons, score: EditCompareResult) -> str:
    """Lessons, both editors on the held-out edits, the decision with its reasons, and the pictures, as markdown."""
    decision = "promoted" if score.comparison.promote else "kept back"
    rows = [("present editor", score.champion), ("with the new LoRA", score.challenger)]
    both = score.together
    if both is not None:
        rows.append(("and the character's LoRA beside it", both.together))
    lines = [
        f"# Editor: the new LoRA is {decision}",
        "",
        lessons.summary() + ".",
        "",
        f"{len(score.challenger.edits)} held-out edits, the same seeds for both.",
        "",
        "| | passed | 95 % | identity | instruction followed | nearness (levels) | PSNR outside (dB) | SSIM outside |",
        "|---|---|---|---|---|---|---|---|",
        *[_row(name, card) for name, card in rows],
        "",
        "Nearness: by how much an edit is nearer to the right answer than to the one that was rejected, where it was corrected.",
        "",
        *[f"* {reason}" for reason in score.comparison.reasons],
        "",
    ]
    if both is not None:
        said = "may be worn together" if both.allowed else "should not be worn together"
        lines += [
            f"The character's LoRA is on the same model. On {len(both.together.edits)} edits, the two {said}:",
            "",
            *[f"* {reason}" for reason in both.reasons],
            "",
        ]
    with Image.open(io.BytesIO(store.get_blob(score.sheet))) as sheet:
        lines.append(picture_tag(sheet.convert("RGB"), "held-out edits"))
    return "\n".join(lines)


def _row(name: str, card: EditorScorecard) -> str:
    figures = [
        f"{card.pass_rate:.0%}",
        f"{card.pass_rate_low:.0%} to {card.pass_rate_high:.0%}",
        _figure(card.identity, ".3f"),
        _figure(card.followed_rate, ".0%"),
        _figure(card.nearness, "+.1f"),
        _figure(card.kept_psnr_db, ".1f"),
        _figure(card.kept_ssim, ".3f"),
    ]
    return f"| {name} | {' | '.join(figures)} |"


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
