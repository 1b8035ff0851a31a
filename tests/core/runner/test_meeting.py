"""How machines of one training find each other, and find out that one is gone."""

import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.kit.workspace import wait_for
from flenwheel_core.base.errors import (
    FlenwheelError,
    LostMemberError,
    OutOfMemoryError,
    ResourceError,
    RetryableError,
)
from flenwheel_core.base.settings import Settings
from flenwheel_core.runner import meeting
from flenwheel_core.runner.meeting import Gathering, Meeting, Watch
from flenwheel_core.store import Store

SLOTS = ("rack-1:0", "rack-2:0", "rack-3:0")
KEY = "a" * 64


@pytest.fixture(autouse=True)
def _short_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(meeting, "LOOK_SECONDS", 0.02)


def watches(silent_seconds: float = 60.0) -> list[Watch]:
    """Of three machines at one table."""
    table = meeting.open_table(3)
    others = [meeting.come_to_table("127.0.0.1", table.port, silent_seconds) for _ in SLOTS[1:]]
    return [Watch(store, place, SLOTS, silent_seconds) for place, store in enumerate([table, *others])]


def until_lost(watch: Watch) -> FlenwheelError:
    wait_for(lambda: watch.lost() is not None, 60, lambda: "nothing was lost")
    lost = watch.lost()
    assert lost is not None
    return lost


def test_they_come_together_and_hear_each_other_to_the_end() -> None:
    first, second, third = watches()
    for watch in (first, second, third):
        watch.start()
    first.await_all(60, threading.Event(), "here")
    for watch in (second, third):
        watch.say(None)
        watch.stop()
    first.await_ends(60)
    assert first.lost() is None, "who has ended need not beat"
    first.stop()


def test_one_that_does_not_come_is_named() -> None:
    first, second, _ = watches()
    first.start()
    second.start()
    wait_for(lambda: 1 in first._heard, 60, lambda: "not heard")
    with pytest.raises(RetryableError, match=r"rack-3:0 did not come to the training within 0 s(.|\n)*10\.0\.0\.7"):
        first.await_all(0.2, threading.Event(), "10.0.0.7")
    second.stop()
    first.stop()


def test_one_that_falls_silent_is_lost_to_the_leading_machine_and_that_one_to_others() -> None:
    first, second, third = watches(silent_seconds=1.0)
    for watch in (first, second, third):
        watch.start()
    first.await_all(60, threading.Event(), "here")
    second.stop()
    lost = until_lost(first)
    assert isinstance(lost, LostMemberError) and "rack-2:0 has been silent" in lost.what
    assert third.lost() is None
    first.stop()
    assert "rack-1:0 has been silent" in until_lost(third).what
    third.stop()


def test_what_goes_wrong_on_another_machine_is_the_cause() -> None:
    first, second, third = watches()
    for watch in (first, second, third):
        watch.start()
    first.await_all(60, threading.Event(), "here")
    second.say(OutOfMemoryError("The card ran out of memory.", why="2 GiB"))
    cause = first.cause(LostMemberError("the others are gone"), 60)
    assert isinstance(cause, OutOfMemoryError) and cause.what == "rack-2:0: The card ran out of memory."
    first.say(cause)
    assert isinstance(until_lost(third), OutOfMemoryError)
    for watch in (first, second, third):
        watch.stop()


def test_an_error_that_nobody_explains_stays_what_it_is() -> None:
    first, *_ = watches()
    first.start()
    error = LostMemberError("gone")
    assert first.cause(error, 0.1) is error
    first.stop()


def test_a_meeting_is_found_by_its_attempt(tmp_path: Path) -> None:
    store = Store(tmp_path.as_uri())
    meeting.announce(store, KEY, Meeting(attempt="old", address="10.0.0.1", port=1))
    with pytest.raises(RetryableError, match="did not begin"):
        meeting.await_meeting(store, KEY, "new", 0.1)
    later = threading.Timer(
        0.1, lambda: meeting.announce(store, KEY, Meeting(attempt="new", address="10.0.0.2", port=2))
    )
    later.start()
    assert meeting.await_meeting(store, KEY, "new", 60).address == "10.0.0.2"
    later.join()
    meeting.call_off(store, KEY)
    assert list(store.files.list("stages")) == []


