"""The three doors of paintings: Parquet files, folders of pictures, data sets on the Hub."""

import json
from pathlib import Path

import polars as pl
import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.datasets.paintings import UNKNOWN, plain_label, years_of_death
from flenwheel_core.datasets.sources import open_paintings
from flenwheel_core.nano.paintings import painting
from tests.kit.paintings import EACH, PAINTERS, write_wikiart


def test_labels_are_named_by_the_data(tmp_path: Path) -> None:
    write_wikiart(tmp_path)
    found = list(open_paintings(str(tmp_path), Settings()).paintings())
    assert len(found) == len(PAINTERS) * EACH + 8
    assert (found[0].artist, found[0].genre, found[0].style) == ("painter-one", "landscape", "impressionism")
    assert found[EACH].artist == "painter-two" and found[2].genre == "genre-painting"
    assert found[-7].artist == UNKNOWN  # `Unknown Artist` is no artist


def test_pictures_come_in_order_and_only_those_asked_for(tmp_path: Path) -> None:
    write_wikiart(tmp_path)
    source = open_paintings(str(tmp_path), Settings())
    keys = [p.key for p in source.paintings()]
    wanted = [keys[25], keys[3], keys[17]]
    found = list(source.pictures(wanted))
    assert [key for key, _ in found] == [keys[3], keys[17], keys[25]]
    assert all(data[:2] == b"\xff\xd8" for _, data in found[:2])


def test_numbers_without_names_and_other_tables_are_refused(tmp_path: Path) -> None:
    image = pl.Series("image", [{"bytes": b"x", "path": "x"}])
    pl.DataFrame({"image": image, "artist": [3]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="nothing in the file names them"):
        open_paintings(str(tmp_path / "a.parquet"), Settings())
    pl.DataFrame({"text": ["x"]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="its columns are text"):
        open_paintings(str(tmp_path / "b.parquet"), Settings())
    (tmp_path / "c.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="no Parquet file of paintings"):
        open_paintings(str(tmp_path / "c.parquet"), Settings())


def test_labels_may_be_text(tmp_path: Path) -> None:
    image = pl.Series("image", [{"bytes": b"x", "path": "x"}])
    table = pl.DataFrame({"image": image, "artist": ["Pierre-Auguste Renoir"], "title": ["The Swing"]})
    table.write_parquet(tmp_path / "a.parquet")
    (found,) = open_paintings(str(tmp_path / "a.parquet"), Settings()).paintings()
    assert (found.artist, found.genre, found.caption) == ("pierre-auguste-renoir", UNKNOWN, "The Swing")


def test_a_folder_names_artists_by_subfolder_or_table(tmp_path: Path) -> None:
    for artist, name in (("Claude Monet", "a.png"), ("degas", "b.png")):
        (tmp_path / artist).mkdir()
        painting(11, 1).save(tmp_path / artist / name)
    row = {"file_name": "degas/b.png", "artist": "Edgar Degas", "genre": "portrait", "title": "A dancer"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    source = open_paintings(str(tmp_path), Settings())
    found = {p.key: p for p in source.paintings()}
    assert found["Claude Monet/a.png"].artist == "claude-monet"
    assert (found["degas/b.png"].artist, found["degas/b.png"].genre) == ("edgar-degas", "portrait")
    assert dict(source.pictures(["degas/b.png"]))["degas/b.png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["nowhere", "huggan/wikiart", "/nowhere/at/all"])
def test_what_is_no_source_is_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(InputError) as caught:
        open_paintings(name, Settings())
    assert caught.value.remedy


def test_labels_are_compared_in_one_form_and_years_are_plausible() -> None:
    assert plain_label("Édouard  Manet") == "edouard-manet" and plain_label("Unknown Genre") == UNKNOWN
    years = years_of_death()
    assert years["claude-monet"] == 1926 and years["pablo-picasso"] == 1973 and years["berthe-morisot"] == 1895
    page = (Path(__file__).parents[3] / "docs" / "paintings.md").read_text()
    assert f"The years of death of {len(years)} artists" in page
    assert all(plain_label(name) == name and 1400 < year < 2026 for name, year in years.items())
