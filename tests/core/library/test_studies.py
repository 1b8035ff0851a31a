"""Blind pairs: the same for everybody, on sides that say nothing, and counted for the way that was preferred."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.library.studies import Studies
from flenwheel_core.requests.style_study import StyleStudyRequest
from flenwheel_core.store import Store
from tests.kit.style_world import studied_style, verdict


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StyleStudyRequest]:
    folder = tmp_path_factory.mktemp("style")
    return folder, studied_style(Store(folder.as_uri()))


@pytest.fixture
def studies(world: tuple[Path, StyleStudyRequest]) -> Studies:
    return Studies(Store(world[0].as_uri()))


def test_every_two_ways_meet_on_every_scene_in_an_order_that_stays(
    studies: Studies, world: tuple[Path, StyleStudyRequest]
) -> None:
    key = world[1].key()
    pairs = studies.pairs(key)
    assert len(pairs) == 3 * 6 and len({pair.id for pair in pairs}) == 18 and studies.pairs(key) == pairs
    _, found = studies.result(key)
    base = {near.image for near in found.ways[0].nearest}
    sides = {pair.first in base for pair in pairs if base & {pair.first, pair.second}}
    assert sides == {True, False}, "a way is not always on one side"
    with pytest.raises(InputError, match="two ways"):
        studies.pairs(key, ("base",))


def test_the_newest_photographs_count(tmp_path: Path) -> None:
    studies = Studies(Store(tmp_path.as_uri()))
    assert studies.photos("monet") is None
    for images in ("a" * 64, "a" * 64, "b" * 64):
        studies.keep_photos("monet", images)
    assert studies.photos("monet") == "b" * 64 and studies.photos("manet") is None
    studies.keep_photos("manet", None)
    studies.keep_photos("monet", None)
    assert studies.photos("monet") is None, "an emptied folder is forgotten"


def test_wins_are_counted_for_the_way_whatever_its_side(
    studies: Studies, world: tuple[Path, StyleStudyRequest]
) -> None:
    key = world[1].key()
    _, found = studies.result(key)
    best = {near.image for near in found.ways[3].nearest}
    for pair in studies.pairs(key, ("base", "monet-t1-v1 at 1")):
        studies.judge(key, verdict(pair, "first" if pair.first in best else "second"))
    first = studies.pairs(key, ("base", "monet-t1-v1 at 1"))[0]
    studies.judge(key, verdict(first, "neither", author="ben"))
    (counted,) = studies.wins(key)
    assert (counted.way, counted.against) == ("base", "monet-t1-v1 at 1")
    assert (counted.won, counted.lost, counted.neither) == (0, 3, 1)
    assert counted.rate.value == 0 and counted.rate.high == pytest.approx(0.5615, abs=1e-3)
    studies.judge(key, verdict(first, None))
    assert studies.wins(key)[0].lost == 2


def test_a_pair_that_the_study_does_not_know_is_refused(
    studies: Studies, world: tuple[Path, StyleStudyRequest]
) -> None:
    pair = studies.pairs(world[1].key())[0]
    with pytest.raises(InputError, match="no pair of this study"):
        studies.judge(world[1].key(), verdict(pair.model_copy(update={"second": pair.first}), "first"))
    with pytest.raises(NotFoundError, match="no study"):
        studies.result("c" * 64)
