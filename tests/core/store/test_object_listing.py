"""A bucket's files are listed whole, however many pages the object store answers in."""

from pathlib import Path

import pytest

from flenwheel_core.store.files import Files
from flenwheel_core.store.object_listing import list_objects
from tests.kit.s3_server import BUCKET, options_of


@pytest.mark.slow
def test_all_pages_are_read_and_only_files_of_the_folder(
    s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(f"s3://{BUCKET}/{tmp_path.name}", options_of(s3_endpoint))
    names = [f"turns/{number}/a.json" for number in range(5)]
    for name in (*names, "turns-of-others/a.json"):
        files.write(name, name.encode())
    files._fs.pipe_file(f"{BUCKET}/{tmp_path.name}/turns/shown-as-folder/", b"")
    monkeypatch.setattr(files._fs, "req_kw", {"MaxKeys": 2})
    found = dict(list_objects(files._fs, f"{BUCKET}/{tmp_path.name}/turns"))
    assert sorted(found) == [f"{BUCKET}/{tmp_path.name}/{name}" for name in names]
    assert list(files.list("turns")) == names and files.stamps("turns") == dict(
        zip(names, (found[f"{BUCKET}/{tmp_path.name}/{name}"] for name in names), strict=True)
    )
    before = files.stamps("turns")[names[0]]
    files.write(names[0], b"changed")
    assert files.stamps("turns")[names[0]] != before
    with pytest.raises(FileNotFoundError):
        list(list_objects(files._fs, "no-such-bucket/turns"))
    assert list(Files("s3://no-such-bucket/store", options_of(s3_endpoint)).list("turns")) == []
