"""The process of a run that another machine took over leaves; one whose run is still its own stays, whatever the server says meanwhile."""

import pytest

from deployments.prefect.api import FlowRun, RunState
from deployments.prefect.fence import Fence, _watch


def run(worker: str | None, pid: str | None, state: str = "RUNNING") -> FlowRun:
    labels = {} if worker is None else {"prefect.worker.name": worker}
    found = RunState(type=state, name=state.title())
    return FlowRun(id="r", name="n", state=found, labels=labels, infrastructure_pid=pid)


@pytest.mark.parametrize(
    ("looks", "outside"),
    [
        ([run("here", None), run("here", "7")], False),
        ([run("here", "3"), run("here", "7"), run("here", "7")], False),  # 3: of an earlier start of the same run
        ([run("here", "3", "SCHEDULED")], False),  # its own start is not written down yet
        ([run("here", "7"), run("there", "7")], True),
        ([run("there", "9")], True),
        ([run("here", "7"), run("here", "8")], True),  # the same machine came back and began it again
        ([run("here", "host:7"), run("here", "host:7", "SCHEDULED")], True),  # taken back, begun by nobody yet
        ([run("here", "7"), run("here", "7", "PAUSED")], False),
        ([run(None, None)], False),
    ],
)
def test_whose_a_run_is(looks: list[FlowRun], outside: bool) -> None:
    fence = Fence("here", 7)
    assert [fence.is_outside(look) for look in looks][-1] is outside


def test_it_leaves_once_and_so_that_the_worker_reports_no_crash() -> None:
    looks = iter([False, False, True])
    codes: list[int] = []
    _watch(lambda: next(looks), 0.0, codes.append)
    assert codes == [0]
