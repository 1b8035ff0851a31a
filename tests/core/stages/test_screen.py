"""Screening on real pictures: outcomes, reasons, links between duplicates, and what it refuses to do."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import ImageFilter, ImageOps

from flenwheel_core.base.errors import InputError, MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ImageRecord, Labels
from flenwheel_core.documents.scores import BELIEFS, Screening
from flenwheel_core.nano.world import View, render, spoil
from flenwheel_core.recipes.screening import ScreeningRecipe
from flenwheel_core.requests.ingest import IngestResult
from flenwheel_core.requests.screen import ScreenRequest, ScreenResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.screen import screen
from flenwheel_core.store.pictures import load_picture
from tests.kit.stage_world import HERO, candidate, context, hero, ingested, sources, tiny_vision_model, views

RECIPE = ScreeningRecipe(duplicate_similarity=0.99999)
"""Random features see all pictures as alike: only equal ones may count as duplicates by them."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_vision_model(tmp_path_factory.mktemp("models") / "dino"))


@pytest.fixture
def stage(settings: Settings) -> StageContext:
    return context(settings)


@pytest.fixture
def known(stage: StageContext, model: str) -> IngestResult:
    return ingested(stage, model, sources(stage))


def request_for(
    stage: StageContext, known: IngestResult, model: str, candidates: list[ImageRecord], **options: object
) -> ScreenRequest:
    assert known.fingerprint is not None
    given = {
        "character": HERO,
        "images": stage.store.put_images(candidates),
        "references": known.sources,
        "fingerprint": known.fingerprint,
        "verifier": model,
        "recipe": RECIPE,
        **options,
    }
    return ScreenRequest.model_validate(given)


def rows_of(stage: StageContext, result: ScreenResult) -> tuple[Screening, ...]:
    return stage.store.get_screenings(result.screenings)


def new_view(number: int) -> View:
    return replace(views(60)[40 + number], seed=number)


def codes(row: Screening) -> list[str]:
    return [reason.code for reason in row.reasons]


def test_an_edit_that_zooms_its_source_passes_with_a_hint(stage: StageContext, known: IngestResult, model: str) -> None:
    source = stage.store.get_images(known.sources)[0]
    picture = load_picture(stage.store, source.digest)
    side = picture.width
    inner = (side * 0.04, side * 0.04, side * 0.96, side * 0.96)
    edits = [picture.resize(picture.size, box=inner), picture]
    candidates = []
    for number, edit in enumerate(edits):
        darker = edit.point(lambda value: int(value * 0.9))
        record = candidate(stage, darker, f"edit-{number}", source.labels)
        candidates.append(record.model_copy(update={"parents": (source.digest,)}))
    recipe = RECIPE.model_copy(update={"near_copy_bits": 0})
    zoomed, kept = rows_of(stage, screen(request_for(stage, known, model, candidates, recipe=recipe), stage))
    assert (zoomed.outcome, codes(zoomed)) == ("pass", ["identity_ok", "misaligned"])
    assert "misaligned" not in codes(kept)


