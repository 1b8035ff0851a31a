"""`flenwheel publish`: real stages in processes of their own, to a folder, an object store and the Hub's stand-in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kit.broken_server import serving
from benchmarks.kit.hub_app import HubApp
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import Consent
from flenwheel_core.library.characters import Library, Promotion
from flenwheel_core.requests.export import ExportedFile, ExportResult
from flenwheel_core.requests.publish import PublishRequest
from flenwheel_core.store import Store
from tests.kit.command_line import run
from tests.kit.exported import SECRET, export_request
from tests.kit.gate_world import CHARACTER, NOW
from tests.kit.scorecards import card

CONSENT = Consent(whose="an invented person", vouched_by="ana")


@pytest.fixture(autouse=True)
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A workspace whose mira has a champion that was exported."""
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    store = Store(settings.store_url)
    champion(store, "nano@1")
    return store


def champion(store: Store, base: str) -> None:
    request = export_request(store, base=base)
    store.put_request(request)
    files = (ExportedFile(name=f"{request.lora.name}.safetensors", digest=request.lora.digest),)
    store.put_result(request, ExportResult(files=files))
    library = Library(store)
    library.create_character(CHARACTER)
    library.promote("mira", Promotion(at=NOW, lora=request.lora, scorecard=card(), turn=1, flow_run=f"run on {base}"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubApp]:
    app = HubApp(SECRET)
    with serving(app) as (app.url, _):
        monkeypatch.setenv("HF_ENDPOINT", app.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield app


@pytest.mark.slow
def test_every_time_it_looks_at_what_is_there(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "out"
    asked = ("publish", "mira", "--to", "folder", "--place", str(place))
    code, out, _ = run(capsys, *asked)
    assert code == 0 and (place / "publication.json").exists() and "mira-v1.safetensors" in out
    (place / "mira-v1.safetensors").unlink()
    for _ in range(2):
        assert run(capsys, *asked, "--allowed-by", "bought")[0] == 0 and (place / "mira-v1.safetensors").exists()
        (place / "mira-v1.safetensors").unlink()
    kept = [store.get_request(PublishRequest, path.split("/")[2]) for path in store.files.list("stages/publish")]
    assert "bought" in {one.allowed_by for one in kept if one is not None}, "who allowed it is on record"


@pytest.mark.slow
def test_the_token_is_written_nowhere(
    hub: HubApp, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Library(Store(settings.store_url)).give_consent("mira", CONSENT)
    asked = ("publish", "mira", "--to", "hub", "--place", "ana/mira")
    code, _, err = run(capsys, *asked)
    assert code == 1 and "No token of the Hub is set" in err and not hub.repositories
    monkeypatch.setenv("HF_TOKEN", SECRET)
    code, out, err = run(capsys, *asked)
    assert code == 0 and hub.repositories["model/ana/mira"].private and SECRET not in out + err
    written = [path for path in settings.root.rglob("*") if path.is_file()]
    assert written and not any(SECRET.encode() in path.read_bytes() for path in written)


def test_what_could_not_work_is_refused_before_anything_is_made(
    hub: HubApp, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    champion(store, str(tmp_path))
    for words, said in (
        (("hub", "--place", "ana/mira", "--public"), "cannot be published for everybody"),
        (("hub", "--place", "mira"), "is no repository of the Hub"),
        (("s3",), "is no address of an object store"),
        (("s3", "--place", "s3://b/x", "--space"), "runs on the Hub or from a folder"),
        (("folder",), "No folder is named"),
        (("folder", "--place", "x", "--public"), "Only a repository of the Hub"),
    ):
        code, _, err = run(capsys, "publish", "mira", "--to", *words)
        assert code == 1 and said in err
    assert not hub.repositories and run(capsys, "publish", "nobody", "--to", "folder")[0] == 1


@pytest.mark.slow
def test_nothing_of_a_person_leaves_before_somebody_said_whose_face_it_is(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("hub", "--place", "ana/mira"), ("s3", "--place", "s3://bucket/x")):
        code, _, err = run(capsys, "publish", "mira", "--to", *words)
        assert code == 1 and "nobody said whose face it is" in err and "flenwheel character consent mira" in err
    assert "Nobody said whose face it is" in run(capsys, "character", "show", "mira")[1]
    code, out, _ = run(capsys, "character", "consent", "mira", "--whose", "my own", "--vouched-by", "ana")
    assert code == 0 and "The face is my own. ana vouches" in out
    code, out, _ = run(capsys, "publish", "mira", "--to", "folder", "--place", str(tmp_path / "out"))
    assert code == 0 and out.startswith("The face is my own. ana vouches that it may be used.")
    assert "The face is my own. ana vouches" in (tmp_path / "out" / "README.md").read_text()
    kept = [store.get_request(PublishRequest, path.split("/")[2]) for path in store.files.list("stages/publish")]
    assert {one.export.consent.whose for one in kept if one and one.export.consent} == {"my own"}
    assert run(capsys, "character", "consent", "mira", "--whose", " ", "--vouched-by", "ana")[0] == 1
