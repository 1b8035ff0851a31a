"""What is left out and why, on a small WikiArt of painted scenes."""

from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.datasets.choices import FILTERS
from flenwheel_core.datasets.select import Selection, Sorted, by_labels, select, split
from flenwheel_core.datasets.sources import open_paintings
from tests.kit.paintings import CHOICES, EACH, write_wikiart


@pytest.fixture(scope="module")
def wikiart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("wikiart")
    return folder, write_wikiart(folder)


@pytest.fixture(scope="module")
def selection(wikiart: tuple[Path, dict[str, str]]) -> Selection:
    return select(open_paintings(str(wikiart[0]), Settings()), CHOICES)


def test_every_odd_painting_is_left_out_by_the_filter_that_is_meant_for_it(
    wikiart: tuple[Path, dict[str, str]], selection: Selection
) -> None:
    found = {painting.key: painting for painting in selection.paintings}
    assert {name: found[key].filter for name, key in wikiart[1].items()} == {name: name for name in wikiart[1]}
    assert "64x64" in found[wikiart[1]["size"]].reason
    assert found[wikiart[1]["duplicate"]].reason == "train-00000-of-00002.parquet:0"
    assert "no picture" in found[wikiart[1]["damaged"]].reason


def test_good_paintings_of_free_artists_are_kept_and_of_others_not(selection: Selection) -> None:
    first = [painting for painting in selection.paintings if painting.key.startswith("train-00000")]
    assert {painting.artist for painting in first if painting.part} == {"painter-one", "painter-two", "painter-three"}
    late = [painting for painting in first if painting.artist == "painter-four"]
    assert {painting.filter for painting in late} == {"rights"} and "died in 1990" in late[0].reason
    assert len(selection.chosen) == 3 * EACH
    assert all(painting.file and painting.width == 128 for painting in selection.chosen)


def test_filters_are_counted_in_their_order_and_add_up(selection: Selection) -> None:
    counts = selection.counts()
    assert [name for name, _, _ in counts] == list(FILTERS)
    assert counts[-1][2] == len(selection.chosen)
    assert sum(left_out for _, left_out, _ in counts) + counts[-1][2] == len(selection.paintings)


def test_held_out_are_whole_artists_and_paintings_of_the_others(selection: Selection) -> None:
    parts = {part: {p.artist for p in selection.chosen if p.part == part} for part in ("train", "held_out_artist")}
    assert len(parts["held_out_artist"]) == 1 and not parts["held_out_artist"] & parts["train"]
    held = [painting for painting in selection.chosen if painting.part == "held_out_painting"]
    assert held and {painting.artist for painting in held} <= parts["train"]


def test_no_more_of_an_artist_or_a_genre_than_was_asked_for(wikiart: tuple[Path, dict[str, str]]) -> None:
    limited = CHOICES.model_copy(update={"per_artist": 4})
    found = select(open_paintings(str(wikiart[0]), Settings()), limited)
    count = {name: sum(p.artist == name for p in found.chosen) for name in ("painter-one", "painter-two")}
    assert count == {"painter-one": 4, "painter-two": 4}
    again = select(open_paintings(str(wikiart[0]), Settings()), limited)
    assert again == found


def test_pictures_are_read_only_where_labels_let_them_through(wikiart: tuple[Path, dict[str, str]]) -> None:
    source = open_paintings(str(wikiart[0]), Settings())
    asked: list[str] = []

    class Watched:
        facts = source.facts
        paintings = staticmethod(source.paintings)

        def pictures(self, keys: list[str]) -> object:
            asked.extend(keys)
            return source.pictures(keys)

    select(Watched(), CHOICES)  # type: ignore[arg-type]
    dropped = {key for key, painting in by_labels(source, CHOICES).items() if painting.filter}
    assert dropped and not dropped & set(asked)


def painting(number: int, artist: str) -> Sorted:
    return Sorted(f"{artist}:{number}", artist, "landscape", "impressionism", None)


def test_a_split_stays_as_it_is_for_the_artists_that_were_there() -> None:
    paintings = [painting(number, f"artist-{number % 20}") for number in range(200)]
    parts = split(paintings, CHOICES)
    away = {p.artist for p in paintings if parts[p.key] == "held_out_artist"}
    assert len(away) == 2
    assert split(list(reversed(paintings)), CHOICES) == parts
    none = split(paintings, CHOICES.model_copy(update={"held_out_artists": 0.0, "held_out_paintings": 0.0}))
    assert set(none.values()) == {"train"}
