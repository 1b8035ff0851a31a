"""An open gate, a client of the studio, and a browser with a studio that really listens."""

from tests.kit.browser import reviewer, studio
from tests.kit.gate_fixtures import client, line, reviews, session, settings, store

__all__ = ["client", "line", "reviewer", "reviews", "session", "settings", "store", "studio"]
