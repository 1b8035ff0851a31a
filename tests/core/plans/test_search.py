import math

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.plans.search import SearchSpace, Trial, search, smallest_near_best, sweep
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.train import TrainItem, TrainRequest, TrainResult

DIGEST = "0" * 64
SPACE = SearchSpace(ranks=(4, 8, 16), learning_rates=(1e-5, 1e-2), steps=(100, 200), strengths=(0.8, 1.0))


def request() -> TrainRequest:
    return TrainRequest(
        character=CharacterRef(name="ana", trigger="ohwx", class_word="person", kind="person"),
        name="ana-v1",
        items=(TrainItem(image=DIGEST, caption="photo of ohwx person", real=True),),
        base="nano",
        recipe=TrainingRecipe(steps=150, learning_rate=3e-5),
        seed=1,
        sampler=Sampler(),
    )


def train(asked: TrainRequest) -> TrainResult:
    """Stands for training: keeps what was asked for."""
    recipe = asked.recipe
    lora = LoraRecord(
        digest=DIGEST,
        name=f"{recipe.lora.rank} {recipe.learning_rate} {recipe.steps}",
        target="generator",
        base_model="nano",
        trigger=None,
        class_word=None,
        rank=recipe.lora.rank,
        alpha=1.0,
        steps=recipe.steps,
        images=1,
        dataset=DIGEST,
        request=asked.key(),
    )
    return TrainResult(lora=lora, losses=(), samples=())


def score(trained: TrainResult, strength: float) -> float:
    """Best at rank 8, a rate of 1e-3, 200 steps and strength 1."""
    rank, rate, steps = (float(part) for part in trained.lora.name.split())
    return -abs(math.log10(rate) + 3) - abs(rank - 8) / 8 - (steps != 200) - abs(strength - 1)


def run(trials: int, seed: int = 0) -> tuple[Trial, ...]:
    return search(request(), SPACE, trials=trials, seed=seed, train=train, score=score)


def test_it_finds_a_better_setting_than_the_given_one_and_is_repeatable() -> None:
    found = run(40)
    given = next(trial for trial in found if trial.recipe == request().recipe)
    assert found[0].score > given.score + 1
    assert 3e-4 < found[0].recipe.learning_rate < 3e-3 and found[0].recipe.steps == 200
    assert [trial.score for trial in run(40)] == [trial.score for trial in found]


def test_the_given_setting_is_always_tried_so_the_best_is_never_worse() -> None:
    assert run(1)[0].recipe == request().recipe
    assert all(trial.score <= run(6)[0].score for trial in run(6))


def test_trials_change_only_what_the_space_names() -> None:
    for trial in run(10):
        same = trial.recipe.model_copy(update={"learning_rate": 3e-5, "steps": 150, "lora": request().recipe.lora})
        assert same == request().recipe
        assert trial.recipe.lora.rank in (*SPACE.ranks, request().recipe.lora.rank)


def test_a_sweep_tries_every_rank_on_every_choice_of_blocks_at_equal_steps() -> None:
    blocks = (("all",), ("single_late", "double:0"))
    found = sweep(request(), ranks=(4, 8), blocks=blocks, train=train, score=score)
    assert {(trial.recipe.lora.rank, trial.recipe.lora.blocks) for trial in found} == {
        (rank, where) for rank in (4, 8) for where in blocks
    }
    assert {(trial.recipe.steps, trial.recipe.learning_rate) for trial in found} == {(150, 3e-5)}
    assert found[0].recipe.lora.rank == 8


def test_the_smallest_file_is_chosen_among_those_that_lose_little() -> None:
    found = sweep(request(), ranks=(4, 7, 8), blocks=(("all",),), train=train, score=score)
    size = lambda trial: trial.recipe.lora.rank  # noqa: E731
    assert [smallest_near_best(found, size, within=share).recipe.lora.rank for share in (0, 0.05, 0.3)] == [8, 7, 4]
