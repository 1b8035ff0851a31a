"""The identity curve: sample pictures of the character score high, those of somebody else low."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL.Image import Image

from flenwheel_core.base.progress import Progress, ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler
from flenwheel_core.identity.fingerprint import make_fingerprint
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.nano.world import HELD_OUT_FROM, make_character, make_view, render
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.train import identity_of
from flenwheel_core.store import Store


def pictures(number: int, views: Sequence[int]) -> list[Image]:
    character = make_character(HELD_OUT_FROM + number)
    return [render(character, replace(make_view(view, portrait_share=1.0), style="photo")) for view in views]


def test_samples_are_compared_with_the_fingerprint(settings: Settings, tmp_path: Path) -> None:
    with open_verifier("nano", settings) as verifier:
        embedded = [one.embedding or () for one in verifier.embed(pictures(3, range(6)))]
        fingerprint = make_fingerprint(
            [f"{i:064d}" for i in range(6)],
            embedded,
            verifier.threshold_rule,
            verifier=verifier.name,
            verifier_version=verifier.version,
        )
    plain = TrainRequest(
        character=CharacterRef(name="ana", trigger="ohwx_char", class_word="person", kind="person"),
        name="ana-v1", items=(), base="nano", recipe=TrainingRecipe(), seed=1, sampler=Sampler(steps=2),
    )  # fmt: skip
    request = plain.model_copy(update={"fingerprint": fingerprint, "verifier": "nano"})
    said: list[ProgressEvent] = []
    context = StageContext(
        Store(settings.store_url), settings, tmp_path, Progress("train", said.append), stop=threading.Event()
    )
    score = identity_of(request, context)
    assert score is not None and identity_of(plain, context) is None
    own, other = score(pictures(3, range(10, 14)))["identity"], score(pictures(4, range(10, 14)))["identity"]
    assert own > 0.6 and own > other + 0.3
    assert said[0].text == f"sample pictures: identity {own:.3f}"
