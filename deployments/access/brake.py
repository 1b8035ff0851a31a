"""Slows down whoever guesses tokens: each client for itself, and all of them together.

A client that sent wrong tokens waits ever longer before the next one is looked at, up to a minute. Nobody is locked out for good: a
browser that is logged in is never held up, and a client that sent the right token lately is not held up by what others do.
"""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE_TRIES = 5
LONGEST_WAIT_SECONDS = 60.0
FORGOTTEN_SECONDS = 15 * 60.0
ALL_TRIES_A_MINUTE = 60
KNOWN_SECONDS = 86400.0
MOST_CLIENTS = 4096


@dataclass
class _Record:
    wrong: int = 0
    last: float = 0.0

    def wait(self, now: float) -> float:
        if self.wrong < FREE_TRIES:
            return 0.0
        pause = min(LONGEST_WAIT_SECONDS, 2.0 ** min(self.wrong - FREE_TRIES, 10))
        return max(0.0, self.last + pause - now)


class Brake:
    """Counts wrong tokens in memory; a restart forgets them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._clients: OrderedDict[str, _Record] = OrderedDict()
        self._known: OrderedDict[str, float] = OrderedDict()
        self._all = float(ALL_TRIES_A_MINUTE)
        self._counted = clock()

    def wait_seconds(self, client: str) -> float:
        """How long this client must wait before its next token is looked at; 0 if it need not."""
        with self._lock:
            now = self._clock()
            record = self._clients.get(_group(client))
            if record is not None and now - record.last > FORGOTTEN_SECONDS:
                record = None
            own = 0.0 if record is None else record.wait(now)
            self._refill(now)
            known = now - self._known.get(_group(client), -KNOWN_SECONDS) < KNOWN_SECONDS
            shared = 0.0 if known or self._all >= 1 else (1 - self._all) * 60 / ALL_TRIES_A_MINUTE
            return max(own, shared)

    def wrong(self, client: str) -> None:
        """A token was wrong."""
        with self._lock:
            now = self._clock()
            self._refill(now)
            self._all = max(0.0, self._all - 1)
            record = self._clients.setdefault(_group(client), _Record())
            if now - record.last > FORGOTTEN_SECONDS:
                record.wrong = 0
            record.wrong, record.last = record.wrong + 1, now
            self._clients.move_to_end(_group(client))
            if len(self._clients) > MOST_CLIENTS:
                self._clients.popitem(last=False)

    def right(self, client: str) -> None:
        """A token was right: earlier slips of this client are forgotten."""
        with self._lock:
            self._clients.pop(_group(client), None)
            self._known[_group(client)] = self._clock()
            self._known.move_to_end(_group(client))
            if len(self._known) > MOST_CLIENTS:
                self._known.popitem(last=False)

    def _refill(self, now: float) -> None:
        self._all = min(float(ALL_TRIES_A_MINUTE), self._all + (now - self._counted) * ALL_TRIES_A_MINUTE / 60)
        self._counted = now


def _group(client: str) -> str:
    """Whoever has an IPv6 address has a whole network of them."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
