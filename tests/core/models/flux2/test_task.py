"""Training goes the way the pipeline draws: the same tensors, the same time, the right sign."""

import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.engine.flow_matching import noisy_input, velocity_target
from flenwheel_core.models.flux2.adapter import put_on
from flenwheel_core.models.flux2.drawing import Drawing, draw, initial_noise
from flenwheel_core.models.flux2.geometry import Latents, log_shift
from flenwheel_core.models.flux2.task import KleinEditTask, KleinItem, KleinLesson, KleinTask
from flenwheel_core.recipes.train import LoraRecipe, SigmaRecipe, TrainingRecipe
from flenwheel_core.transformer import character_task as character_task_module
from flenwheel_core.transformer import edit_task as edit_task_module
from tests.kit.tiny_klein import SCHEDULE, TEXT_WIDTH, tiny_transformer, trained

ROWS, COLUMNS = 3, 4
SIZE = COLUMNS * 16, ROWS * 16
CPU = torch.device("cpu")


def numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


PROMPT, EMPTY = numbers(5, 3 * TEXT_WIDTH, seed=1), numbers(5, 3 * TEXT_WIDTH, seed=2)
TARGET = Latents(numbers(ROWS * COLUMNS, 16, seed=3), ROWS, COLUMNS)
REFERENCES = (Latents(numbers(ROWS * COLUMNS, 16, seed=4), ROWS, COLUMNS), Latents(numbers(6, 16, seed=5), 2, 3))
RECIPE = TrainingRecipe.model_validate({"batch_size": 2, "prior": {"share": 0.0}, "learning_rate": 1e-2})


def character_task(adapted: AdaptedTransformer, **changes: object) -> KleinTask:
    recipe = RECIPE.model_copy(update=changes)
    item = KleinItem(f"{SIZE[0]}x{SIZE[1]}", TARGET.tokens, PROMPT)
    return KleinTask(adapted, recipe, [item, item], [], EMPTY, seed=1, sample=lambda step: None)


def edit_task(adapted: AdaptedTransformer, references: tuple[Latents, ...] = REFERENCES) -> KleinEditTask:
    lesson = KleinLesson(TARGET, references, PROMPT, EMPTY)
    return KleinEditTask(adapted, RECIPE, [lesson, lesson], seed=1, dtype=torch.float32)


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(**SCHEDULE)


@torch.no_grad()
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_training_forward_is_a_denoising_call(count: int) -> None:
    """One step from pure noise: drawing and the trainer's prediction move the latents to the same place."""
    adapted, references = trained(LoraRecipe(rank=4)), REFERENCES[:count]
    drawing = Drawing(SIZE, seed=5, steps=1, prompt=PROMPT, references=references)
    drawn = draw(adapted.transformer, scheduler(), drawing, CPU)
    noise = initial_noise(SIZE, 16, 5)
    if references:
        task, lesson = edit_task(adapted, references), KleinLesson(TARGET, references, PROMPT, EMPTY)
        velocity = task.predictor([lesson])(**task.inputs([lesson], noise, torch.ones(1), [PROMPT]))
    else:
        plain = character_task(adapted)
        given = plain.texts([PROMPT]) | plain.places(f"{SIZE[0]}x{SIZE[1]}", len(PROMPT))
        velocity = plain.predict(noise, torch.ones(1), **given)
    torch.testing.assert_close(noise - velocity, drawn)


@torch.no_grad()
def test_the_targets_velocity_is_what_the_pipelines_scheduler_integrates_to_the_picture() -> None:
    """From any noise level, steps along `noise - picture` by the scheduler end at the picture, and along the opposite they do not."""
    steps, clean, noise = scheduler(), TARGET.tokens[None], numbers(1, ROWS * COLUMNS, 16, seed=9)
    for sign in (1, -1):
        steps.set_timesteps(sigmas=torch.linspace(1.0, 0.25, 4).numpy(), mu=log_shift(ROWS * COLUMNS, 4))
        latents = noise.clone()
        for time in steps.timesteps:
            sigma = (time / 1000)[None]
            if sign == 1:  # the model is asked at the very noise level that training calls sigma
                torch.testing.assert_close(latents, noisy_input(clean, noise, sigma), atol=1e-5, rtol=1e-5)
            latents = steps.step(sign * velocity_target(clean, noise), time, latents, return_dict=False)[0]
        assert torch.allclose(latents, clean, atol=1e-5) == (sign == 1)


