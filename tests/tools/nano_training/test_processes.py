"""Divided work is done by processes that have nothing of this one."""

import threading

from tools.nano_training.processes import processes

MINE = threading.Event()


def other(number: int) -> tuple[int, bool]:
    return number, MINE.is_set()


def test_processes_begin_afresh_whatever_this_one_holds() -> None:
    MINE.set()
    with processes(2) as pool:
        assert list(pool.map(other, range(3))) == [(0, False), (1, False), (2, False)]
