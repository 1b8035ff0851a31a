"""What a turn will take, counted from the recipe, and hours only from what was measured here."""

from pathlib import Path

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler
from flenwheel_core.plans.speeds import drawing, kind_of_work, known_speeds, remember_speed, training
from flenwheel_core.plans.turn_forecast import forecast_lines, forecast_turn
from flenwheel_core.recipes.choice import ChoiceRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.store import Store


def settings_in(folder: Path) -> Settings:
    return Settings(workspace=folder, gpu="cpu", models=folder / "models")


def test_pictures_steps_fetching_and_disk_are_counted_from_the_recipe(tmp_path: Path) -> None:
    recipe, settings = load_recipe("flux_character_24gb"), settings_in(tmp_path)
    first = forecast_turn(recipe, settings, first_turn=True)
    assert [(work.step, work.count) for work in first.works] == [
        ("enrich", 50),
        ("train v1", 1500),
        ("generate", 92),
        ("train challenger", 1500),
        ("benchmark", 108),
    ]
    later = forecast_turn(recipe, settings, first_turn=False)
    assert [(work.step, work.count) for work in later.works][-2:] == [("train challenger", 1500), ("benchmark", 54)]
    assert first.fetch_bytes is not None and first.fetch_bytes > 50e9
    assert first.picture_bytes == (50 + 92 + 108) * 1024 * 1024 * 3
    assert forecast_turn(load_recipe("nano"), settings, first_turn=True).fetch_bytes == 0


def test_hours_are_told_once_every_kind_of_work_was_measured(tmp_path: Path) -> None:
    recipe, settings = load_recipe("nano"), settings_in(tmp_path)
    forecast = forecast_turn(recipe, settings, first_turn=True)
    drawn = drawing("nano", recipe.generate.sampler)
    begun = forecast_lines(forecast, {drawn: 2.0}, settings)
    assert "enrich: 50 edits; not measured here yet" in begun
    assert "generate: 46 pictures, 2.0 s each, 2 min" in begun
    assert any(line.startswith("in all: 5 min and what is not measured yet (enrich, train v1") for line in begun)
    speeds = {drawn: 2.0, drawing("nano", recipe.enrich.sampler): 1.0, training("nano", recipe.train): 9.0}
    known = forecast_lines(forecast, speeds, settings)
    assert "train v1: 400 steps or more, as the pool grows, 9.0 s each, 60 min" in known
    assert any(line.startswith("in all: about 2.1 h of computing") for line in known)
    assert "to fetch: nothing" in known


def test_the_newest_speed_of_a_kind_counts_whatever_the_revision(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    sampler = Sampler(steps=20, true_cfg=4.0)
    request = GenerateRequest(
        character=CharacterRef(name="mira", trigger="ohwx_char", class_word="person", kind="person"),
        items=(),
        base="some/model@" + "a" * 40,
        sampler=sampler,
        turn=1,
    )
    work = kind_of_work(request)
    assert work == drawing("some/model@main", sampler) == "some/model 1024x1024, 40 calls"
    for seconds in (3.0, 2.0):
        remember_speed(store, work, seconds)
    assert known_speeds(store) == {work: 2.0}


def test_what_choosing_inside_a_training_draws_is_said_before(tmp_path: Path) -> None:
    recipe = load_recipe("flux_character_24gb")
    choosing = recipe.model_copy(update={"choice": ChoiceRecipe(states=(0.5, 0.75), strengths=(0.8, 1.0))})
    first = forecast_turn(choosing, settings_in(tmp_path), first_turn=True)
    drawn = {work.step: work.count for work in first.works if work.step.startswith("choose")}
    assert drawn == {"choose v1": 120, "choose challenger": 120}, "three states at two strengths, 12 each, and 2 x 24"
    assert "choose challenger: 120 pictures, 4.4 s each, 9 min" in forecast_lines(
        first, {drawing(recipe.models.base, recipe.generate.sampler): 4.4}, settings_in(tmp_path)
    )
    assert not [
        work for work in forecast_turn(recipe, settings_in(tmp_path), first_turn=True).works if "choose" in work.step
    ]
