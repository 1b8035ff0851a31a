"""`flenwheel export`: the files in a folder, and the mark for commercial use."""

import json
from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.library.characters import Library, Promotion
from flenwheel_core.requests.export import ExportedFile, ExportRequest, ExportResult
from flenwheel_core.store import Store
from tests.kit.command_line import run
from tests.kit.gate_world import CHARACTER, NOW
from tests.kit.scorecards import card


@pytest.fixture(autouse=True)
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    return Store(settings.store_url)


def exported(store: Store, base: str) -> None:
    """A champion of mira on this base, with its export."""
    lora = LoraRecord(
        digest=store.put_blob(b"weights"),
        name="mira-v1",
        target="generator",
        base_model=base,
        trigger=CHARACTER.trigger,
        class_word="person",
        rank=4,
        alpha=4.0,
        steps=1,
        images=1,
        dataset="b" * 64,
        request="c" * 64,
    )
    request = ExportRequest(character=CHARACTER.ref(), lora=lora, sources="d" * 64, pool=store.put_images([]), turn=1)
    files = (ExportedFile(name="mira-v1.safetensors", digest=lora.digest),)
    store.put_request(request)
    store.put_result(request, ExportResult(files=files))
    library = Library(store)
    library.create_character(CHARACTER)
    library.promote("mira", Promotion(at=NOW, lora=lora, scorecard=card(), turn=1, flow_run="run"))


def test_a_lora_on_a_free_base_is_marked_for_commercial_use_where_asked(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(store, "nano@1")
    assert run(capsys, "export", "mira", str(tmp_path / "plain"))[0] == 0
    assert [path.name for path in (tmp_path / "plain").iterdir()] == ["mira-v1.safetensors"]
    for _ in range(2):  # the same again is no conflict
        assert run(capsys, "export", "mira", str(tmp_path / "sold"), "--commercial")[0] == 0
    mark = json.loads((tmp_path / "sold" / "commercial_use.json").read_text())
    assert mark["models"][0]["commercial"] is True and mark["allowed_by"] == ""


def test_a_lora_on_a_non_commercial_base_is_not_unless_a_person_says_what_allows_it(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(store, "black-forest-labs/FLUX.1-dev@main")
    code, _, err = run(capsys, "export", "mira", str(tmp_path / "sold"), "--commercial")
    assert code == 1 and "not for commercial use" in err and "--allowed-by" in err and not (tmp_path / "sold").exists()
    asked = ("export", "mira", str(tmp_path / "sold"), "--allowed-by", "licence 17")
    assert "Give --commercial" in run(capsys, *asked)[2] and not (tmp_path / "sold").exists()
    assert run(capsys, *asked, "--commercial")[0] == 0
    assert json.loads((tmp_path / "sold" / "commercial_use.json").read_text())["allowed_by"] == "licence 17"