@pytest.mark.parametrize("kind", ["character", "edit"])
def test_training_moves_what_is_drawn_towards_the_picture(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sign test: after some steps the drawing itself, by the pipeline's scheduler, is nearer to the trained picture; with the other
    sign, whose loss goes down just as well, it is farther away."""
    references = () if kind == "character" else REFERENCES

    def moved() -> float:
        adapted = put_on(tiny_transformer(), LoraRecipe(rank=8), seed=0)
        task = character_task(adapted) if kind == "character" else edit_task(adapted)
        optimizer = torch.optim.Adam(list(adapted.parameters.values()), lr=3e-2)
        before = distance(adapted)
        for index in range(14):
            optimizer.zero_grad()
            task.loss(index).backward()
            optimizer.step()
        return distance(adapted) / before

    def distance(adapted: AdaptedTransformer) -> float:
        drawing = Drawing(SIZE, seed=5, steps=4, prompt=PROMPT, references=references)
        return float((draw(adapted.transformer, scheduler(), drawing, CPU)[0] - TARGET.tokens).square().mean())

    assert moved() < 0.97
    for module in (character_task_module, edit_task_module):
        monkeypatch.setattr(module, "velocity_target", lambda clean, noise: clean - noise)
    assert moved() > 1.03


def test_a_step_moves_the_prediction_towards_the_target_and_not_away() -> None:
    adapted = put_on(tiny_transformer(), LoraRecipe(rank=4), seed=0)
    task = character_task(adapted)
    arguments = task._arguments(0, [(task._items[0], False)] * 2, [0, 1])
    given = {name: value for name, value in arguments.items() if name != "target"}
    before = task.predict(**given)
    optimizer = torch.optim.SGD(list(adapted.parameters.values()), lr=1e-2)
    task.loss(0).backward()
    optimizer.step()
    with torch.no_grad():
        moved = task.predict(**given) - before
    assert (moved * (arguments["target"] - before)).sum() > 0


def test_losses_depend_on_seed_and_index_only() -> None:
    for task in (character_task(trained(LoraRecipe(rank=4))), edit_task(trained(LoraRecipe(rank=4)))):
        losses = [task.loss(index).item() for index in range(4)]
        assert task.loss(2).item() == losses[2] and len(set(losses)) == 4


def test_references_and_text_are_seen_and_only_the_target_is_judged() -> None:
    adapted = trained(LoraRecipe(rank=4))
    base = edit_task(adapted).loss(0).item()
    assert edit_task(adapted, REFERENCES[:1]).loss(0).item() != base
    assert edit_task(adapted, REFERENCES[::-1]).loss(0).item() != base
    lesson = KleinLesson(TARGET, REFERENCES, PROMPT, EMPTY)
    predicted = edit_task(adapted).predictor([lesson])(
        **edit_task(adapted).inputs([lesson], TARGET.tokens[None], torch.ones(1), [PROMPT])
    )
    assert predicted.shape == (1, len(TARGET.tokens), 16)
    assert lesson.tokens == 12 + 12 + 6 + 5 and lesson.bucket == "64x48+64x48+48x32"


def test_noise_levels_are_shifted_as_the_base_models_are_drawn() -> None:
    assert character_task(trained(LoraRecipe(rank=4))).shift(4096) == pytest.approx(math.exp(2.02), rel=0.01)
    one, other = (
        character_task(trained(LoraRecipe(rank=4)), sigma=sigma).loss(0).item()
        for sigma in (SigmaRecipe(), SigmaRecipe(shift="none"))
    )
    assert one != other
