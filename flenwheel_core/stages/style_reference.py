"""What a style's pictures are held against, read from the store: held-out paintings, and those that were trained on."""

from collections.abc import Sequence

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import Digest
from flenwheel_core.evaluation.style_card import Reference
from flenwheel_core.evaluation.style_distance import Style
from flenwheel_core.images.quality import measure
from flenwheel_core.images.style_features import StyleFeatures, style_features
from flenwheel_core.requests.benchmark import StyleMeasure
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.store.pictures import load_picture


def style_reference(against: StyleMeasure | None, context: StageContext) -> Reference:
    """The paintings, measured. Raises InputError where a request names none."""
    if against is None:
        raise InputError(
            "A style cannot be measured without paintings.",
            why="none were kept back when it was ingested.",
            remedy="Run a turn of the style first.",
        )
    trained = [record.digest for record in context.store.get_images(against.paintings)]
    return Reference(
        style=Style(features_in([record.digest for record in context.store.get_images(against.held_out)], context)),
        paintings=tuple(trained),
        measures=tuple(measure(load_picture(context.store, digest)) for digest in trained),
    )


def features_in(pictures: Sequence[Digest], context: StageContext) -> list[StyleFeatures]:
    """The features of stored pictures, in order."""
    found = []
    for digest in pictures:
        context.check_stop()
        found.append(style_features(load_picture(context.store, digest)))
    return found
