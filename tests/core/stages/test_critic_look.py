"""A vision-language model that learns verdicts: each fold by itself, what it says on the ladder, and at a gate; of both families."""

import threading
from pathlib import Path

import numpy as np
import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.critic.asking import OTHER_EYES, ask_critics
from flenwheel_core.critic.ladder import folds_of, train_critic
from flenwheel_core.critic.order import guard_scores
from flenwheel_core.critic.rungs import RUNGS, ask
from flenwheel_core.documents.critics import CriticLesson, CriticLessons, Looker, Looks
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.requests.critic_look import CriticLookRequest, CriticLookTrainRequest, CriticLookTrainResult
from flenwheel_core.requests.critic_score import CriticScoreRequest
from flenwheel_core.requests.critic_train import CriticTrainRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.critic_look import critic_look, critic_look_train
from flenwheel_core.stages.critic_train import critic_train
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture
from tests.kit.critic_world import lessons
from tests.kit.tiny_vl import KINDS, drawn_picture, save_tiny_vl

RECIPE = TrainingRecipe(
    steps=12, batch_size=4, learning_rate=1e-2, warmup_steps=0, min_images=1, lora=LoraRecipe(rank=4)
)
TURNS = 2


def context(store: Store, folder: Path) -> StageContext:
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(workspace=folder / "workspace", gpu="cpu")
    return StageContext(store, settings, folder, Progress("look", lambda _: None), 0, threading.Event())


def records_of(store: Store, count: int) -> list[ImageRecord]:
    """Pictures of random blocks, each made from the first."""
    found: list[ImageRecord] = []
    for number in range(count):
        record = ImageRecord(
            digest="0" * 64, width=1, height=1, kind=ImageKind.ENRICHED, stage="enrich", request="1" * 64, item=f"{number}",
            parents=(found[0].digest,) if found else (),
        )  # fmt: skip
        found.append(save_picture(store, drawn_picture(number), record))
    return found


def verdicts(records: list[ImageRecord]) -> list[CriticLesson]:
    """Every second picture is good; the others are rejected."""
    return [
        one.model_copy(
            update={
                "image": record.digest, "source": record.parents[0] if record.parents else None, "screening": None,
                "verdict": Verdict.GOOD if number % 2 else Verdict.REJECT,
            }
        )
        for number, (one, record) in enumerate(zip(lessons(len(records), turns=TURNS), records, strict=True))
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_by_folds_and_its_word_stands_on_the_ladder(kind: str, tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    model = str(save_tiny_vl(tmp_path / "model", kind, layers=2))
    records = records_of(store, 16)
    some = verdicts(records)
    kept = store.put_blob(CriticLessons(lessons=tuple(some)).to_bytes())
    request = CriticLookTrainRequest(lessons=kept, model=model, recipe=RECIPE, seed=3)
    made = critic_look_train(request, context(store, tmp_path / "train"))
    folds = folds_of(some)
    assert folds is not None and len(made.looker.loras) == len(set(folds.tolist())) == TURNS
    assert len(set(made.looker.loras)) == TURNS, "each fold learned other verdicts"
    said = Looks.from_bytes(store.get_blob(made.looks), where="looks").by_image()
    assert all(len(said[one.image]) == 2 for one in some)
    assert critic_look_train(request, context(store, tmp_path / "train")) == made, "what is done is not trained again"

    trained = critic_train(
        CriticTrainRequest(lessons=kept, looks=made.looks, looker=made.looker), context(store, tmp_path / "critic")
    )
    rung = next(score for score in trained.ladder if score.rung == "vision")
    assert rung.log_loss is not None and "held-out turns" in rung.why

    at_gate = at_a_gate(store, made, records, tmp_path)
    for one, fold in zip(some, folds.tolist(), strict=True):
        pair = at_gate[one.image][2 * fold : 2 * fold + 2]
        assert pair == pytest.approx(said[one.image], abs=1e-4), "the same LoRA says the same of the same picture"


def at_a_gate(
    store: Store, made: CriticLookTrainResult, records: list[ImageRecord], folder: Path
) -> dict[str, tuple[float, ...]]:
    request = CriticLookRequest(looker=made.looker, images=store.put_images(records))
    looked = critic_look(request, context(store, folder / "gate"))
    assert looked.pictures == len(records)
    return Looks.from_bytes(store.get_blob(looked.looks), where="looks").by_image()


def test_nothing_is_learned_where_nothing_can_be_held_out(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    kept = store.put_blob(CriticLessons(lessons=tuple(lessons(4))).to_bytes())
    request = CriticLookTrainRequest(lessons=kept, model="nano", recipe=RECIPE, seed=3)
    with pytest.raises(InputError, match="none could be held out"):
        critic_look_train(request, context(store, tmp_path / "train"))


def seen(some: list[CriticLesson], noise: float = 0.5) -> list[CriticLesson]:
    """Lessons about which a looker knows nearly everything."""
    random = np.random.default_rng(1)
    return [
        one.model_copy(
            update={"vision": (3.0 * (1 if one.verdict is not Verdict.GOOD else -1) + random.normal(0, noise), 0.0)}
        )
        for one in some
    ]


def test_the_rung_is_used_where_it_beats_those_below_and_each_fold_reads_its_own_lora() -> None:
    some = seen(lessons(240))
    critic = train_critic(
        some, {}, record="0" * 64, ladder=[RUNGS[name] for name in ("base_rate", "identity", "vision")]
    ).critic
    assert critic.rung == "vision" and len(critic.folds) > 1
    bad = some[0].model_copy(update={"vision": (4.0, 0.0) * len(critic.folds)})
    mixed = some[0].model_copy(update={"vision": ((4.0, 0.0) * (len(critic.folds) - 1)) + (-4.0, 0.0)})
    first, second = guard_scores(critic, [bad, mixed], {})
    assert first < 0.3 < 0.7 < second, "what one LoRA likes is not rejected"
    assert ask(critic.fitted, [mixed], {})[0, 2] > ask(critic.fitted, [bad], {})[0, 2]
    dull = train_critic([replace_vision(one) for one in some], {}, record="0" * 64).critic
    assert dull.rung != "vision" and dull.looker is None


def replace_vision(one: CriticLesson) -> CriticLesson:
    return one.model_copy(update={"vision": (0.0, 0.0)})


def test_a_critic_whose_looker_did_not_look_says_nothing(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    records = records_of(store, 6)
    looker = Looker(model="nano", loras=("2" * 64,))
    critic = train_critic(
        seen(lessons(240)), {}, record="0" * 64, ladder=[RUNGS[name] for name in ("base_rate", "vision")]
    ).critic
    known = store.put_blob(critic.model_copy(update={"looker": looker}).to_bytes())
    request = CriticScoreRequest(
        gate="g",
        kind="enriched",
        character="mira",
        images=store.put_images(records),
        guard=known,
        rejects=True,
        random_share=0.15,
        audit_share=0.1,
        most_lost=0.05,
        confidence=0.95,
    )
    view = ask_critics(store, request)
    assert view.guard is None and view.cut is None
    looks = Looks.model_validate({"pictures": [{"image": one.digest, "log_odds": (9.0, 0.0)} for one in records]})
    told = ask_critics(store, request.model_copy(update={"looks": store.put_blob(looks.to_bytes())}))
    assert told.guard == known and OTHER_EYES not in told.said
