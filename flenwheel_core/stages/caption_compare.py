"""The stage `caption_compare`: the present captioner and the new one describe the same held-out pictures."""

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.evaluation.captioners import compare_captions, score_captions
from flenwheel_core.models.registry import open_captioner
from flenwheel_core.requests.caption_compare import CaptionCompareRequest, CaptionCompareResult, CaptionScorecard
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.picture_making import lora_files
from flenwheel_core.store.pictures import load_picture


def caption_compare(request: CaptionCompareRequest, context: StageContext) -> CaptionCompareResult:
    """Both captioners on every picture, one after the other. Raises InputError without pictures."""
    if not request.items:
        raise InputError("There are no held-out captions to compare on.", remedy="Review more pictures first.")
    champion = _scored(request, request.champion, "the present captioner", context)
    challenger = _scored(request, request.challenger, "the new captioner", context)
    return CaptionCompareResult(
        champion=champion,
        challenger=challenger,
        comparison=compare_captions(champion, challenger, request.significance),
    )


def _scored(
    request: CaptionCompareRequest, loras: tuple[LoraUse, ...], who: str, context: StageContext
) -> CaptionScorecard:
    said: list[str] = []
    context.progress.loading(f"{who} {request.captioner}")
    setup = context.setup(lora_files(loras, context))
    with open_captioner(request.captioner, context.settings, setup) as captioner:
        for item in request.items:
            context.check_stop()
            said += captioner.caption([load_picture(context.store, item.image)])
            context.progress.step(len(said), len(request.items), f"pictures described by {who}")
    return score_captions(request.items, said)
