"""Requests keep their names: what was stored before is found again, or the stage's version was raised on purpose.

A digest that changes here makes every finished stage of that kind be done again. A new field must be left out while it says nothing
(`exclude_if`); a new meaning raises the stage's version, and then the digest below is written anew.
"""

import pytest

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import LoraUse, Sampler
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.documents.triplets import Triplet, TripletSet
from flenwheel_core.recipes.editor import EditorRecipe
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.base import StageRequest
from flenwheel_core.requests.edit_compare import ComparedEdit, EditCompareRequest
from flenwheel_core.requests.edit_train import EditTrainRequest
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.requests.train import TrainItem, TrainRequest

MIRA = CharacterRef(name="mira", trigger="ohwx", class_word="cat", kind="subject")
SAMPLER = Sampler(steps=4, guidance=1.0, true_cfg=1.0, width=64, height=64)
REQUESTS: dict[str, StageRequest] = {
    "ingest": IngestRequest(
        character=MIRA,
        files=(SourceFile(name="a.png", digest="a" * 64),),
        recipe=IngestRecipe(),
        verifier="nano@1",
        captioner="nano@1",
    ),
    "enrich": EnrichRequest(
        character=MIRA,
        sources="a" * 64,
        items=(EditItem(key="one", source="b" * 64, prompt="smile", seed=1),),
        editor="nano@1",
        loras=(LoraUse(digest="c" * 64, weight=1.0),),
        sampler=SAMPLER,
        turn=1,
    ),
    "train": TrainRequest(
        name="mira-v1",
        character=MIRA,
        base="nano@1",
        items=(TrainItem(image="a" * 64, caption="photo of ohwx cat", real=True),),
        recipe=TrainingRecipe(),
        seed=1,
        sampler=SAMPLER,
    ),
    "generate": GenerateRequest(
        character=MIRA,
        items=(GenerateItem(key="one", prompt="photo of ohwx cat", seed=1),),
        base="nano@1",
        sampler=SAMPLER,
        turn=1,
    ),
    "edit_train": EditTrainRequest(
        name="editor-1", triplets="a" * 64, editor="nano@1", recipe=EditorRecipe().train, seed=1
    ),
    "edit_compare": EditCompareRequest(
        items=(
            ComparedEdit(
                key="one",
                source="a" * 64,
                prompt="smile",
                target="b" * 64,
                corrected=False,
                character="mira",
                seed=1,
            ),
        ),
        editor="nano@1",
        challenger=(LoraUse(digest="c" * 64, weight=1.0),),
        verifier="nano@1",
        sampler=SAMPLER,
    ),
}
KEPT = {
    "ingest": "0a9d7abea933d50d22eb76a77df21c22ee0e74fa284ad8f23f89a4a4002a02eb",
    "enrich": "2f7f315c073c0ea3237e4df38a970c4430e583e7fd883257bf017b1f6445344c",
    "train": "af97e0ee6149a91ae39508eb81366966ab9461e94fe07f9fdbe367b34d1469bb",
    "generate": "52dd6873e0e902fa36b1d8b005d540e13579885f154c9a62aec661cf3319097c",
    "edit_train": "50a46b6d86fab0306ce49fd3e8feb1b63ff4e3b53008b0e3e34569715721a70d",
    "edit_compare": "9b0c96b43750d331309d783f0adbc95cac445f87bb0e2f8e4e2fb9b00414cc29",
}
LESSONS = "9c0f831dbe2e458ffa098bbbe6b3357c7baa7008f3db8aad8ada0f2bde5ee193"


@pytest.mark.parametrize("stage", REQUESTS)
def test_a_request_is_named_as_before(stage: str) -> None:
    assert REQUESTS[stage].key() == KEPT[stage]


def test_lessons_without_references_are_named_as_before() -> None:
    lesson = Triplet(
        source="a" * 64,
        prompt="smile",
        target="b" * 64,
        kind="approved",
        character="mira",
        turn=1,
        gate="g",
        author="me",
    )
    assert TripletSet(triplets=(lesson,)).content_digest() == LESSONS
    more = lesson.model_copy(update={"references": ("c" * 64,)})
    assert TripletSet(triplets=(more,)).content_digest() != LESSONS
