"""What commands take as details of a character."""

from typing import get_args

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.names import CLASS_WORD, TRIGGER
from flenwheel_core.documents.characters import SubjectKind


def check_details(trigger: str | None, class_word: str | None, kind: str | None) -> None:
    """Raises InputError for one that cannot be; None is a detail that was not given."""
    if trigger is not None:
        TRIGGER.check(trigger)
    if class_word is not None:
        CLASS_WORD.check(class_word)
    if kind is not None and kind not in get_args(SubjectKind):
        raise InputError(f"--kind is {', '.join(get_args(SubjectKind))}; not {kind!r}.")
