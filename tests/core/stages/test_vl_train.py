"""The stage `vl_train` on the nano captioner: a caption is learned, and the same request gives the same file."""

import threading
from pathlib import Path

from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.models.qwen_vl.captioner import QUESTION
from flenwheel_core.nano.world import HELD_OUT_FROM, View, make_character, render
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.requests.caption_compare import CaptionCompareRequest, ComparedCaption
from flenwheel_core.requests.vl_train import VlItem, VlTrainRequest, VlTrainResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.caption_compare import caption_compare
from flenwheel_core.stages.vl_train import vl_train
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

RECIPE = TrainingRecipe(
    steps=12, learning_rate=2e-3, warmup_steps=0, log_every=1, min_images=1, lora=LoraRecipe(rank=4)
)


def test_lessons_become_a_lora_of_the_captioner(tmp_path: Path) -> None:
    store, settings = Store((tmp_path / "store").as_uri()), Settings(workspace=tmp_path, gpu="cpu")
    picture = render(
        make_character(HELD_OUT_FROM + 41),
        View(angle="front", expression="smiling", background="studio", lighting="day", seed=3),
    )
    image = store.put_blob(encode_png(picture, {}))
    items = (
        VlItem(kind="caption", images=(image,), question=QUESTION, answer="Zora smiles in a studio"),
        VlItem(kind="judgement", images=(image, image), question="Same character?", answer="yes"),
    )
    request = VlTrainRequest(name="lesson", model="nano", items=items, recipe=RECIPE, seed=1)

    def made(run: str) -> VlTrainResult:
        scratch = tmp_path / run
        scratch.mkdir()
        context = StageContext(store, settings, scratch, Progress("vl_train", lambda _: None), 0, threading.Event())
        return vl_train(request, context)

    first, again = made("first"), made("again")
    assert first == again and first.lora.target == "captioner" and first.lora.images == 1
    asked = CaptionCompareRequest(
        items=(ComparedCaption(image=image, caption="Zora smiles in a studio", trigger="Zora", corrected=True),),
        captioner="nano",
        challenger=(LoraUse(digest=first.lora.digest),),
        significance=0.05,
    )
    scratch = tmp_path / "compare"
    scratch.mkdir()
    context = StageContext(store, settings, scratch, Progress("compare", lambda _: None), 0, threading.Event())
    compared = caption_compare(asked, context)
    assert (
        compared.challenger.captions[0].said != compared.champion.captions[0].said and not compared.comparison.promote
    )
    losses = [point.loss for point in first.losses]  # each of the two lessons once in two steps
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])
