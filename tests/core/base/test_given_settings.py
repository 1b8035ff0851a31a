"""Settings as people write them are made whole, or refused in a sentence; none means another place in another process."""

import os
import tempfile
from pathlib import Path

import pytest

from flenwheel_core.base.errors import RecipeError, ServerError
from flenwheel_core.base.settings import Settings
from flenwheel_core.store import Store


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FLENWHEEL_{name.upper()}", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "path"), [("pics/store", "pics/store"), ("~/store", "home/store"), ("a b/ü", "a b/ü")]
)
def test_a_path_as_store_is_the_same_place_for_every_process(place: Path, given: str, path: str) -> None:
    settings = Settings(store=given)
    assert settings.store_url == (place / path).as_uri() == settings.environment()["FLENWHEEL_STORE"]
    Store(settings.store_url).files.write("a", b"a")
    assert (place / path / "a").read_bytes() == b"a"


@pytest.mark.parametrize("given", ["file:///x/y", "s3://bucket/folder", "memory://x"])
def test_an_address_stays_as_it_is(given: str) -> None:
    assert Settings(store=given).store == given


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"store": "file://pics/store"}, "takes a whole path"),
        ({"store": "s3:bucket/x"}, "two slashes"),
        ({"store": "s3://"}, "a place"),
        ({"host": "http://0.0.0.0"}, "without http://"),
        ({"host": "0.0.0.0:4300"}, "without a port"),
        ({"gpu": "-1"}, "a card is its index"),
        ({"gpu": "cuda"}, "a card is its index"),
        ({"workspace": "file/ws"}, "is a file"),
        ({"models": "file"}, "is a file"),
    ],
)
def test_what_cannot_be_used_is_said(place: Path, values: dict[str, str], said: str) -> None:
    (place / "file").write_text("x")
    with pytest.raises(RecipeError) as refused:
        Settings(**values)  # type: ignore[arg-type]
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("[::1]", "::1"),
        ("::", "::"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        (" 10.0.0.7 ", "10.0.0.7"),
        ("my-host.lan", "my-host.lan"),
    ],
)
def test_addresses_to_listen_on(given: str, host: str) -> None:
    assert Settings(host=given).host == host


@pytest.mark.parametrize(
    ("given", "card"), [("cuda:1", "1"), ("0,1", "0,1"), ("", "auto"), ("GPU-8f9a-12", "GPU-8f9a-12")]
)
def test_cards(given: str, card: str) -> None:
    assert Settings(gpu=given).gpu == card


def test_an_author_is_one_line() -> None:
    assert Settings(author="Ann\nBo").author == "Ann Bo" and Settings(author=" \n").author


def test_a_store_without_credentials_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = Store("s3://bucket/x", {"endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(ServerError, match="the credentials"):
        list(store.files.list("documents"))
    with pytest.raises(ServerError, match="the credentials"):
        store.files.exists("documents/a")


def test_a_user_without_name_and_home_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)  # as containers run with a number that no name belongs to
    settings = Settings()
    assert settings.author == "user-54321"
    assert settings.models == Path(tempfile.gettempdir()) / "flenwheel-54321"
