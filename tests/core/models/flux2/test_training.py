"""Both trainers on a tiny klein: exact resume, files that are worn, regions, storages, refusals before anything loads."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.base.errors import InputError, InterruptedStageError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.edit_job import EditLesson, EditTrainJob
from flenwheel_core.engine.job import TrainJob
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.family_options import option_problems
from flenwheel_core.models.flux2.artist import open_artist
from flenwheel_core.models.flux2.edit_trainer import encode_lessons, train_editor
from flenwheel_core.models.flux2.family import FAMILY
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.trainer import train_lora
from flenwheel_core.models.protocols import EditJob, GenerateJob, ModelSetup
from flenwheel_core.recipes.train import LoraRecipe
from tests.kit.character_runs import RECIPE, character_job, first_step_without_masks, hooks, largest_difference
from tests.kit.tiny_editor import picture

PROMPT = "photo of ohwx person"
SAMPLER = Sampler(steps=2, guidance=1.0, true_cfg=2.0, width=64, height=64)
EDITS = RECIPE.model_copy(update={"sampling": RECIPE.sampling.model_copy(update={"every_steps": 0})})


def changed_job(folder: Path, **recipe: object) -> TrainJob:
    return character_job(folder, SAMPLER, PROMPT, "ohwx", RECIPE.model_copy(update=recipe))


def lesson(target: Image.Image | None = None, *further: Image.Image) -> EditLesson:
    right = target or picture(70, 60, 2)
    return EditLesson(
        "smiling",
        lambda: picture(70, 60, 1),
        lambda: right,
        load_rejected=lambda: picture(70, 60, 3),
        load_references=tuple(partial(Image.Image.copy, one) for one in further),
    )


def edit_job(folder: Path, *lessons: EditLesson, **changes: object) -> EditTrainJob:
    chosen = {"lessons": lessons or (lesson(),), "recipe": EDITS, **changes}
    weights = {"changed_weight": 2.0, "kept_weight": 1.0, "mistake_weight": 2.0}
    return EditTrainJob(run="run", name="lesson", seed=3, folder=folder, **weights, **chosen)  # type: ignore[arg-type]


@pytest.fixture
def cache(tmp_path: Path) -> TensorCache:
    return TensorCache(tmp_path / "cache")


@pytest.mark.slow
def test_a_stopped_character_run_goes_on_to_the_same_bytes(
    model: Flux2Model, cache: TensorCache, tmp_path: Path
) -> None:
    whole = train_lora(model, changed_job(tmp_path / "a"), hooks(), cache)
    with pytest.raises(InterruptedStageError):
        train_lora(model, changed_job(tmp_path / "b"), hooks(stop_after=2), cache)
    resumed = train_lora(model, changed_job(tmp_path / "b"), hooks(), cache)
    assert resumed.lora == whole.lora and resumed.losses == whole.losses
    unmasked = train_lora(model, first_step_without_masks(changed_job(tmp_path / "c")), hooks(), cache)
    assert unmasked.losses[0].loss != whole.losses[0].loss
    assert [sample.step for sample in whole.samples] == [0, 4] and all(s.path.exists() for s in whole.samples)
    facts = file_metadata(whole.lora)
    assert facts["modelspec.trigger_phrase"] == "ohwx" and facts["modelspec.architecture"] == "flux-2-klein/lora"
    assert any("lora_B" in name and bool(tensor.any()) for name, tensor in load(whole.lora).items())


@pytest.mark.slow
def test_a_stopped_edit_run_goes_on_to_the_same_bytes_and_its_file_is_worn(
    model: Flux2Model, klein_folder: Path, settings: Settings, cache: TensorCache, tmp_path: Path
) -> None:
    whole = train_editor(model, edit_job(tmp_path / "a"), hooks(), cache)
    with pytest.raises(InterruptedStageError):
        train_editor(model, edit_job(tmp_path / "b"), hooks(stop_after=2), cache)
    assert train_editor(model, edit_job(tmp_path / "b"), hooks(), cache).lora == whole.lora
    (tmp_path / "lora.safetensors").write_bytes(whole.lora)
    made = []
    for weight in (0.0, 1.0):
        loras = (LoraFile(tmp_path / "lora.safetensors", weight),)
        with open_artist(klein_folder, "tiny", settings, ModelSetup(loras=loras)) as both:
            jobs = both.edit([EditJob("a", "smiling", 1, SAMPLER, (picture(64, 64, 1),))])
            made += [next(jobs).image, next(both.generate([GenerateJob("b", PROMPT, 1, SAMPLER)])).image]
    changed = [largest_difference(one, two) for one, two in zip(made[:2], made[2:], strict=True)]
    assert min(changed) > 1


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["fp8", "nf4"])
def test_quantised_weights_train_both(model: Flux2Model, cache: TensorCache, tmp_path: Path, storage: str) -> None:
    notes: list[str] = []
    job = changed_job(
        tmp_path / "a",
        weight_format=storage,
        steps=1,
        sampling=EDITS.sampling,
        prior=RECIPE.prior.model_copy(update={"method": "off"}),
    )
    assert train_lora(model, job, hooks(notes=notes), cache).losses[0].loss > 0
    edits = edit_job(tmp_path / "b", recipe=EDITS.model_copy(update={"steps": 1}), storage=storage)
    assert train_editor(model, edits, hooks(notes=notes), cache).losses[0].loss > 0
    assert sum(f"{storage} weights" in note for note in notes) == 2


def test_quantised_weights_and_dora_are_refused_before_anything_loads(
    model: Flux2Model, cache: TensorCache, tmp_path: Path
) -> None:
    recipe = EDITS.model_copy(update={"lora": LoraRecipe(rank=2, dora=True)})
    with pytest.raises(RecipeError, match="nf4 weights cannot be combined"):
        train_editor(model, edit_job(tmp_path, recipe=recipe, storage="nf4"), hooks(), cache)


def test_lessons_are_placed_as_the_editor_draws(model: Flux2Model, cache: TensorCache, tmp_path: Path) -> None:
    same, other = encode_lessons(model, edit_job(tmp_path, lesson(), lesson(picture(100, 60, 2)), anchor=1.0), cache)
    assert same.bucket == other.bucket == "64x48+64x48"
    region, wrong = same.weights.region, same.weights.wrong
    assert region is not None and region.shape == (12, 1) and float(region.max()) > 1
    assert wrong is not None and float(wrong.max()) == pytest.approx(1.0)
    assert not torch.equal(same.prompt, same.empty) and len(same.prompt) == 64


@pytest.mark.slow
def test_lessons_of_several_references_train_beside_others_and_go_on_to_the_same_bytes(
    model: Flux2Model, cache: TensorCache, tmp_path: Path
) -> None:
    given = lesson(), lesson(None, picture(200, 100, 5), picture(40, 50, 6))
    one, several = encode_lessons(model, edit_job(tmp_path, *given), cache)
    assert one.bucket == "64x48+64x48" and several.bucket == "64x48+64x48+80x32+32x48"
    assert torch.equal(several.target, one.target) and torch.equal(
        several.references[0].tokens, one.references[0].tokens
    )
    whole = train_editor(model, edit_job(tmp_path / "a", *given), hooks(), cache)
    with pytest.raises(InterruptedStageError):
        train_editor(model, edit_job(tmp_path / "b", *given), hooks(stop_after=2), cache)
    assert train_editor(model, edit_job(tmp_path / "b", *given), hooks(), cache).lora == whole.lora
    swapped = lesson(), lesson(None, picture(40, 50, 6), picture(200, 100, 5))
    assert train_editor(model, edit_job(tmp_path / "c", *swapped), hooks(), cache).losses != whole.losses


def test_distilled_guidance_and_the_anchor_change_what_is_aimed_at(
    model: Flux2Model, cache: TensorCache, tmp_path: Path
) -> None:
    one_step = EDITS.model_copy(update={"steps": 1})
    approved = replace(lesson(), load_rejected=None, approved=True)
    plain, guided, anchored = (
        train_editor(model, edit_job(tmp_path / name, approved, recipe=one_step, **more), hooks(), cache).losses[0].loss
        for name, more in (("a", {}), ("b", {"distilled_guidance": 3.0}), ("c", {"anchor": 1.0}))
    )
    assert guided != plain
    assert anchored == pytest.approx(
        0.0, abs=1e-8
    )  # the new LoRA changes nothing yet, and nothing was wrong with the answer


def test_a_corrected_edit_teaches_that_it_is_better_than_the_rejected_one(
    model: Flux2Model, cache: TensorCache, tmp_path: Path
) -> None:
    given = lesson(), lesson(None, picture(200, 100, 5))
    job = edit_job(tmp_path, *given, corrections_teach="comparison")
    for example in encode_lessons(model, job, cache):
        assert example.rejected is not None and example.rejected.shape == example.target.shape
        assert not torch.equal(example.rejected, example.target)
    assert all(point.loss > 0 for point in train_editor(model, job, hooks(), cache).losses)


def test_no_lessons_and_guidance_are_refused_in_words(model: Flux2Model, cache: TensorCache, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no triplets"):
        train_editor(model, edit_job(tmp_path, lessons=()), hooks(), cache)
    assert "no guidance embedding" in option_problems(FAMILY, RECIPE.model_copy(update={"guidance": 3.5}))[0]
    assert option_problems(FAMILY, RECIPE) == []
