"""The stage `edit_train` on the nano editor: the request's choices reach the loss."""

import threading
from pathlib import Path

from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.nano.world import HELD_OUT_FROM, View, make_character, render
from flenwheel_core.recipes.train import SamplingRecipe, TrainingRecipe
from flenwheel_core.requests.edit_train import EditTrainRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.edit_train import edit_train
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png
from flenwheel_core.store.triplets import put_triplets

RECIPE = TrainingRecipe(
    steps=1, resolution=128, caption_dropout=0.0, log_every=1, warmup_steps=0, sampling=SamplingRecipe(every_steps=0)
)


def test_guidance_and_anchor_change_what_an_approved_edit_teaches(tmp_path: Path) -> None:
    store, settings = Store((tmp_path / "store").as_uri()), Settings(workspace=tmp_path, gpu="cpu")
    hero = make_character(HELD_OUT_FROM + 41)
    source, target = (
        store.put_blob(
            encode_png(
                render(hero, View(angle="front", expression=face, background="studio", lighting="day", seed=3)), {}
            )
        )
        for face in ("neutral", "smiling")
    )
    triplet = Triplet(
        source=source,
        prompt="same person, smiling",
        target=target,
        kind="approved",
        character="hero",
        turn=1,
        gate="hero-t1-gate-a-r1",
        author="me",
    )

    def loss(**choices: float) -> float:
        scratch = tmp_path / "-".join(("run", *choices))
        scratch.mkdir()
        context = StageContext(store, settings, scratch, Progress("edit_train", lambda _: None), 0, threading.Event())
        request = EditTrainRequest(
            name="lesson", triplets=put_triplets(store, [triplet]), editor="nano", recipe=RECIPE, seed=1, **choices
        )
        return edit_train(request, context).losses[0].loss

    plain = loss()
    assert loss(distilled_guidance=2.5) > 1.2 * plain
    assert loss(anchor=1.0) < 1e-6 < plain
