"""The stages of injection on the nano models: a head learns, pictures are drawn beside the controls, and all is measured."""

import json
from pathlib import Path

import pytest

from flenwheel_core.base.errors import InputError, InterruptedStageError
from flenwheel_core.base.ids import digest_json
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ImageRecord, Sampler
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.requests.inject import InjectionPrompt, InjectRequest, InjectTrainRequest, InjectTrainResult
from flenwheel_core.stages.inject import Planned, inject, planned, text_of
from flenwheel_core.stages.inject_train import inject_train
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture
from tests.kit.injection_world import FACTS, FAST, PROMPT, blank_head, drawn_identity
from tests.kit.stage_world import context
from tests.kit.tiny_editor import save_tiny_base
from tests.kit.tiny_vl import save_tiny_vl

HEAD = HeadRecipe(place="tokens", tokens=4)


def test_photos_become_a_head_and_the_head_pictures(tmp_path: Path) -> None:
    here = context(Settings(workspace=tmp_path, gpu="cpu", threads=1))
    known, unknown = drawn_identity(here.store, 1, known=True), drawn_identity(here.store, 2)
    learning = LearningRecipe(epochs=1, batch_size=2, oracle_steps=1)
    asked = InjectTrainRequest(
        identities=(known,), features="nano", base="nano", head=HEAD, learning=learning, width=128, height=128
    )
    trained = inject_train(asked, here)
    assert [curve.stage for curve in trained.curves] == ["oracle", "regression", "flow"]
    assert (trained.facts.identities, trained.facts.photos, trained.facts.rows) == (1, 2, 5)
    assert inject_train(asked, here) == trained
    assert trained.facts.learned([photo.image for photo in known.photos])
    assert trained.facts.learned([*(photo.image for photo in unknown.photos), *known.held_out]) is False

    request = InjectRequest(
        identities=(known, unknown),
        features="nano",
        base="nano",
        head=trained.head,
        oracle=trained.oracle,
        prompts=(PROMPT,),
        alphas=(1.0,),
        seeds=(1,),
        sampler=FAST,
        controls=("shuffled", "caption", "oracle", "editor"),
        editor="nano",
        verifier="nano",
        reader="nano",
    )
    made = inject(request, here)
    by_way = {(cell.identity, cell.method, cell.alpha, cell.seed): cell for cell in made.cells}
    assert len(made.cells) == 2 * 5 + 1  # the oracle of the one that has one
    assert all(cell.likeness is not None and cell.kept is not None for cell in made.cells)
    assert by_way["someone-1", "injection", 0.0, 1].image != by_way["someone-1", "injection", 1.0, 1].image
    # Without injection nobody's photos matter; a shuffled identity is the other one's.
    names = ("someone-1", "someone-2")
    shown = [load_picture(here.store, by_way[name, "injection", 0.0, 1].image).tobytes() for name in names]
    assert shown[0] == shown[1]
    for one, other in (names, names[::-1]):
        swapped = load_picture(here.store, by_way[one, "shuffled", 1.0, 1].image)
        assert swapped.tobytes() == load_picture(here.store, by_way[other, "injection", 1.0, 1].image).tobytes()
    assert {row.known for row in made.figures} == {True, False} and "identity over another" in made.verdict
    drawn = {record.digest: record for record in here.store.get_images(made.images)}
    record = drawn[by_way["someone-2", "injection", 1.0, 1].image]
    assert record.parents == tuple(photo.image for photo in unknown.photos) and record.request == request.key()
    assert [grid.identity for grid in made.grids] == list(names)
    assert inject(request, here) == made


def test_a_training_of_the_earlier_version_is_made_anew(tmp_path: Path) -> None:
    """Its oracle began nearer to the prompt, and its head does not name its photos."""
    store = Store((tmp_path / "store").as_uri())
    asked = InjectTrainRequest(
        identities=(drawn_identity(store, 1),), features="nano", base="nano", width=128, height=128
    )
    earlier = digest_json({"stage": "inject_train", "version": 1, "request": asked.model_dump(mode="json")})
    standing = InjectTrainResult(head="1" * 64, facts=FACTS, curves=())
    store.files.create(f"stages/inject_train/{earlier}/manifest.json", standing.to_bytes())
    assert store.get_result(asked, InjectTrainResult) is None


