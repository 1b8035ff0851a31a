"""Ingest and screening of a real person: the face verifier through the stages, in its worker processes too."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from flenwheel_core.base.progress import Progress, ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.framings import Box, Framing
from flenwheel_core.documents.images import Labels
from flenwheel_core.identity.people_weights import WRITING
from flenwheel_core.recipes.screening import IngestRecipe, ScreeningRecipe
from flenwheel_core.requests.ingest import IngestRequest, IngestResult
from flenwheel_core.requests.screen import ScreenRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.ingest import ingest
from flenwheel_core.stages.screen import NO_FINDER, screen
from flenwheel_core.store.pictures import load_picture
from tests.kit.faces import (
    astronaut,
    beside,
    hopper,
    needs_people_weights,
    needs_writing_weights,
    turned_man,
    views,
    with_words,
    without_face,
)
from tests.kit.stage_world import candidate, context, source_file

pytestmark = pytest.mark.slow
PERSON = CharacterRef(name="eileen", trigger="ohwx_char", class_word="person", kind="person")
FRONT, PROFILE = Labels(angle="front", pose="portrait"), Labels(angle="profile-left", pose="portrait")


@pytest.fixture
def stage(settings: Settings, tmp_path: Path) -> StageContext:
    return context(settings.model_copy(update={"models": tmp_path / "models", "threads": 1}))


def known(stage: StageContext, images: list[Image.Image]) -> IngestResult:
    files = tuple(source_file(stage, image, f"{index}.png") for index, image in enumerate(images))
    recipe = IngestRecipe(duplicate_bits=0, minimum_images=4, minimum_angles=1)
    return ingest(IngestRequest(character=PERSON, files=files, recipe=recipe, verifier="face", reader="face"), stage)


def test_a_person_is_told_from_another_and_profiles_are_left_to_people(stage: StageContext) -> None:
    found = known(stage, views(astronaut(), 6))
    assert found.fingerprint is not None and found.missing == ()
    assert 0.45 <= found.fingerprint.threshold <= 0.6
    right, other = views(astronaut(), 1, seed=5)[0], views(hopper(), 1, seed=6)[0]
    candidates = [
        candidate(stage, right, "right", FRONT),
        candidate(stage, other, "other", FRONT),
        candidate(stage, without_face("coffee"), "no face", FRONT),
        candidate(stage, without_face("rocket"), "no face in profile", PROFILE),
        candidate(stage, right.filter(ImageFilter.GaussianBlur(2.5)), "soft", FRONT),
    ]
    request = ScreenRequest(
        character=PERSON,
        images=stage.store.put_images(candidates),
        references=found.sources,
        fingerprint=found.fingerprint,
        verifier="face",
        reader="face",
        recipe=ScreeningRecipe(duplicate_bits=0),
    )
    result = screen(request, stage)
    rows = dict(zip([one.item for one in candidates], stage.store.get_screenings(result.screenings), strict=True))
    assert rows["right"].outcome == "pass" and rows["right"].read.angle == "front"
    assert rows["other"].outcome == "fail" and rows["other"].reasons[0].code == "wrong_identity"
    assert rows["no face"].outcome == "fail" and rows["no face"].reasons[0].code == "no_face"
    assert rows["no face in profile"].outcome == "unsure"
    assert rows["soft"].outcome in ("unsure", "fail") and "blurred" in {one.code for one in rows["soft"].reasons}


@needs_writing_weights
def test_writing_is_a_question_unless_it_was_asked_for_or_the_sources_show_as_much(stage: StageContext) -> None:
    """A source with as much excuses its own edit."""
    labelled = with_words(views(astronaut(), 1, seed=8)[0], "a large line of words", (10, 330), 38)
    found = known(stage, [*views(astronaut(), 11), labelled])
    assert found.fingerprint is not None
    source = next(one for one in stage.store.get_images(found.sources) if one.item == "11.png")
    plain = views(astronaut(), 1, seed=5)[0]
    written = with_words(plain, "many invented words", (10, 330), 38)
    one = candidate(stage, written, "invented", FRONT)
    candidates = [
        candidate(stage, plain, "plain", FRONT),
        one,
        one.model_copy(update={"item": "asked", "prompt": "holding a sign"}),
        one.model_copy(update={"item": "edit", "parents": (source.digest,)}),
    ]
    request = ScreenRequest(
        character=PERSON,
        images=stage.store.put_images(candidates),
        references=found.sources,
        fingerprint=found.fingerprint,
        verifier="face",
        writing_finder=WRITING.sha256,
        recipe=ScreeningRecipe(duplicate_bits=0),
    )
    rows = stage.store.get_screenings(screen(request, stage).screenings)
    reasons = [{reason.code: reason for reason in row.reasons} for row in rows]
    assert ["writing" in each for each in reasons] == [False, True, False, False]
    assert rows[1].outcome != "pass" and reasons[1]["writing"].detail.startswith("bottom")
    limit = {"recipe": ScreeningRecipe(duplicate_bits=0, writing_unsure_above=1)}
    for change, noted in ((limit, False), ({"writing_finder": None}, True)):
        notes: list[ProgressEvent] = []
        listening = replace(stage, progress=Progress("screen", notes.append))
        unlooked = request.model_copy(update=change)
        assert unlooked.key() != request.key()
        told = stage.store.get_screenings(screen(unlooked, listening).screenings)
        assert all("writing" not in row.model_dump_json() for row in told)
        assert any(NO_FINDER in event.model_dump_json() for event in notes) is noted


def test_a_stranger_among_the_sources_is_pointed_out_and_kept_out_of_the_centre(stage: StageContext) -> None:
    alone = known(stage, views(astronaut(), 6))
    mixed = known(stage, [*views(astronaut(), 6), views(hopper(), 1, seed=3)[0]])
    assert [problem.file for problem in mixed.problems if problem.code == "unlike_the_others"] == ["6.png"]
    assert alone.fingerprint is not None and mixed.fingerprint is not None
    np.testing.assert_allclose(alone.fingerprint.centroid, mixed.fingerprint.centroid, atol=1e-5)
    assert mixed.fingerprint.threshold == alone.fingerprint.threshold


def test_sources_without_a_face_are_kept_and_said(stage: StageContext) -> None:
    found = known(
        stage, [without_face("coffee"), without_face("chelsea"), without_face("rocket"), *views(astronaut(), 2)]
    )
    assert found.count == 5 and found.fingerprint is None
    assert any("recognisable face: found in 2, 3 are needed" in text for text in found.missing)
    assert sum(problem.code == "no_face" for problem in found.problems) == 3


def test_worker_processes_give_the_same_embeddings(settings: Settings, tmp_path: Path) -> None:
    from flenwheel_core.identity.verifiers import open_verifier

    images = [*views(astronaut(), 13), without_face("coffee")]
    one = settings.model_copy(update={"models": tmp_path / "models", "threads": 1})
    with open_verifier("face", one) as alone, open_verifier("face", one.model_copy(update={"threads": 2})) as several:
        assert several.embed(images) == alone.embed(images)
        assert (several.name, several.version) == (alone.name, alone.version)


def test_hostile_files_stop_nothing(stage: StageContext) -> None:
    animated, cmyk = io.BytesIO(), io.BytesIO()
    frames = views(astronaut(), 2, seed=9)
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    views(astronaut(), 1, seed=10)[0].convert("CMYK").save(cmyk, "JPEG", quality=95)
    good = views(astronaut(), 4)
    named = {
        "../../etc/passwd.png": b"root:x:0:0",
        "two\nlines.png": b"",
        "n" * 296 + ".png": b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        "film.gif": animated.getvalue(),
        "print.jpg": cmyk.getvalue(),
    }
    hostile = tuple(
        source_file(stage, good[0], name).model_copy(update={"digest": stage.store.put_blob(data)})
        for name, data in named.items()
    )
    files = (*hostile, *(source_file(stage, image, f"{index}.png") for index, image in enumerate(good)))
    recipe = IngestRecipe(duplicate_bits=0, minimum_images=4, minimum_angles=1)
    found = ingest(IngestRequest(character=PERSON, files=files, recipe=recipe, verifier="face"), stage)
    assert found.count == 6 and found.missing == ()
    dropped = [problem for problem in found.problems if problem.dropped]
    assert len(dropped) == 3
    assert all("\n" not in problem.file + problem.message and len(problem.file) <= 80 for problem in found.problems)
    assert {problem.file for problem in found.problems if problem.code == "converted"} == {"film.gif", "print.jpg"}


def several(stage: StageContext, framing: Framing | None = None) -> IngestResult:
    """Four views of the astronaut, and one picture of her beside somebody whose face is larger."""
    together = beside(views(astronaut(), 1, seed=4)[0], hopper().crop((0, 0, 512, 512)))
    files = [source_file(stage, image, f"{index}.png") for index, image in enumerate(views(astronaut(), 4))]
    files.append(source_file(stage, together, "both.png").model_copy(update={"framing": framing}))
    recipe = IngestRecipe(duplicate_bits=0, minimum_images=4, minimum_angles=1)
    return ingest(IngestRequest(character=PERSON, files=tuple(files), recipe=recipe, verifier="face"), stage)


def test_a_picture_of_two_is_cut_to_the_character_though_the_other_face_is_larger(stage: StageContext) -> None:
    found = several(stage)
    (framed,) = found.framings
    assert framed.by == "ingest" and [face.chosen for face in framed.faces].count(True) == 1
    chosen = next(face for face in framed.faces if face.chosen)
    assert chosen.box.right < 0.5 and chosen.distance is not None and chosen.distance < 0.45
    record = stage.store.get_images(found.sources)[-1]
    assert record.framing == framed.framing and record.digest == framed.picture
    assert framed.framing.crop is not None and framed.framing.crop.right < 0.6
    assert record.width == round(framed.framing.crop.right * 1000) and record.height <= 500
    assert found.fingerprint is not None and max(found.fingerprint.leave_one_out) < 0.45
    assert any("2 people; it was cut to the character" in problem.message for problem in found.problems)


def test_what_a_person_said_of_a_picture_stands(stage: StageContext) -> None:
    right_half = Framing(crop=Box(left=0.5, top=0, right=1, bottom=1))
    cut = several(stage, right_half)
    assert stage.store.get_images(cut.sources)[-1].width == 500
    assert cut.framings[-1].by == "person" and cut.framings[-1].faces[0].box.left > 0.5
    hidden = several(stage, Framing(hidden=(Box(left=0.5, top=0, right=1, bottom=1),)))
    record = stage.store.get_images(hidden.sources)[-1]
    assert record.width == 1000 and record.mask is not None and hidden.masks == 1
    shades = np.asarray(load_picture(stage.store, record.mask).convert("L"))
    assert shades[:, :480].min() == 255 and shades[:, 520:].max() == 0
    assert hidden.fingerprint is not None and max(hidden.fingerprint.leave_one_out) < 0.45
    whole = several(stage, Framing())
    assert stage.store.get_images(whole.sources)[-1].width == 1000


def test_two_who_are_always_together_need_a_persons_word(stage: StageContext) -> None:
    pairs = [beside(one, two) for one, two in zip(views(astronaut(), 4), views(hopper(), 4, seed=2), strict=True)]
    found = known(stage, pairs)
    assert any("two people are in 4 pictures each" in text for text in found.missing)


@needs_people_weights
def test_a_source_in_profile_is_kept_and_said_to_be_one(stage: StageContext) -> None:
    found = known(stage, [*views(astronaut(), 5), turned_man()])
    assert [(problem.code, problem.dropped) for problem in found.problems] == [("profile_face", False)]
    assert found.fingerprint is not None and len(found.fingerprint.images) == 5
    records = stage.store.get_images(found.sources)
    assert [record.labels.angle for record in records].count("profile-right") == 1
