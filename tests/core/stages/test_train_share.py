"""Two machines that train together, each with a folder of its own: what they learn, and what becomes of the other when one is gone."""

import signal
from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.stage import TRAIN
from flenwheel_core.store import Store
from tests.kit.machines_of_training import Side, begun_together, machine
from tests.kit.run_here import run_here
from tests.kit.short_training import request

SHORT = {"steps": 24, "warmup_steps": 1, "checkpoint_every": 2, "log_every": 1}
DRAWN = {"prior": {"images": 1}, "sampling": {"every_steps": 12, "prompts": 1}}


def asked(store: str, *, hosts: int, batch_size: int) -> TrainRequest:
    whole = request(Store(store))
    changes = {"hosts": hosts, "batch_size": batch_size, **SHORT, **DRAWN}
    recipe = whole.recipe.model_validate(whole.recipe.model_dump() | changes)
    return whole.model_copy(update={"recipe": recipe})


def after_step(side: Side, step: int) -> None:
    while not side.over() and max(side.steps(), default=0) < step:
        continue
    assert max(side.steps(), default=0) >= step, "".join(side.errors)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """What two machines learn that nobody disturbs."""
    folder = tmp_path_factory.mktemp("unbroken")
    machines = machine(folder, "rack-1"), machine(folder, "rack-2")
    sides = begun_together(asked(machines[0].store_url, hosts=2, batch_size=1), "a", *machines)
    ends = [side.end() for side in sides]
    assert [code for code, _ in ends] == [0, 0], [side.errors for side in sides]
    return TrainResult.model_validate(ends[0][1])


@pytest.mark.slow
def test_two_machines_learn_what_one_learns(tmp_path: Path, unbroken: TrainResult) -> None:
    assert [point.step for point in unbroken.losses] == list(range(1, 25))
    assert [sample.step for sample in unbroken.samples] == [0, 12, 24]
    alone = Settings(workspace=tmp_path / "alone", gpu="cpu")
    one = run_here(TRAIN, asked(alone.store_url, hosts=1, batch_size=2), alone, lambda event: None)
    for mine, theirs in zip(one.losses, unbroken.losses, strict=True):
        assert theirs.loss == pytest.approx(mine.loss, abs=1e-5)


@pytest.mark.slow
def test_a_training_goes_on_from_its_checkpoint_whichever_machine_was_lost(
    tmp_path: Path, unbroken: TrainResult
) -> None:
    first, second = machine(tmp_path, "rack-1"), machine(tmp_path, "rack-2")
    training = asked(first.store_url, hosts=2, batch_size=1)
    leader, share = begun_together(training, "b", first, second)
    after_step(leader, 4)
    share.cut_power()
    code, said = leader.end()
    assert (code, said["error"]) == (203, "LostMemberError"), said

    leader, share = begun_together(training, "c", second, first)  # the other way round: the state is in the store
    after_step(leader, 10)
    assert min(leader.steps()) > 2
    leader.cut_power()
    code, said = share.end()
    assert (code, said["error"]) == (203, "LostMemberError"), said

    leader, share = begun_together(training, "d", first, second)
    after_step(leader, 12)
    share.process.send_signal(signal.SIGTERM)  # all stop at the same step, and the leading one saves
    ends = [side.end() for side in (leader, share)]
    assert [(code, said["error"]) for code, said in ends] == [(203, "InterruptedStageError")] * 2, ends
    stopped_at = max(leader.steps())

    leader, share = begun_together(training, "e", first, second)
    ends = [side.end() for side in (leader, share)]
    assert [code for code, _ in ends] == [0, 0], ends
    assert min(leader.steps()) == stopped_at + 1
    assert TrainResult.model_validate(ends[0][1]) == unbroken


@pytest.mark.slow
def test_a_share_ends_by_itself_when_the_leading_machine_stands_still(tmp_path: Path) -> None:
    """Else it would hold its card's lock, and the next attempt would wait for that."""
    machines = machine(tmp_path, "rack-1"), machine(tmp_path, "rack-2", lease_seconds=10)
    leader, share = begun_together(asked(machines[0].store_url, hosts=2, batch_size=1), "f", *machines)
    try:
        after_step(leader, 2)
        leader.freeze()
        code, said = share.end()
    finally:
        leader.cut_power()
        share.cut_power()
    assert (code, said["error"]) == (203, "LostMemberError"), said
