"""Patience with a server that restarts, for the processes of runs: one that just begins need not crash because nobody listens yet."""

from functools import wraps
from typing import Any

from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient


def expect_a_server() -> None:
    """Makes Prefect's clients of this process try refused connections again from the first one on (PREFECT_CLIENT_MAX_RETRIES).

    They do so by themselves only once they were connected, so that a wrong address fails at once. A worker had the right one.
    """
    for client in (PrefectHttpxAsyncClient, PrefectHttpxSyncClient):
        _patient(client)


def _patient(client: type[Any]) -> None:
    begin = client.__init__

    @wraps(begin)
    def begin_as_connected(self: Any, *arguments: Any, **choices: Any) -> None:
        begin(self, *arguments, **choices)
        self._has_connected = True

    client.__init__ = begin_as_connected
