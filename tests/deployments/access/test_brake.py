"""How guessing is slowed."""

from dataclasses import dataclass

import pytest

from deployments.access.brake import (
    ALL_TRIES_A_MINUTE,
    FORGOTTEN_SECONDS,
    FREE_TRIES,
    KNOWN_SECONDS,
    LONGEST_WAIT_SECONDS,
    MOST_CLIENTS,
    Brake,
)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def brake(clock: Clock) -> Brake:
    return Brake(clock)


def guesses(brake: Brake, clock: Clock, client: str, seconds: float) -> int:
    """How many guesses a client gets in, asking ten times a second."""
    end, count = clock.now + seconds, 0
    while clock.now < end:
        if brake.wait_seconds(client) == 0:
            brake.wrong(client)
            count += 1
        clock.now += 0.1
    return count


def test_a_slip_costs_nothing_and_guessing_ever_more(brake: Brake, clock: Clock) -> None:
    waits = []
    for _ in range(FREE_TRIES + 9):
        waits.append(brake.wait_seconds("203.0.113.9"))
        clock.now += waits[-1]
        brake.wrong("203.0.113.9")
    assert waits[:FREE_TRIES] == [0.0] * FREE_TRIES
    assert waits[FREE_TRIES:] == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])
    assert brake.wait_seconds("198.51.100.7") == 0, "others are not held up"


def test_an_hour_of_guessing_gets_few_guesses_in(brake: Brake, clock: Clock) -> None:
    assert guesses(brake, clock, "203.0.113.9", 3600) < 80


def test_nobody_is_locked_out_for_good(brake: Brake, clock: Clock) -> None:
    guesses(brake, clock, "203.0.113.9", 600)
    clock.now += LONGEST_WAIT_SECONDS
    assert brake.wait_seconds("203.0.113.9") == 0
    brake.right("203.0.113.9")
    brake.wrong("203.0.113.9")
    assert brake.wait_seconds("203.0.113.9") == 0, "the right token clears the slate"
    guesses(brake, clock, "203.0.113.9", 600)
    clock.now += FORGOTTEN_SECONDS + 1
    brake.wrong("203.0.113.9")
    assert brake.wait_seconds("203.0.113.9") == 0


def test_many_addresses_together_are_slowed_too(brake: Brake, clock: Clock) -> None:
    tried = 0
    for number in range(3000):
        if brake.wait_seconds(f"203.0.{number // 250}.{number % 250}") == 0:
            brake.wrong(f"203.0.{number // 250}.{number % 250}")
            tried += 1
        clock.now += 0.02
    assert tried <= 2 * ALL_TRIES_A_MINUTE + 1, "a minute"
    clock.now += 1
    assert brake.wait_seconds("198.51.100.7") == 0, "somebody else gets a turn within a second"


def test_who_knew_the_token_is_not_held_up_by_what_others_do(brake: Brake, clock: Clock) -> None:
    brake.right("198.51.100.7")
    for number in range(2 * ALL_TRIES_A_MINUTE):
        brake.wrong(f"203.0.113.{number}")
    assert brake.wait_seconds("198.51.100.8") > 0
    assert brake.wait_seconds("198.51.100.7") == 0
    assert guesses(brake, clock, "198.51.100.7", 60) < 20, "but by its own guesses"
    clock.now += KNOWN_SECONDS
    for number in range(2 * ALL_TRIES_A_MINUTE):
        brake.wrong(f"203.0.113.{number}")
    assert brake.wait_seconds("198.51.100.7") > 0


def test_an_ipv6_network_is_one_client(brake: Brake) -> None:
    for number in range(FREE_TRIES):
        brake.wrong(f"2001:db8::{number}")
    assert brake.wait_seconds("2001:db8::ffff") > 0
    assert brake.wait_seconds("2001:db8:1::1") == 0


def test_memory_is_bounded(brake: Brake) -> None:
    for number in range(MOST_CLIENTS + 50):
        brake.wrong(f"client {number}")
    assert len(brake._clients) == MOST_CLIENTS
