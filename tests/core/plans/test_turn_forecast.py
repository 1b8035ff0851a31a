"""What a turn will take, counted from the recipe, and hours only from what was measured here."""

from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.left_out import leave_out
from flenwheel_core.plans.injected_cells import TRIAL_SEEDS
from flenwheel_core.plans.injection import ALPHAS, PREVIEW_LABELS
from flenwheel_core.plans.speeds import drawing, injecting, kind_of_work, known_speeds, remember_speed, training
from flenwheel_core.plans.turn_forecast import forecast_lines, forecast_turn
from flenwheel_core.recipes.choice import ChoiceRecipe
from flenwheel_core.recipes.doubts import DoubtsRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.inject import InjectionIdentity, InjectionPhoto, InjectionPrompt, InjectRequest
from flenwheel_core.stages.inject import planned
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


def test_what_the_captioner_alone_costs_is_told_and_what_was_left_out(tmp_path: Path) -> None:
    recipe, settings = load_recipe("klein_character"), settings_in(tmp_path)
    whole = forecast_turn(recipe, settings, first_turn=True)
    assert whole.captioner_bytes == pytest.approx(16.6e9, rel=0.01) and not whole.left_out
    assert any("of that for the captioner: 16.6 GB" in line for line in forecast_lines(whole, {}, settings))
    leave_out([recipe.models.captioner or ""], settings)
    less = forecast_turn(recipe, settings, first_turn=True)
    assert less.fetch_bytes == pytest.approx(16.0e9, rel=0.01) and less.captioner_bytes == 0
    lines = forecast_lines(less, {}, settings)
    assert "to fetch: 16.0 GB" in lines
    assert "left out here: captioner Qwen/Qwen2.5-VL-7B-Instruct@main" in lines


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


def test_what_injection_tries_and_draws_in_a_first_turn_is_counted(tmp_path: Path) -> None:
    plain, settings = load_recipe("flux_character_24gb"), settings_in(tmp_path)
    recipe = plain.model_copy(update={"enrich": plain.enrich.model_copy(update={"injected": 12})})
    first, without = (forecast_turn(one, settings, first_turn=True) for one in (recipe, plain))
    assert [(work.step, work.count) for work in first.works if work not in without.works] == [
        ("try injection", 56),
        ("inject, if the trial holds", 12),
    ]
    assert first.picture_bytes - without.picture_bytes == (56 + 12) * 1024 * 1024 * 3
    later = forecast_turn(recipe, settings, first_turn=False)
    assert later == forecast_turn(plain, settings, first_turn=False), "a later turn injects nothing"
    injected = injecting(recipe.models.base, recipe.generate.sampler)
    assert "try injection: 56 pictures, 3.0 s each, 3 min" in forecast_lines(first, {injected: 3.0}, settings)


def test_the_trial_is_planned_with_as_many_pictures_as_are_foretold(tmp_path: Path) -> None:
    recipe = load_recipe("nano")
    recipe = recipe.model_copy(update={"enrich": recipe.enrich.model_copy(update={"injected": 3})})
    foretold = next(
        work
        for work in forecast_turn(recipe, settings_in(tmp_path), first_turn=True).works
        if work.step == "try injection"
    )
    person = InjectionIdentity(name="mira", photos=(InjectionPhoto(image="0" * 64),))
    asked = InjectRequest(
        identities=(person,),
        strangers=(person,),
        features="nano",
        base=recipe.models.base,
        head="0" * 64,
        prompts=tuple(InjectionPrompt(text="a person", labels=labels) for labels in PREVIEW_LABELS),
        alphas=ALPHAS,
        seeds=TRIAL_SEEDS,
        sampler=recipe.generate.sampler,
        controls=("shuffled",),
    )
    assert len(planned(asked)) == foretold.count
    assert kind_of_work(asked) == foretold.kind
    assert kind_of_work(asked.model_copy(update={"controls": ("shuffled", "lora")})) is None, "of several kinds"


def test_the_passes_of_the_looks_are_told(tmp_path: Path) -> None:
    plain, settings = load_recipe("flux_character_24gb"), settings_in(tmp_path)
    assert not any(line.startswith("looks") for line in _lines(plain, settings))
    looking = plain.model_copy(update={"doubts": DoubtsRecipe(look=(0.05, 0.25))})
    said = "looks: 12 passes of the model forward for each picture of a training, at most; not in the time above"
    assert said in _lines(looking, settings), "eight at the first look, four at the later one"
    again = plain.model_copy(update={"doubts": DoubtsRecipe(look=(0.05, 0.25), leave_out=True)})
    assert said.replace("12", "20") in _lines(again, settings), "and eight in the training without doubtful pictures"


def _lines(recipe: Recipe, settings: Settings) -> list[str]:
    return forecast_lines(forecast_turn(recipe, settings, first_turn=True), {}, settings)