def test_words_of_a_description_stand_behind_the_whole_word(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    request = InjectRequest(
        identities=(drawn_identity(store, 1).model_copy(update={"description": "red hair"}),),
        features="nano",
        base="nano",
        head="1" * 64,
        words="man",
        prompts=(InjectionPrompt(text="a woman beside a Man, sad"),),
        alphas=(1.0,),
        seeds=(1,),
        sampler=FAST,
    )
    assert text_of(request, Planned(0, "caption", 0.0, 0, 1)) == "a woman beside a Man with red hair, sad"


def test_drawing_goes_on_at_the_picture_it_stopped_at(tmp_path: Path) -> None:
    here = context(Settings(workspace=tmp_path, gpu="cpu", threads=1))
    head = blank_head(here.store, here.settings, HEAD)
    request = InjectRequest(
        identities=(drawn_identity(here.store, 3),),
        features="nano",
        base="nano",
        head=head,
        prompts=(PROMPT,),
        alphas=(0.5,),
        seeds=(1, 2),
        sampler=FAST,
    )
    here.stop.set()
    with pytest.raises(InterruptedStageError):
        inject(request, here)
    here.stop.clear()
    kept = list(here.store.stage_items(request, ImageRecord).read())
    assert len(kept) == 1
    made = inject(request, here)
    assert len(made.cells) == 4 and made.cells[0].image == kept[0].digest
    assert "Nothing was measured" in made.verdict


def test_alone_in_the_workspace_nobody_in_particular_is_the_control(tmp_path: Path) -> None:
    here = context(Settings(workspace=tmp_path, gpu="cpu"))
    base = {"features": "nano", "base": "nano", "head": "0" * 64, "prompts": (PROMPT,), "alphas": (0.0, 1.0)}
    request = InjectRequest(
        identities=(drawn_identity(here.store, 3),), seeds=(1,), sampler=FAST, controls=("shuffled",), **base
    )
    assert [(one.method, one.alpha) for one in planned(request)] == [
        ("injection", 0.0),
        ("injection", 1.0),
        ("average", 1.0),
    ]


def test_captions_are_not_learned_where_there_are_none(tmp_path: Path) -> None:
    here = context(Settings(workspace=tmp_path, gpu="cpu"))
    one = drawn_identity(here.store, 4)
    bare = one.model_copy(update={"photos": tuple(photo.model_copy(update={"described": ""}) for photo in one.photos)})
    request = InjectTrainRequest(identities=(bare,), features="nano", base="nano", width=128, height=128)
    with pytest.raises(InputError, match="no captions' embeddings") as refused:
        inject_train(request, here)
    assert "towards zero" in refused.value.message


def test_a_head_of_another_model_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    here = context(Settings(workspace=tmp_path, gpu="cpu"))
    head = blank_head(here.store, here.settings, HEAD)
    data = here.store.get_blob(head)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["flenwheel.head"])
    changed = data.replace(facts["feature_version"].encode(), b"0" * 64)
    other = here.store.put_blob(changed)
    request = InjectRequest(
        identities=(drawn_identity(here.store, 3),),
        features="nano",
        base="nano",
        head=other,
        prompts=(PROMPT,),
        alphas=(1.0,),
        seeds=(1,),
        sampler=FAST,
    )
    with pytest.raises(InputError, match="other features"):
        inject(request, here)
    assert not list(here.store.stage_items(request, ImageRecord).read())


def test_qwen_image_and_qwen3_vl_go_the_same_way(tmp_path: Path) -> None:
    """Tiny models of the real classes: another base, another vision-language model, prompts of any length, true guidance."""
    here = context(Settings(workspace=tmp_path, gpu="cpu", threads=1))
    sees, draws = save_tiny_vl(tmp_path / "vl", "qwen3"), save_tiny_base(tmp_path / "qwen")
    asked = InjectTrainRequest(
        identities=(drawn_identity(here.store, 5),),
        features=str(sees),
        base=str(draws),
        head=HeadRecipe(place="tokens", tokens=2, features="hidden"),
        learning=LearningRecipe(epochs=1, batch_size=2),
        width=64,
        height=96,
    )
    trained = inject_train(asked, here)
    request = InjectRequest(
        identities=asked.identities,
        features=str(sees),
        base=str(draws),
        head=trained.head,
        prompts=(PROMPT,),
        negative="blurry",
        alphas=(1.0,),
        seeds=(1,),
        sampler=Sampler(steps=1, guidance=4.5, true_cfg=4.5, width=64, height=96),
    )
    made = inject(request, here)
    without, with_it = (load_picture(here.store, cell.image) for cell in made.cells)
    assert without.size == (64, 96) and without.tobytes() != with_it.tobytes()
    turned = [row.turned_degrees for row in made.figures]
    assert turned[0] is None and turned[1] is not None and 0 < turned[1] < 90