def test_right_ones_pass_and_every_fault_has_its_reason(stage: StageContext, known: IngestResult, model: str) -> None:
    good = render(hero(), new_view(0))
    reference = render(hero(), views(12)[2])
    black = good.point(lambda value: value // 40)
    candidates = [
        candidate(stage, good, "good"),
        candidate(stage, good.filter(ImageFilter.GaussianBlur(5)), "soft"),
        candidate(stage, black, "black"),
        candidate(stage, reference.point(lambda value: int(value * 0.97)), "near-copy"),
        candidate(stage, ImageOps.mirror(reference), "mirrored"),
        candidate(stage, good.resize((60, 60)), "small"),
    ]
    result = screen(request_for(stage, known, model, candidates), stage)
    rows = {record.item: row for record, row in zip(candidates, rows_of(stage, result), strict=True)}
    assert rows["good"].outcome == "pass" and codes(rows["good"]) == ["identity_ok"]
    assert rows["good"].verifier == known.fingerprint.verifier and rows["good"].distance is not None  # type: ignore[union-attr]
    assert [rows[name].outcome for name in ("soft", "black", "near-copy", "mirrored", "small")] == ["fail"] * 5
    assert codes(rows["soft"])[0] == "blurred"
    assert "badly_exposed" in codes(rows["black"])
    assert "near_copy" in codes(rows["near-copy"])
    assert "mirrored" in next(reason.detail for reason in rows["mirrored"].reasons if reason.code == "near_copy")
    assert "too_small" in codes(rows["small"])
    assert (result.passed, result.failed) == (1, 5)


def test_of_duplicates_one_stays_and_the_others_point_to_it(
    stage: StageContext, known: IngestResult, model: str
) -> None:
    picture = render(hero(), new_view(1))
    sharp, soft = candidate(stage, picture, "a"), candidate(stage, picture.filter(ImageFilter.GaussianBlur(0.6)), "b")
    pooled = candidate(stage, render(hero(), new_view(2)), "pooled")
    again = candidate(stage, render(hero(), new_view(2)).point(lambda value: int(value * 0.98)), "again")
    pool = stage.store.put_images([pooled])
    result = screen(request_for(stage, known, model, [soft, sharp, again], pool=pool), stage)
    first, second, third = rows_of(stage, result)
    assert {first.outcome, second.outcome} == {"pass", "fail"}
    kept, lost = (first, second) if first.outcome == "pass" else (second, first)
    assert lost.duplicate_of == kept.image and codes(lost)[0] == "duplicate_of"
    assert third.duplicate_of == pooled.digest and third.outcome == "fail"


def test_a_damaged_picture_fails_alone(stage: StageContext, known: IngestResult, model: str) -> None:
    fine = candidate(stage, render(hero(), new_view(3)), "fine")
    broken = fine.model_copy(update={"digest": stage.store.put_blob(b"\x89PNG broken"), "item": "broken"})
    gone = fine.model_copy(update={"digest": "ab" * 32, "item": "gone"})
    rows = rows_of(stage, screen(request_for(stage, known, model, [broken, fine, gone]), stage))
    assert [codes(row)[0] for row in rows] == ["unreadable", "identity_ok", "unreadable"]


def test_screening_repeats_and_chunks_do_not_matter(
    stage: StageContext, known: IngestResult, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = [candidate(stage, render(hero(), new_view(number)), str(number)) for number in range(9)]
    request = request_for(stage, known, model, candidates)
    first = screen(request, stage)
    monkeypatch.setattr("flenwheel_core.stages.screen.CHUNK", 4)
    assert screen(request, stage) == first


def test_limits_of_the_recipe_come_before_the_fingerprints(
    stage: StageContext, known: IngestResult, model: str
) -> None:
    candidates = [candidate(stage, render(hero(), new_view(4)), "one")]
    narrow = ScreeningRecipe(identity_threshold=1e-6, unsure_above=2e-6)
    wide = ScreeningRecipe(identity_threshold=1e-6, unsure_above=1.9)
    by_recipe = {
        name: rows_of(stage, screen(request_for(stage, known, model, candidates, recipe=recipe), stage))[0].outcome
        for name, recipe in (("narrow", narrow), ("wide", wide))
    }
    assert by_recipe == {"narrow": "fail", "wide": "unsure"}


def test_a_missing_or_other_verifier_stops_the_stage(
    stage: StageContext, known: IngestResult, model: str, tmp_path: Path
) -> None:
    candidates = [candidate(stage, render(hero(), new_view(5)), "one", Labels(angle="front"))]
    with pytest.raises(MissingWeightsError):
        screen(request_for(stage, known, model, candidates, verifier=str(tmp_path / "nothing")), stage)
    other = known.fingerprint.model_copy(update={"verifier_version": "0" * 64})  # type: ignore[union-attr]
    with pytest.raises(InputError, match="another verifier"):
        screen(request_for(stage, known, model, candidates, fingerprint=other), stage)


def test_no_candidates_is_an_empty_table(stage: StageContext, known: IngestResult, model: str) -> None:
    result = screen(request_for(stage, known, model, []), stage)
    assert (result.passed, result.unsure, result.failed, rows_of(stage, result)) == (0, 0, 0, ())


def test_a_row_keeps_how_likely_its_face_is_spoiled(stage: StageContext, known: IngestResult, model: str) -> None:
    """Below the limit too: what screening lets pass, a critic may still weigh."""
    whole, bent = render(hero(), new_view(0)), spoil("smeared_face", hero(), new_view(0), 1).image
    candidates = [candidate(stage, picture, name) for picture, name in ((whole, "whole"), (bent, "bent"))]
    first, second = rows_of(stage, screen(request_for(stage, known, model, candidates, reader="nano"), stage))
    assert first.spoiled is not None and second.spoiled is not None and first.spoiled < second.spoiled
    (unread,) = rows_of(stage, screen(request_for(stage, known, model, candidates[:1]), stage))
    assert unread.spoiled is None and "spoiled" not in unread.model_dump()
    assert first.beliefs == unread.beliefs == BELIEFS, "limits are fitted to figures of one kind only"
