"""The rule for editors: the present one against the new one on the same held-out edits."""

from collections.abc import Sequence

from flenwheel_core.base.statistics import sign_flip_test
from flenwheel_core.evaluation.promotion.rule import Part, promotes, reasons
from flenwheel_core.requests.edit_compare import REPEAT, EditorComparison, EditorScorecard

SIGNIFICANT = 0.05
IDENTITY_MARGIN = 0.02
"""The mean identity may fall by this much, as it does between two runs of the same editor."""
KEPT_MARGIN_DB = 0.5
"""Unless the recipe says another (`editor.kept_margin_db`)."""


def compare_editors(
    champion: EditorScorecard, challenger: EditorScorecard, kept_margin_db: float = KEPT_MARGIN_DB
) -> EditorComparison:
    """The promotion rule: not worse on anything, and better on edits passed or on nearness to what corrections wanted.

    Held-out corrections are edits that the old editor failed, so any other editor looks nearer to them, by regression to the mean:
    nearness counts only if no fewer edits are passed. Outside of the edits the mean PSNR may fall by `kept_margin_db`.

    A gain is believed with p below `SIGNIFICANT`; without one, the present editor stays. Edits that were made several times count once
    in the tests, by their mean: what one edit's repeats have in common is not evidence about another.
    """
    pairs = list(zip(champion.edits, challenger.edits, strict=True))
    passes = _by_edit([(a.key, float(b.passed) - float(a.passed)) for a, b in pairs])
    p_pass = sign_flip_test(passes)
    leanings = _by_edit(
        [(a.key, b.nearness - a.nearness) for a, b in pairs if a.nearness is not None and b.nearness is not None]
    )
    p_near = sign_flip_test(leanings)
    pass_gain = challenger.pass_rate - champion.pass_rate
    nearness_gain = sum(leanings) / len(leanings) if leanings else None
    identity_gain = _gain(champion.identity, challenger.identity)
    psnr_gain = _gain(champion.kept_psnr_db, challenger.kept_psnr_db)
    surely = nearness_gain is not None and p_near < SIGNIFICANT
    nearer, farther = (surely and (nearness_gain or 0) * sign > 0 for sign in (1, -1))
    better = (nearer and pass_gain >= 0) or (pass_gain > 0 and p_pass < SIGNIFICANT)
    figures = f"passed edits {champion.pass_rate:.0%} before, {challenger.pass_rate:.0%} now (p = {p_pass:.3f})"
    if nearness_gain is not None:
        figures += f", {nearness_gain:+.1f} levels nearer to {len(leanings)} corrections (p = {p_near:.3f})"
    parts = [
        Part(better, f"It is better: {figures}." if better else f"No gain that chance would not explain: {figures}."),
        Part(
            pass_gain >= 0 or p_pass >= SIGNIFICANT,
            "It does not pass fewer edits." if pass_gain >= 0 else "It passes fewer.",
        ),
    ]
    if farther:
        parts.append(Part(False, "It is farther from what corrections wanted."))
    if identity_gain is not None:
        kept = identity_gain >= -IDENTITY_MARGIN
        parts.append(Part(kept, f"Identity changed by {identity_gain:+.3f}; down to {-IDENTITY_MARGIN} is fine."))
    if psnr_gain is not None:
        kept = psnr_gain >= -kept_margin_db
        parts.append(
            Part(kept, f"Outside of the edits PSNR changed by {psnr_gain:+.2f} dB; down to {-kept_margin_db} is fine.")
        )
    return EditorComparison(
        promote=promotes(parts),
        reasons=reasons(parts),
        pass_rate_gain=round(pass_gain, 5),
        pass_rate_p_value=round(p_pass, 5),
        identity_gain=None if identity_gain is None else round(identity_gain, 5),
        nearness_gain=None if nearness_gain is None else round(nearness_gain, 4),
        nearness_p_value=round(p_near, 5),
    )


def _by_edit(gains: Sequence[tuple[str, float]]) -> list[float]:
    """The mean gain of each held-out edit over its repeats."""
    found: dict[str, list[float]] = {}
    for key, gain in gains:
        found.setdefault(key.partition(REPEAT)[0], []).append(gain)
    return [sum(values) / len(values) for values in found.values()]


def _gain(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before
