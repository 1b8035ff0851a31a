"""What screening and ingest ask of a subject by its kind: a character must be itself, a style must be painted alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flenwheel_core.datasets.captions import manner_words
from flenwheel_core.documents.characters import SubjectKind
from flenwheel_core.documents.scores import ReasonCode, ScreenOutcome
from flenwheel_core.identity.captions import permanent_traits


@dataclass(frozen=True)
class SubjectRules:
    """What differs between kinds of subjects where pictures are looked at."""

    alike: ReasonCode
    borderline: ReasonCode
    unlike: ReasonCode
    unlike_outcome: ScreenOutcome
    """What becomes of a picture that is unlike the subject. One picture says little of a style, so a person looks."""
    labels_may_fail: bool
    """At a strict gate another expression than was asked for fails; a reader errs about what is painted loosely."""
    learned_words: Callable[[str], tuple[str, ...]]
    """Words of a caption for what the trigger is to learn: named there, it is left to the words."""
    learned: str
    """What these words describe."""
    has_angles: bool
    """Its sources must show several sides."""
    sharp: bool
    """Softness is a fault of a source, not its manner."""
    mirrored_is_copy: bool
    """A mirrored copy of a source teaches nothing new."""
    whole_captions: bool
    """What a captioner says of a source is its caption, not only its angle, expression and the like."""
    odd_source: str
    """What is said of a source that is unlike the others."""


CHARACTER_RULES = SubjectRules(
    alike="identity_ok",
    borderline="borderline_identity",
    unlike="wrong_identity",
    unlike_outcome="fail",
    labels_may_fail=True,
    learned_words=permanent_traits,
    learned="what never changes",
    has_angles=True,
    sharp=True,
    mirrored_is_copy=True,
    whole_captions=False,
    odd_source="It may show somebody else",
)
STYLE_RULES = SubjectRules(
    alike="style_ok",
    borderline="borderline_style",
    unlike="wrong_style",
    unlike_outcome="unsure",
    labels_may_fail=False,
    learned_words=manner_words,
    learned="how it is painted",
    has_angles=False,
    sharp=False,
    mirrored_is_copy=False,
    whole_captions=True,
    odd_source="It may be painted otherwise",
)
_RULES: Mapping[str, SubjectRules] = {"person": CHARACTER_RULES, "subject": CHARACTER_RULES, "style": STYLE_RULES}


def rules_of(kind: SubjectKind | str) -> SubjectRules:
    """The rules of a kind of subject; of one that an older version wrote down those of a character."""
    return _RULES.get(kind, CHARACTER_RULES)
