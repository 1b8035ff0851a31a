"""Ingest on real files: nothing dropped silently, a fingerprint from real sources, a clear list of what is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image, ImageFilter

from flenwheel_core.base.progress import Progress, ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.models.protocols import ModelSetup
from flenwheel_core.nano.paintings import painting, scene
from flenwheel_core.nano.world import render
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.ingest import IngestRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.ingest import ingest
from flenwheel_core.store.pictures import load_picture
from tests.kit.stage_world import HERO, context, hero, ingested, png, source_file, sources, tiny_vision_model, views


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_vision_model(tmp_path_factory.mktemp("models") / "dino"))


@pytest.fixture
def stage(settings: Settings) -> StageContext:
    return context(settings)


def codes(result, file: str) -> set[tuple[str, bool]]:  # type: ignore[no-untyped-def]
    return {(problem.code, problem.dropped) for problem in result.problems if problem.file == file}


def test_good_sources_are_ready_for_a_turn(stage: StageContext, model: str) -> None:
    result = ingested(stage, model, sources(stage))
    records = stage.store.get_images(result.sources)
    assert (result.count, result.missing, result.problems) == (12, (), ())
    assert result.fingerprint is not None
    assert result.fingerprint.images == tuple(record.digest for record in records)
    assert len(result.fingerprint.leave_one_out) == len(result.fingerprint.sharpness) == 12
    assert all("ohwx_char" in (record.caption or "") for record in records)
    assert [record.labels.angle for record in records] == [view.angle for view in views(12)]
    assert [record.labels.expression for record in records] == [view.expression for view in views(12)]


def test_describing_pictures_says_how_far_it_is(stage: StageContext, model: str) -> None:
    events: list[ProgressEvent] = []
    told = replace(stage, progress=Progress("ingest", events.append, interval_seconds=0.0))
    bare = tuple(file.model_copy(update={"caption": None}) for file in sources(stage, 3))
    request = IngestRequest(character=HERO, files=bare, recipe=IngestRecipe(), verifier=model, captioner="nano")
    ingest(request, told)
    looked = [(event.done, event.total) for event in events if event.unit == "pictures looked at"]
    assert looked == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ("photo of ohwx_char person, smiling, by the sea", True),
        ("photo of another_char person, smiling, by the sea", False),
        ("photo of ohwx_char person with green eyes, smiling", False),
    ],
)
def test_a_learned_caption_is_used_where_it_names_the_character_and_nothing_permanent(
    stage: StageContext, model: str, monkeypatch: pytest.MonkeyPatch, said: str, used: bool
) -> None:
    worn = []

    @contextmanager
    def open_captioner(reference: str, settings: Settings, setup: ModelSetup) -> Iterator[SimpleNamespace]:
        worn.extend(setup.loras)
        yield SimpleNamespace(caption=lambda images: [said] * len(images))

    monkeypatch.setattr("flenwheel_core.stages.ingest.open_captioner", open_captioner)
    bare = tuple(file.model_copy(update={"caption": None}) for file in sources(stage, 3))
    lora = LoraUse(digest=stage.store.put_blob(b"a LoRA"))
    request = IngestRequest(
        character=HERO, files=bare, recipe=IngestRecipe(), verifier=model, captioner="nano", captioner_loras=(lora,)
    )
    found = stage.store.get_images(ingest(request, stage).sources)
    assert len(worn) == 1 and [record.caption == said for record in found] == [used] * 3
    assert all("ohwx_char" in (record.caption or "") for record in found)


def test_pictures_that_are_kept_to_be_measured_against_are_no_part_of_the_fingerprint(
    stage: StageContext, model: str
) -> None:
    files = sources(stage)
    held = tuple(file.model_copy(update={"name": f"held_out/{file.name}"}) for file in files[:3])
    result = ingested(stage, model, (*held, *files[3:]))
    records = {record.item: record.digest for record in stage.store.get_images(result.sources)}
    assert result.count == 12 and result.fingerprint is not None
    assert result.fingerprint.images == tuple(digest for name, digest in records.items() if "held_out" not in name)
    assert len(result.fingerprint.images) == 9


def test_a_styles_photographs_are_no_paintings(stage: StageContext) -> None:
    monet = CharacterRef(name="monet", trigger="ohwx_style", class_word="style", kind="style")
    pictures = [source_file(stage, painting(601, n), f"{n}.png") for n in range(5)]
    photos = [source_file(stage, render(*scene(n)), f"photos/{n}.png") for n in range(2)]
    asked = IngestRequest(character=monet, files=(*pictures, *photos), recipe=IngestRecipe(), verifier="style")
    result = ingest(asked, stage)
    assert result.count == 7 and result.fingerprint is not None and len(result.fingerprint.images) == 5
    assert "(there are 5, besides 2 in a folder photos, 10 are needed)" in result.missing[0]
    assert not codes(result, "photos/0.png")
    alone = ingest(asked.model_copy(update={"files": (*pictures, photos[0])}), stage)
    assert ("few_photos", False) in codes(alone, "photos/0.png")


def test_the_same_files_give_the_same_result(settings: Settings, tmp_path: Path, model: str) -> None:
    here, there = context(settings), context(settings.model_copy(update={"workspace": tmp_path / "other"}))
    first, second = (ingested(place, model, sources(place)) for place in (here, there))
    assert first.to_bytes() == second.to_bytes()


def test_every_unusable_file_is_named_with_its_reason(stage: StageContext, model: str) -> None:
    good = sources(stage)
    picture = load_picture(stage.store, good[0].digest)
    files = (
        *good,
        good[3].model_copy(update={"name": "again.png"}),
        source_file(stage, picture.resize((256, 256)), "larger.png"),
        source_file(stage, picture.resize((40, 40)), "tiny.png"),
        good[0].model_copy(update={"name": "text\n.png", "digest": stage.store.put_blob(b"no picture")}),
    )
    result = ingested(stage, model, files)
    assert result.count == 12
    assert codes(result, "again.png") == {("duplicate", True)}
    assert codes(result, "larger.png") == {("duplicate", True)}
    assert codes(result, "tiny.png") == {("too_small", True)}
    assert codes(result, "text?.png") == {("unreadable", True)}
    assert len(files) == result.count + sum(problem.dropped for problem in result.problems)


def test_doubtful_sources_are_kept_and_named(stage: StageContext, model: str) -> None:
    good = sources(stage)
    soft = render(hero(), views(13)[12]).filter(ImageFilter.GaussianBlur(4))
    described = source_file(stage, render(hero(), views(14)[13]), "described.png", "a person with red hair, front view")
    result = ingested(stage, model, (*good, source_file(stage, soft, "soft.png", "front view"), described))
    assert result.count == 14
    assert ("blurred", False) in codes(result, "soft.png")
    assert codes(result, "described.png") == {("permanent_traits", False)}
    caption = stage.store.get_images(result.sources)[-1].caption
    assert caption == "ohwx_char person with red hair, front view"


def test_captions_of_other_tools_are_learned_in_the_form_of_the_project(stage: StageContext, model: str) -> None:
    given = ("[trigger] in the rain", "OHWX_CHAR person, <lora:x:0.8>, front view", "words " * 40 + "ohwx_char")
    files = tuple(file.model_copy(update={"caption": text}) for file, text in zip(sources(stage), given, strict=False))
    request = IngestRequest(character=HERO, files=files, recipe=IngestRecipe(), verifier=model, text_tokens=30)
    result = ingest(request, stage)
    first, second, third = (record.caption or "" for record in stage.store.get_images(result.sources))
    assert first == "ohwx_char in the rain" and second == "ohwx_char person, front view"
    assert third.startswith("photo of ohwx_char person, words")
    assert codes(result, "01.png") == {("prompt_syntax", False), ("trigger_spelling", False)}
    assert codes(result, "02.png") == {("long_caption", False)}


def test_what_is_missing_is_said(stage: StageContext, model: str) -> None:
    one_angle = [file for file, view in zip(sources(stage, 45), views(45), strict=True) if view.angle == "front"]
    result = ingested(stage, model, tuple(one_angle[:4]))
    assert len(result.missing) == 2
    assert result.missing[0] == "6 more usable pictures (there are 4, 10 are needed)"
    assert "all show front" in result.missing[1]


def test_no_usable_file_is_a_clear_answer(stage: StageContext, model: str) -> None:
    result = ingested(stage, model, ())
    assert (result.count, result.fingerprint) == (0, None)
    assert result.missing == ("10 more usable pictures (there are 0, 10 are needed)",)


def test_captions_come_from_labels_where_none_was_given(stage: StageContext, model: str) -> None:
    bare = tuple(file.model_copy(update={"caption": None}) for file in sources(stage))
    request = IngestRequest(character=HERO, files=bare, recipe=IngestRecipe(), verifier=model)
    result = ingest(request, stage)
    assert {record.caption for record in stage.store.get_images(result.sources)} == {"photo of ohwx_char person"}
    assert any("camera angles" in text for text in result.missing)


def test_a_source_keeps_its_mask_at_its_own_size(stage: StageContext, model: str) -> None:
    good = sources(stage)
    side = load_picture(stage.store, good[0].digest).width
    half = Image.new("L", (2 * side, 2 * side))
    half.paste(255, (0, 0, side, 2 * side))
    masks = {
        0: png(half.resize((side, side))),
        1: png(half),
        2: png(Image.new("L", (side, side))),
        3: b"no picture",
    }
    files = tuple(
        file.model_copy(update={"mask": stage.store.put_blob(masks[number])}) if number in masks else file
        for number, file in enumerate(good)
    )
    gone = files[5].model_copy(update={"mask": "e" * 64})
    result = ingested(stage, model, (*files[:5], gone, *files[6:]))
    records = stage.store.get_images(result.sources)
    assert (result.count, result.masks) == (12, 2) and "12 usable sources (2 with a mask)" in result.summary()
    assert [number for number, record in enumerate(records) if record.mask] == [0, 1]
    for record in records[:2]:
        kept = load_picture(stage.store, record.mask or "").convert("L")
        assert kept.size == (side, side) and kept.getpixel((9, 9)) == 255 and kept.getpixel((side - 9, 9)) == 0
    said = {problem.file: problem.message for problem in result.problems}
    assert said == {
        "01.png": f"Its mask was scaled from {2 * side}x{2 * side} to {side}x{side}.",
        "02.png": "Its mask is black all over, so it marks nothing; it is learned without.",
        "03.png": "Its mask is no picture that can be read; it is learned without.",
        "05.png": said["05.png"],
    }
    assert "e" * 12 in said["05.png"] and not any(problem.dropped for problem in result.problems)


def test_a_source_without_masks_is_described_as_ever(stage: StageContext, model: str) -> None:
    """What was stored before is found again."""
    result = ingested(stage, model, sources(stage))
    assert b"mask" not in result.to_bytes() and b"mask" not in stage.store.get_images(result.sources)[0].to_bytes()
