"""The rule for editors: the present one against the new one on the same held-out edits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flenwheel_core.base.statistics import sign_flip_test
from flenwheel_core.evaluation.promotion.rule import Part, promotes, reasons
from flenwheel_core.requests.edit_compare import (
    REPEAT,
    EditCompareRequest,
    EditorComparison,
    EditorScorecard,
    WornTogether,
)


@dataclass(frozen=True)
class Margins:
    """What the rule lets pass, unless the recipe says another (`editor.significance`, `identity_margin`, `kept_margin_db`)."""

    significance: float = 0.05
    """A gain is believed with p below this."""
    identity: float = 0.02
    """The mean identity may fall by this much, as it does between two runs of the same editor."""
    kept_db: float = 0.5
    """Outside of the edits the mean PSNR may fall by this much."""


_DEFAULT = Margins()


def margins_of(request: EditCompareRequest) -> Margins:
    """The margins of a request; what it leaves open is the rule's own."""
    asked = {
        "significance": request.significance,
        "identity": request.identity_margin,
        "kept_db": request.kept_margin_db,
    }
    return replace(_DEFAULT, **{name: value for name, value in asked.items() if value is not None})


def compare_editors(
    champion: EditorScorecard, challenger: EditorScorecard, margins: Margins = _DEFAULT
) -> EditorComparison:
    """The promotion rule: not worse on anything, and better on edits passed or on nearness to what corrections wanted.

    Held-out corrections are edits that the old editor failed, so any other editor looks nearer to them, by regression to the mean:
    nearness counts only if no fewer edits are passed, not even by chance.

    Without a gain that is believed (`Margins.significance`) the present editor stays. Edits that were made several times count once
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
    surely = nearness_gain is not None and p_near < margins.significance
    nearer, farther = (surely and (nearness_gain or 0) * sign > 0 for sign in (1, -1))
    better = nearer or (pass_gain > 0 and p_pass < margins.significance)
    figures = f"passed edits {champion.pass_rate:.0%} before, {challenger.pass_rate:.0%} now (p = {p_pass:.3f})"
    if nearness_gain is not None:
        figures += f", {nearness_gain:+.1f} levels nearer to {len(leanings)} corrections (p = {p_near:.3f})"
    parts = [
        Part(better, f"{'A' if better else 'No'} gain that chance would not explain: {figures}."),
        Part(pass_gain >= 0, "It does not pass fewer edits." if pass_gain >= 0 else "It passes fewer edits."),
    ]
    if farther:
        parts.append(Part(False, "It is farther from what corrections wanted."))
    if identity_gain is not None:
        kept = identity_gain >= -margins.identity
        parts.append(Part(kept, f"Identity changed by {identity_gain:+.3f}; down to {-margins.identity} is fine."))
    if psnr_gain is not None:
        kept = psnr_gain >= -margins.kept_db
        parts.append(
            Part(kept, f"Outside of the edits PSNR changed by {psnr_gain:+.2f} dB; down to {-margins.kept_db} is fine.")
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


def may_be_worn_together(
    alone: EditorScorecard, together: EditorScorecard, margins: Margins = _DEFAULT
) -> WornTogether:
    """Whether the editor's LoRA and the character's, on one model, may be worn at once: where nothing is shown to be worse by it."""
    pairs = list(zip(alone.edits, together.edits, strict=True))
    p_pass = sign_flip_test(_by_edit([(a.key, float(b.passed) - float(a.passed)) for a, b in pairs]))
    fewer = together.pass_rate < alone.pass_rate and p_pass < margins.significance
    parts = [
        Part(
            not fewer,
            f"Passed edits {alone.pass_rate:.0%} with the editor's LoRA alone, {together.pass_rate:.0%} with the "
            f"character's beside it (p = {p_pass:.3f}).",
        )
    ]
    for name, limit, unit, before, now in (
        ("Identity", margins.identity, "", alone.identity, together.identity),
        ("Outside of the edits PSNR", margins.kept_db, " dB", alone.kept_psnr_db, together.kept_psnr_db),
    ):
        gain = _gain(before, now)
        if gain is not None:
            parts.append(Part(gain >= -limit, f"{name} changed by {gain:+.3f}{unit}; down to {-limit} is fine."))
    return WornTogether(allowed=promotes(parts), reasons=reasons(parts), alone=alone, together=together)


def _by_edit(gains: Sequence[tuple[str, float]]) -> list[float]:
    """The mean gain of each held-out edit over its repeats."""
    found: dict[str, list[float]] = {}
    for key, gain in gains:
        found.setdefault(key.partition(REPEAT)[0], []).append(gain)
    return [sum(values) / len(values) for values in found.values()]


def _gain(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before
