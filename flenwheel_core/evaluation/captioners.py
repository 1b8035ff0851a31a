"""How well captions are said: against the captions that people wrote, and by what a caption must not say."""

import re
from collections import Counter
from collections.abc import Sequence

from flenwheel_core.base.statistics import sign_flip_test
from flenwheel_core.identity.captions import labels_in, names, permanent_traits
from flenwheel_core.requests.caption_compare import (
    CaptionComparison,
    CaptionScorecard,
    ComparedCaption,
    SaidCaption,
)

LABELS_MARGIN = 0.02
"""So much of the labels may be lost by a captioner whose words are nearer to what people write."""


def score_captions(items: Sequence[ComparedCaption], said: Sequence[str]) -> CaptionScorecard:
    """The scorecard of what a captioner said of each picture."""
    captions = tuple(_scored(item, caption) for item, caption in zip(items, said, strict=True))
    count, labels = len(captions), sum(one.labels for one in captions)
    return CaptionScorecard(
        captions=captions,
        words=sum(one.words for one in captions) / count,
        labels_right=sum(one.labels_right for one in captions) / labels if labels else None,
        named=sum(one.named for one in captions) / count,
        with_traits=sum(bool(one.traits) for one in captions) / count,
    )


def word_f1(said: str, wanted: str) -> float:
    """F1 of the words of one text against those of another, each counted as often as it stands there; 0 to 1."""
    first, second = (Counter(re.findall(r"[\w-]+", text.lower())) for text in (said, wanted))
    common = (first & second).total()
    return 2 * common / (first.total() + second.total()) if common else 0.0


def compare_captions(
    champion: CaptionScorecard, challenger: CaptionScorecard, significance: float
) -> CaptionComparison:
    """Promoted is what comes nearer to people's words, loses none of the labels, and says no more of what never changes."""
    pairs = list(zip(champion.captions, challenger.captions, strict=True))
    gain = challenger.words - champion.words
    p_value = sign_flip_test([new.words - old.words for old, new in pairs])
    reasons, promote = [], True
    words = f"words as people write them: {champion.words:.0%} -> {challenger.words:.0%} (p = {p_value:.2g})"
    if gain > 0 and p_value < significance:
        reasons.append(f"nearer to people's captions: {words}")
    else:
        promote = False
        reasons.append(f"not shown to be nearer to people's captions: {words}")
    if champion.labels_right is not None and challenger.labels_right is not None:
        labels = f"labels right: {champion.labels_right:.0%} -> {challenger.labels_right:.0%}"
        if challenger.labels_right < champion.labels_right - LABELS_MARGIN:
            promote = False
            reasons.append(f"it reads pictures worse: {labels}")
        else:
            reasons.append(labels)
    reasons.append(f"names the character: {champion.named:.0%} -> {challenger.named:.0%}")
    traits = f"captions that describe what never changes: {champion.with_traits:.0%} -> {challenger.with_traits:.0%}"
    if challenger.with_traits > champion.with_traits:
        promote = False
        reasons.append(f"it says more of what the trigger is to learn; {traits}")
    else:
        reasons.append(traits)
    return CaptionComparison(promote=promote, reasons=tuple(reasons), words_gain=gain, words_p_value=p_value)


def _scored(item: ComparedCaption, said: str) -> SaidCaption:
    wanted = {name: value for name, value in labels_in(item.caption).model_dump().items() if value is not None}
    read = labels_in(said).model_dump()
    return SaidCaption(
        image=item.image,
        said=said,
        words=word_f1(said, item.caption),
        labels_right=sum(read[name] == value for name, value in wanted.items()),
        labels=len(wanted),
        named=names(said, item.trigger),
        traits=permanent_traits(said),
    )
