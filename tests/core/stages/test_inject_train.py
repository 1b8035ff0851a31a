"""The training of a head in a process of its own: killed where it stands, it ends with the same head."""

import signal
from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe, Place
from flenwheel_core.requests.inject import InjectionPhoto, InjectTrainRequest, InjectTrainResult
from flenwheel_core.stages.inject_train import captions_of
from flenwheel_core.store import Store
from tests.kit.injection_world import drawn_identity
from tests.kit.short_training import ended, interrupt


@pytest.mark.parametrize(
    ("place", "caption", "described", "wanted"),
    [
        # A phrase's description needs the words before it that the plain caption has.
        ("phrase", "", "a person with red hair", ("a photo of a person", "a photo of a person with red hair")),
        ("both", "", "a person with red hair", ("a photo of a person", "a person with red hair")),
        ("phrase", "drawing of a person, sad", "drawing of a person with red hair, sad", None),
        ("phrase", "", "", ("a photo of a person", "a photo of a person")),
    ],
)
def test_what_a_photo_is_said_to_show(
    place: Place, caption: str, described: str, wanted: tuple[str, str] | None
) -> None:
    photo = InjectionPhoto(image="a" * 64, caption=caption, described=described)
    assert captions_of(photo, HeadRecipe(place=place)) == (wanted or (caption, described))


def test_killed_in_each_stage_it_ends_with_the_same_head_bit_for_bit(tmp_path: Path) -> None:
    learning = LearningRecipe(epochs=6, batch_size=2, oracle_steps=6, checkpoint_every=2)
    folders = tmp_path / "whole", tmp_path / "killed"
    for folder in folders:
        identity = drawn_identity(Store(Settings(workspace=folder).store_url), 1, photos=3)
    request = InjectTrainRequest(
        identities=(identity,),
        features="nano",
        base="nano",
        head=HeadRecipe(place="both", tokens=4),
        learning=learning,
        width=128,
        height=128,
    )
    data = request.to_bytes()
    for states in ("0-oracle", "1-regression", "2-flow"):
        code = interrupt(folders[1], data, signal.SIGKILL, 4, "inject_train", states)
        assert code == -signal.SIGKILL, "it was at work when it was killed"
    made = []
    for folder in folders:
        assert ended(folder, "inject_train", data)[0] == 0
        made.append(InjectTrainResult.from_bytes((folder / "inject_train.result").read_bytes(), where="result"))
    assert made[0] == made[1] and made[0].oracle is not None
