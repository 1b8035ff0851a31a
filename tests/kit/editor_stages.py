"""Stand-ins for the stages of Flywheel 2 that compute next to nothing; they run in the real worker process."""

from benchmarks.kit.turn_stages import NOBODY, picture
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.loras import LoraRecord, LossPoint
from flenwheel_core.evaluation.editors import edit_scorecard
from flenwheel_core.evaluation.promotion.editors import compare_editors, margins_of
from flenwheel_core.requests.edit_compare import EditCompareRequest, EditCompareResult, EditorScorecard, EditScore
from flenwheel_core.requests.edit_train import EditTrainRequest, EditTrainResult
from flenwheel_core.runner.stage import Stage, StageContext, register
from flenwheel_core.store.pictures import save_picture
from flenwheel_core.store.triplets import get_triplets


def edit_train(request: EditTrainRequest, context: StageContext) -> EditTrainResult:
    triplets = get_triplets(context.store, request.triplets).triplets
    lora = LoraRecord(
        digest=context.store.put_blob(f"editor {request.key()}".encode()),
        name=request.name,
        target="editor",
        base_model=request.editor,
        trigger=None,
        class_word=None,
        rank=4,
        alpha=4,
        steps=request.recipe.steps,
        images=len(triplets),
        dataset=request.triplets,
        request=request.key(),
    )
    return EditTrainResult(lora=lora, losses=(LossPoint(step=1, loss=0.1),))


def edit_compare(request: EditCompareRequest, context: StageContext) -> EditCompareResult:
    """The challenger is nearer to every right answer."""
    blank = ImageRecord(
        digest=NOBODY, width=1, height=1, kind=ImageKind.ENRICHED, stage="edit_compare", request=request.key(), item="a"
    )
    drawn = save_picture(context.store, picture(1), blank)

    def card(better: bool) -> EditorScorecard:
        edits = [
            EditScore(
                key=f"{number}-{item.key}",
                image=drawn.digest,
                passed=better,
                identity=0.9,
                identity_kept=True,
                followed=better,
                target_error=4.0 if better else 40.0,
                nearness=20.0 if better else -20.0,
                kept_psnr_db=None,
                kept_ssim=None,
            )
            for number in range(4)  # so few edits alone would be no evidence
            for item in request.items
        ]
        return edit_scorecard(request.challenger if better else request.champion, edits)

    champion, challenger = card(False), card(True)
    return EditCompareResult(
        champion=champion,
        challenger=challenger,
        comparison=compare_editors(champion, challenger, margins_of(request)),
        images=context.store.put_images([drawn]),
        sheet=drawn.digest,
    )


register(Stage(EditTrainRequest, EditTrainResult, "tests.kit.editor_stages:edit_train", uses_gpu=True))
register(Stage(EditCompareRequest, EditCompareResult, "tests.kit.editor_stages:edit_compare", uses_gpu=True))
