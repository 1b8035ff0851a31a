"""An open gate."""

from tests.kit.gate_fixtures import line, reviews, session, settings, store

__all__ = ["line", "reviews", "session", "settings", "store"]
