"""Which world the shipped nano models live in.

World 1: named traits and proportions. World 2 is harder: every character has fine marks on one side of the face (a picture that is turned
round shows somebody else), patterns and things worn, every fourth one has a sibling who looks much alike, and somebody else may stand
beside the character. Characters and views of world 1 are the same in both; the models of a world know nothing of a higher one.
"""

import json
from functools import cache
from pathlib import Path

WORLDS = (1, 2)
_FILE = Path(__file__).parents[1] / "weights" / "world.json"


@cache
def shipped_world() -> int:
    """The world that the shipped weights were trained on, as their folder says; 1 where it says nothing."""
    return int(json.loads(_FILE.read_text())["world"]) if _FILE.exists() else 1
