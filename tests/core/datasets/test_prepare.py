"""The folder that training takes, and what it says of itself."""

from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.datasets.paintings import PaintingSource
from flenwheel_core.datasets.prepare import in_bucket, prepare, read_prepared
from flenwheel_core.datasets.select import Selection, select
from flenwheel_core.datasets.sources import open_paintings
from flenwheel_core.datasets.statistics import write_statistics
from flenwheel_core.images.buckets import bucket_sides
from flenwheel_core.images.decode import decode
from flenwheel_core.images.folder import find_sources
from flenwheel_core.plans.source_files import sources_in
from tests.kit.paintings import CHOICES, write_wikiart


@pytest.fixture(scope="module")
def sorted_(tmp_path_factory: pytest.TempPathFactory) -> tuple[PaintingSource, Selection]:
    folder = tmp_path_factory.mktemp("wikiart")
    write_wikiart(folder)
    source = open_paintings(str(folder), Settings())
    return source, select(source, CHOICES)


def test_a_prepared_folder_is_what_ingest_takes(sorted_: tuple[PaintingSource, Selection], tmp_path: Path) -> None:
    facts = prepare(*sorted_, CHOICES.model_copy(update={"crops": 1}), tmp_path, trigger="ohwx_style")
    train = find_sources(tmp_path / "train").files
    assert len(train) == 3 * facts.parts["train"]  # the picture, its mirrored copy, a cut
    assert {(file.caption or "").rpartition(", ")[2] for file in train} == {"ohwx_style style"}
    held = find_sources(tmp_path / "held_out_artist").files
    assert len(held) == facts.parts["held_out_artist"]  # as they are
    sizes = {decode(file.path.read_bytes(), file.name).size for file in train if "-cut" in file.name}
    assert all(128 * 128 * 0.7 <= width * height <= 128 * 128 and width % 16 == 0 for width, height in sizes)
    table = pl.read_parquet(tmp_path / "paintings.parquet")
    assert len(table) == facts.read and table.filter(pl.col("filter") == "frame")["reason"][0].endswith("of the side")


def test_preparing_again_replaces_and_other_folders_are_left_alone(
    sorted_: tuple[PaintingSource, Selection], tmp_path: Path
) -> None:
    prepare(*sorted_, CHOICES, tmp_path, trigger="ohwx_style")
    prepare(*sorted_, CHOICES.model_copy(update={"flips": False}), tmp_path, trigger="ohwx_style")
    assert not list((tmp_path / "train").glob("*-flipped*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "novel.txt").write_text("x")
    with pytest.raises(InputError, match="holds something else"):
        prepare(*sorted_, CHOICES, tmp_path / "mine", trigger="ohwx_style")


def test_a_whole_set_is_taken_without_what_statistics_drew(
    sorted_: tuple[PaintingSource, Selection], tmp_path: Path
) -> None:
    facts = prepare(*sorted_, CHOICES, tmp_path, trigger="ohwx_style")
    write_statistics(tmp_path)
    found = sources_in(tmp_path)
    assert {file.name.partition("/")[0] for file in found.files} == {"train", "held_out_painting", "held_out_artist"}
    assert len(found.files) == sum(facts.parts.values()) + facts.parts["train"]


def test_nothing_is_scaled_up() -> None:
    sides = bucket_sides(1024, 64, aspect=True)
    assert in_bucket(Image.new("RGB", (900, 800)), sides).size == (896, 800)
    assert in_bucket(Image.new("RGB", (4000, 3000)), sides).size == (1152, 896)


def test_statistics_count_what_is_there(sorted_: tuple[PaintingSource, Selection], tmp_path: Path) -> None:
    facts = prepare(*sorted_, CHOICES, tmp_path, trigger="ohwx_style")
    written = write_statistics(tmp_path)
    assert [path.name for path in written] == ["statistics.parquet", "statistics.md", "statistics.png"]
    table = pl.read_parquet(tmp_path / "statistics.parquet")
    artists = table.filter((pl.col("subject") == "artist") & (pl.col("part") == "train"))
    assert artists["count"].sum() == facts.parts["train"]
    shares = table.filter(pl.col("subject") == "palette")["count"]
    assert shares.sum() == pytest.approx(1, abs=0.01)
    page = (tmp_path / "statistics.md").read_text()
    assert "| monochrome | one colour only: a print, a drawing, a grey photo | 1 | 20 |" in page


def test_an_unfinished_folder_is_no_prepared_set(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"unfinished": true}')
    with pytest.raises(InputError, match="no prepared set"):
        read_prepared(tmp_path)