def test_a_stage_that_was_begun_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLENWHEEL_TEAM", raising=False)
    with pytest.raises(ResourceError, match="asks for 2 machines"):
        meeting.gathering_here(2)
    told = Gathering(attempt="a", address="10.0.0.1", slots=SLOTS[:2])
    for name, value in told.environment().items():
        monkeypatch.setenv(name, value)
    assert meeting.gathering_here(2) == told
    Settings()  # which knows the variable


@pytest.mark.parametrize(("machines", "reached"), [(1, False), (2, True)])
def test_a_single_machines_table_is_on_loopback_alone(machines: int, reached: bool) -> None:
    """All of 127.0.0.0/8 is this machine: what listens on all addresses is met at any of them."""
    table = meeting.open_table(machines)
    assert meeting.come_to_table("127.0.0.1", table.port, 60).add("there", 1) == 1
    with socket.socket() as probe:
        assert (probe.connect_ex(("127.0.0.2", table.port)) == 0) is reached


def test_a_table_that_is_not_reached_says_what_to_set() -> None:
    table = meeting.open_table(3)
    port = table.port
    del table
    with pytest.raises(RetryableError, match="FLENWHEEL_MEETING_ADDRESS"):
        meeting.come_to_table("127.0.0.1", port, 0.5)


def test_a_table_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RetryableError, match="no answer within"):
        meeting.come_to_table("127.0.0.1", silent.getsockname()[1], 0.3)


LEADING = """
import time
from flenwheel_core.runner.meeting import Watch, open_table
table = open_table(2)
watch = Watch(table, 0, ("rack-1:0", "rack-2:0"), 60.0)
watch.start()
print(table.port, flush=True)
time.sleep(600)
"""
ALONG = """
import sys
import time
from flenwheel_core.runner import meeting
meeting.BEAT_SECONDS = 0.05
watch = meeting.Watch(meeting.come_to_table("127.0.0.1", int(sys.argv[1]), 60.0), 1, ("rack-1:0", "rack-2:0"), 2.0)
watch.start()
print("there", flush=True)
sys.stdin.readline()
while (lost := watch.lost()) is None:
    time.sleep(0.1)
watch.say(lost)
watch.stop()
print(lost.what, flush=True)
"""


@pytest.mark.slow
def test_who_hears_nothing_from_a_leading_machine_that_stands_still_leaves() -> None:
    """Killed, its connections break; frozen, they stay, and torch waits for its answer without end."""

    def begun(script: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, *more]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with begun(LEADING) as leading:
        try:
            assert leading.stdout is not None
            with begun(ALONG, leading.stdout.readline().strip()) as along:
                try:
                    assert along.stdout is not None and along.stdout.readline() == "there\n"
                    leading.send_signal(signal.SIGSTOP)
                    said, _ = along.communicate("\n", timeout=240)
                finally:
                    along.kill()
            assert "rack-1:0 has been silent" in said and along.returncode == 0
        finally:
            leading.kill()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"meeting_address": "10.0.0.7", "server_url": "http://127.0.0.1:4200"}, "10.0.0.7"),
        ({"server_url": "http://127.0.0.1:4200"}, "127.0.0.1"),
        ({}, "127.0.0.1"),
    ],
)
def test_the_address_for_others_is_the_one_on_the_way_to_the_server(given: dict[str, str], found: str) -> None:
    assert meeting.own_address(Settings.model_validate(given)) == found


ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0
eth0 0000000A 00000000 0001 0 0 100 00FFFFFF 0 0 0
eth1 0000A8C0 00000000 0001 0 0 200 0000FFFF 0 0 0
wlan0 0000A8C0 00000000 0001 0 0 600 0000FFFF 0 0 0
"""


@pytest.mark.parametrize(
    ("address", "name"),
    [("127.0.0.1", "lo"), ("10.0.0.7", "eth0"), ("192.168.3.1", "eth1"), ("8.8.8.8", "eth0")],
)
def test_the_interface_is_the_one_on_the_way(tmp_path: Path, address: str, name: str | None) -> None:
    (tmp_path / "route").write_text(ROUTES)
    assert meeting.interface_to(address, tmp_path / "route") == name


def test_a_system_that_does_not_say_leaves_it_to_torch(tmp_path: Path) -> None:
    assert meeting.interface_to("10.0.0.7", tmp_path / "none") is None
