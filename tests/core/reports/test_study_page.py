"""The page of a study for readers: all of it in one file."""

import re
from pathlib import Path

import pytest
from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.library.studies import Studies
from flenwheel_core.reports.study_page import write_study_page
from flenwheel_core.requests.style_study import StyleStudyResult
from flenwheel_core.store import Store
from tests.kit.style_world import SCENES, studied_style, verdict


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    found = Store(tmp_path_factory.mktemp("style").as_uri())
    studied_style(found)
    return found


def written(store: Store, folder: Path, change: dict[str, object] | None = None) -> str:
    studies = Studies(store)
    made = studies.of("monet")[0]
    result: StyleStudyResult = studies.result(made.request)[1].model_copy(update=change or {})
    return write_study_page(folder, store, made, result, studies.wins(made.request)).read_text(encoding="utf-8")


def rows(page: str, title: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    table = page.partition(f"<h2>{title}</h2>")[2].partition("</table>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in table.splitlines() if line.startswith("<tr>")]


def test_it_holds_the_ways_nearest_first_with_intervals_and_photographs(store: Store, tmp_path: Path) -> None:
    page = written(store, tmp_path / "page")
    head, *ways = rows(page, "Ways of drawing, nearest first")
    assert head == ["way", "distance", "interval", "nearer than named by", "content kept", "repeat a painting"]
    assert len(ways) == 5 and [float(row[1]) for row in ways] == sorted(float(row[1]) for row in ways)
    photos = next(row for row in ways if row[0].startswith("photographs"))
    assert photos[3] == "-0.30 (-0.50 to -0.10)" and photos[4:] == ["", ""] and " to " in photos[2]
    assert any("default strength" in row[0] and "rank 8, single_late" in row[0] for row in ways)
    assert "Blind pairs" not in page, "nobody judged any"


def test_it_needs_nothing_beside_it(store: Store, tmp_path: Path) -> None:
    page = written(store, tmp_path / "new" / "page")
    assert "<script" not in page and not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert page.count('src="data:image/jpeg;base64,') == 1
    with Image.open(tmp_path / "new" / "page" / "grid.png") as grid:
        assert grid.width > 4 * 160 and grid.height > SCENES * 160
    assert written(store, tmp_path / "new" / "page") == page, "a page of before is replaced"


@pytest.mark.parametrize("name", ["index.html", "grid.png"])
def test_files_of_somebody_else_are_left_alone(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name} is no page of a study"):
        written(store, tmp_path)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(name, "mine")]


def test_blind_pairs_stand_there_with_their_interval(store: Store, tmp_path: Path) -> None:
    studies = Studies(store)
    key = studies.of("monet")[0].request
    first, second, third = studies.pairs(key, ("base", "monet-t1-v1 at 1"))
    base = {near.image for near in studies.result(key)[1].ways[0].nearest}
    for pair in (first, second):
        studies.judge(key, verdict(pair, "second" if pair.first in base else "first"))
    studies.judge(key, verdict(third, "neither"))
    _, row = rows(written(store, tmp_path), "Blind pairs")
    assert row[:3] == ["base", "monet-t1-v1 at 1", "0%"] and row[4:] == ["0", "2", "1"]
    assert row[3] == "0% to 66%"


def test_names_are_text_and_nothing_else(store: Store, tmp_path: Path) -> None:
    ways = Studies(store).result(Studies(store).of("monet")[0].request)[1].ways
    odd = ways[0].way.model_copy(update={"name": "<b>x</b> & “y”"})
    page = written(store, tmp_path, {"ways": (ways[0].model_copy(update={"way": odd}), *ways[1:])})
    assert "&lt;b&gt;x&lt;/b&gt; &amp; “y”" in page and "<b>" not in page
