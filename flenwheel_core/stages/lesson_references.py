"""The further pictures of lessons, as far as an editor takes them: lessons may come from an editor that took more."""

from collections.abc import Sequence

from flenwheel_core.base.ids import Digest
from flenwheel_core.models.references import ModelRole, resolve_model
from flenwheel_core.models.registry import most_pictures
from flenwheel_core.runner.stage import StageContext


def references_taken(
    editor: str, references: Sequence[tuple[Digest, ...]], context: StageContext
) -> list[tuple[Digest, ...]]:
    """The references of each lesson that the editor can be given, the first ones; the log says if some are left out.

    Raises InputError for a model that no family knows.
    """
    longest = max(map(len, references), default=0)
    if longest == 0:
        return list(references)
    most = most_pictures(resolve_model(editor, ModelRole.EDITOR, context.settings)) - 1
    cut = sum(len(given) > most for given in references)
    if cut:
        context.progress.note(
            f"{cut} lessons have more references than this editor takes beside the source ({most}): the rest is left out"
        )
    return [given[:most] for given in references]
