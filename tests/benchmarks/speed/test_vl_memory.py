"""The picture of what grows with the batch comes from the result file."""

import json

import pytest

from benchmarks.result_file import RESULTS
from benchmarks.speed.vl_memory import PICTURE, picture


def test_the_picture_of_the_documentation_is_drawn_from_the_file() -> None:
    pytest.importorskip("matplotlib")
    drawn = picture(RESULTS, "qwen2.5-vl-7b")
    assert drawn == picture(RESULTS, "qwen2.5-vl-7b") and drawn.startswith(b"\x89PNG")
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
    rows = json.loads((RESULTS / "vl_memory.json").read_text())["rows"]
    assert picture(RESULTS, "another") != drawn and len(rows) > 20
