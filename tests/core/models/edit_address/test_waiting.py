"""A stop is heard while an address is waited for, and an edit that is paid is taken if it comes soon."""

import threading
import time

import pytest

from flenwheel_core.base.errors import InterruptedStageError, ServerError
from flenwheel_core.models.edit_address.waiting import GRACE_SECONDS, answer_of, pause
from flenwheel_core.runner.launch import STOP_SECONDS


def stop_after(seconds: float) -> threading.Event:
    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    return stop


def test_an_answer_comes_back_and_so_does_an_error() -> None:
    assert answer_of(lambda: 7, threading.Event()) == 7

    def refuse() -> int:
        raise ServerError("no")

    with pytest.raises(ServerError, match="no"):
        answer_of(refuse, threading.Event())


def test_an_answer_within_the_grace_is_taken_although_a_stop_came() -> None:
    def slowly() -> str:
        time.sleep(0.6)
        return "paid"

    assert answer_of(slowly, stop_after(0.05), grace_seconds=20) == "paid"


def test_an_answer_that_does_not_come_does_not_hold_a_stop_up() -> None:
    never, began = threading.Event(), time.monotonic()
    with pytest.raises(InterruptedStageError, match="waited for an edit"):
        answer_of(never.wait, stop_after(0.05), grace_seconds=0.1)
    assert time.monotonic() - began < 10
    never.set()
    assert GRACE_SECONDS < STOP_SECONDS, "a stage that is told to stop is killed after that"


def test_a_stop_ends_a_pause() -> None:
    began = time.monotonic()
    with pytest.raises(InterruptedStageError):
        pause(60, stop_after(0.05))
    assert time.monotonic() - began < 10
    pause(0.01, threading.Event())
