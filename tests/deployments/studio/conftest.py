"""An open gate, and a client of the studio."""

from tests.kit.gate_fixtures import client, line, reviews, session, settings, store

__all__ = ["client", "line", "reviews", "session", "settings", "store"]
