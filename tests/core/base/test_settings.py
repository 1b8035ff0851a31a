"""Settings are read from files that any editor wrote and that other tools share; a misspelt name never does nothing."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import RecipeError, UserError
from flenwheel_core.base.settings import NOT_FOR_STAGES, Settings
from flenwheel_core.recipes.loading import find_recipe, load_recipe
from flenwheel_core.runner.launch import child_environment


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FLENWHEEL_{name.upper()}", raising=False)
    return tmp_path


def test_lines_of_other_tools_in_a_dotenv_file_are_none_of_our_business(place: Path) -> None:
    (place / ".env").write_text('HF_TOKEN=hf_x\nnot a definition\nFLENWHEEL_GPU=cpu\nexport BROKEN="a\n')
    assert Settings().gpu == "cpu"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_settings_files_of_any_editor_are_read(place: Path, encoding: str) -> None:
    (place / ".env").write_bytes("FLENWHEEL_GPU=cpu\r\nFLENWHEEL_AUTHOR='Zoë'\r\n".encode(encoding))
    (place / "flenwheel.toml").write_bytes('slot = "Büro"\r\nthreads = 2\r\n'.encode(encoding))
    settings = Settings()
    assert (settings.gpu, settings.author, settings.slot, settings.threads) == ("cpu", "Zoë", "Büro", 2)


def test_a_misspelt_setting_is_named_with_the_right_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / ".env").write_text("FLENWHEEL_GPUS=cpu\n")
    with pytest.raises(RecipeError, match=r"(?s)FLENWHEEL_GPUS in \.env.*Did you mean FLENWHEEL_GPU\?"):
        Settings()
    (place / ".env").unlink()
    (place / "flenwheel.toml").write_text('vram_gb = "20"\n')
    with pytest.raises(RecipeError, match=r"(?s)vram_gb in flenwheel\.toml.*Did you mean vram_gib\?"):
        Settings()
    (place / "flenwheel.toml").write_text('FLENWHEEL_GPU = "cpu"\n')
    with pytest.raises(RecipeError, match=r"(?s)Did you mean gpu\?"):
        Settings()
    (place / "flenwheel.toml").unlink()
    monkeypatch.setenv("FLENWHEEL_WORKSPACES", "x")
    with pytest.raises(
        RecipeError, match=r"(?s)FLENWHEEL_WORKSPACES in the environment.*Did you mean FLENWHEEL_WORKSPACE\?"
    ):
        Settings()


def test_variables_that_container_platforms_add_are_no_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "STUDIO_PORT",
        "PREFECT_PORT",
        "PREFECT_SERVICE_PORT_HTTP",
        "SERVICE_HOST",
        "SERVICE_PORT",
        "PORT",
        "PORT_4300_TCP",
        "PORT_4300_TCP_ADDR",
        "FLOW_RUN",
        "PROJECT",
    ):
        monkeypatch.setenv(f"FLENWHEEL_{name}", "x")
    Settings()


def test_an_empty_value_is_unset(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_VRAM_GIB", "")
    (place / ".env").write_text("FLENWHEEL_THREADS=\n")
    (place / "flenwheel.toml").write_text('store = ""\nvram_gib = ""\n')
    settings = Settings()
    assert settings.vram_gib is None and settings.threads is None and settings.store is None


def test_what_cannot_be_read_is_named(place: Path) -> None:
    for name, data, said in (
        (".env", b"FLENWHEEL_GPU=cpu\n\x00\x01\x02", r"\.env cannot be read"),
        (".env", b"FLENWHEEL_GPU='cpu\n", r"Line 1 of \.env cannot be read"),
        ("flenwheel.toml", b'gpu = "cpu\n', r"(?s)flenwheel\.toml is no TOML file.*line 1"),
        ("flenwheel.toml", b"\xff\xfea", r"flenwheel\.toml cannot be read"),
        ("flenwheel.toml", b"vram_gib = " + b"9" * 5000, r"(?s)flenwheel\.toml is no TOML file.*digits"),
        ("flenwheel.toml", b"x = " + b"[" * 100_000, r"(?s)flenwheel\.toml is no TOML file.*nested too deeply"),
    ):
        (place / name).write_bytes(data)
        with pytest.raises(RecipeError, match=said):
            Settings()
        (place / name).unlink()


@pytest.mark.parametrize("name", ["TRUSTED_PROXIES", "NOTIFY", "STORE_OPTIONS", "KERNELS_OFF", "STAGE_MODULES"])
@pytest.mark.parametrize("value", ["[" * 3000, "[" + "9" * 5000, "[1", "[NaN]"])
def test_lists_that_are_no_json_are_explained(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    (place / ".env").write_text(f"FLENWHEEL_{name}={value}\n")
    with pytest.raises(RecipeError):
        Settings()
    (place / ".env").unlink()
    monkeypatch.setenv(f"FLENWHEEL_{name}", value)
    with pytest.raises(RecipeError):
        Settings()


def test_a_virtual_environment_called_dotenv_is_no_settings_file(place: Path) -> None:
    (place / ".env").mkdir()
    Settings()


def test_a_value_that_cannot_be_used_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_VRAM_GIB", "much")
    with pytest.raises(RecipeError, match=r"(?s)vram_gib: .*Video memory.*What to do"):
        Settings()
    monkeypatch.delenv("FLENWHEEL_VRAM_GIB")
    monkeypatch.setenv("FLENWHEEL_NOTIFY", "mailto://me@example.org")
    with pytest.raises(RecipeError, match=r"(?s)FLENWHEEL_NOTIFY in the environment cannot be read.*NOTIFY='\["):
        Settings()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("modulated,gelu", ("modulated", "gelu")),
        ("Modulated, GELU", ("modulated", "gelu")),
        ('["heads"]', ("heads",)),
        ("all", ("all",)),
        ("", ()),
    ],
)
def test_kernels_are_turned_off_by_name(written: str, read: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_KERNELS_OFF", written)
    assert Settings().kernels_off == read


@pytest.mark.parametrize(
    "address", ["https://host/a/../b", "https://host/a b", "https://host/?x=1", "https://h//a", "host/a"]
)
def test_an_address_with_an_odd_path_is_refused_in_words(address: str) -> None:
    with pytest.raises(UserError, match="an address is http"):
        Settings(studio_url=address)


def test_the_prefect_interface_has_no_path() -> None:
    with pytest.raises(UserError, match="it has no path"):
        Settings(prefect_url="https://host/prefect")


def test_kernels_are_turned_off_by_name_in_a_toml_file(place: Path) -> None:
    for written in ('"modulated,gelu"', '["modulated", "gelu"]'):
        (place / "flenwheel.toml").write_text(f"kernels_off = {written}\n")
        assert Settings().kernels_off == ("modulated", "gelu")


def test_a_kernel_that_is_none_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_KERNELS_OFF", "gelu,geglu")
    with pytest.raises(RecipeError, match=r"(?s)no kernel geglu.*quantise, transpose.*gelu, attention; or all"):
        Settings()


def test_the_environment_wins_over_dotenv_and_that_over_toml(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "flenwheel.toml").write_text('gpu = "2"\nslot = "toml"\nauthor = "toml"\n')
    (place / ".env").write_text("FLENWHEEL_GPU=1\nFLENWHEEL_SLOT=dotenv\n")
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")
    settings = Settings()
    assert (settings.gpu, settings.slot, settings.author) == ("cpu", "dotenv", "toml")


def test_a_recipe_with_a_byte_order_mark_is_a_recipe(place: Path) -> None:
    text = find_recipe("nano").read_text("utf-8")
    (place / "mine.toml").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert load_recipe("mine.toml") == load_recipe("nano")
    (place / "mine.toml").write_bytes(b"\xff\xfea")
    with pytest.raises(RecipeError, match=r"mine\.toml cannot be read"):
        load_recipe("mine.toml")


EVERY: dict[str, object] = {
    "workspace": "w",
    "store": "s3://bucket/own",
    "store_options": {"endpoint_url": "http://minio:9000"},
    "gpu": "1",
    "slot": "the fast one",
    "kernels_off": ("modulated", "gelu"),
    "vram_gib": 20.5,
    "threads": 3,
    "models": "m",
    "edit_budget": 2.5,
    "author": "Zoë",
    "stage_modules": ("toy", "other.toy"),
    "unsloth_python": "/opt/unsloth/bin/python",
    "import_ahead": False,
    "host": "::",
    "token": "a-secret-of-the-team",
    "studio_url": "https://studio.example",
    "prefect_url": "https://prefect.example",
    "trusted_proxies": ("127.0.0.1", "10.0.0.0/8"),
    "notify": ("mailto://one", "json://two"),
    "publish_url": "s3://bucket/published",
    "publish_options": {"endpoint_url": "http://elsewhere:9000"},
    "service_recipe": "nano",
    "machine_name": "rack-2",
    "server_url": "http://server:4200",
    "database_url": "postgresql://name:word@db:5432/flenwheel",
    "redis_url": "redis://:word@cache:6379/0",
    "api_servers": 2,
    "cards": ("0", "1"),
    "pool": "gpu-24",
    "runs_at_once": 3,
    "lease_seconds": 90.0,
    "meeting_address": "rack-2.lan",
    "checkpoint_minutes": 2.5,
}


def test_a_child_sees_every_setting_in_whatever_folder_it_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(EVERY) == set(Settings.model_fields), "a new setting belongs into this test"
    settings = Settings.model_validate(EVERY)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    again = Settings()
    for name in EVERY:
        wanted = getattr(settings, name)
        assert getattr(again, name) == (place / str(wanted) if isinstance(wanted, Path) else wanted), name
    assert (again.store_url, again.slot_name, again.slot_limit) == (
        "s3://bucket/own",
        "the fast one",
        "gpu:the fast one",
    )


def test_unset_settings_are_no_variables(place: Path) -> None:
    found = Settings().environment()
    assert not {"FLENWHEEL_TOKEN", "FLENWHEEL_VRAM_GIB", "FLENWHEEL_THREADS", "FLENWHEEL_STUDIO_URL"} & set(found)
    # The store is told, so that a child does not derive it anew; slots follow from the machine's name and the cards, which are told, too.
    assert found["FLENWHEEL_STORE"] == (place / ".flenwheel/store").as_uri() and found["FLENWHEEL_MACHINE_NAME"]
    assert "FLENWHEEL_SLOT" not in found


def test_a_stage_is_given_every_setting_but_those_of_people(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_TOKEN", "a-secret-of-another-one")
    settings = Settings.model_validate(EVERY)
    told = {name for name in child_environment(settings, None) if name.startswith("FLENWHEEL_")}
    assert told == {f"FLENWHEEL_{name.upper()}" for name in set(EVERY) - NOT_FOR_STAGES}
    assert {"token", "notify"} <= NOT_FOR_STAGES <= set(EVERY)
