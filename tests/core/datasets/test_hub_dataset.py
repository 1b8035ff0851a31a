"""A data set on the Hub, at a commit, fetched file by file."""

from pathlib import Path

import huggingface_hub.constants
import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.datasets.sources import open_paintings
from tests.kit.hub import COMMIT, Repository, running_hub
from tests.kit.paintings import write_wikiart


def test_files_are_fetched_when_they_are_read_and_the_commit_is_kept(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wikiart(tmp_path / "wikiart")
    files = {f"data/{path.name}": path.read_bytes() for path in (tmp_path / "wikiart").glob("*.parquet")}
    with running_hub() as hub:
        hub.models["huggan/wikiart"] = Repository(files | {"README.md": b"---\n---\n"})
        hub.models["huggan/texts"] = Repository({"README.md": b"---\n---\n"})
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        source = open_paintings("huggan/wikiart@main", settings)
        assert source.facts.revision == COMMIT and source.facts.licence == "apache-2.0"
        first, second = sorted(files)
        assert hub.sent[second] == 0 < hub.sent[first]
        keys = [painting.key for painting in source.paintings()]
        assert hub.sent[second] == len(files[second]) and keys[0] == f"{first}:0"
        assert dict(source.pictures([keys[1]]))[keys[1]][:2] == b"\xff\xd8"
        assert open_paintings(f"huggan/wikiart@{COMMIT}", settings).facts == source.facts
        with pytest.raises(InputError, match="no Parquet files"):
            open_paintings("huggan/texts@main", settings)
        with pytest.raises(InputError, match="names no revision"):
            open_paintings("huggan/wikiart", settings)
