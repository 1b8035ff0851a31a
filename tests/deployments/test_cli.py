"""The command line: help helps, and mistakes get an answer instead of a stack trace."""

import subprocess
import sys
from pathlib import Path

import pytest

from deployments.cli import main
from flenwheel_core.settings import Settings


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out = capsys.readouterr()
    return int(ended.value.code or 0), out.out, out.err


@pytest.fixture(autouse=True)
def workspace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("run", "--help"), ("approve", "--help"), ("recipe", "--help")])
def test_help(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, out, _ = run(capsys, *arguments)
    assert code == 0 and "Usage" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nobody"), "There is no character 'nobody'"),
        (("approve", "no-gate", "--verdict", "approve"), "There is no gate 'no-gate'"),
        (("recipe", "check", "nanoo"), "Did you mean nano?"),
        (("lineage", "abc"), "Nothing here has an id"),
        (("export", "nobody", "out"), "There is no character"),
    ],
)
def test_mistakes_say_what_why_and_what_to_do(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 1 and said in err and "What to do" in err


def test_a_wrong_setting_stops_a_command_in_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("HF_TOKEN=hf_x\n")
    assert run(capsys, "status")[0] == 0
    (tmp_path / ".env").write_text("HF_TOKEN=hf_x\nFLENWHEEL_HOSTS=::\n")
    code, _, err = run(capsys, "status")
    assert code == 1 and "Did you mean FLENWHEEL_HOST?" in err and "Traceback" not in err


def test_status_of_a_fresh_workspace(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "status")
    assert code == 0 and "flenwheel up" in out and "No characters yet" in out


def test_doctor_reports_a_leftover_and_removes_it(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    folder = settings.root / "stage-killed"
    folder.mkdir(parents=True)
    code, out, _ = run(capsys, "doctor")
    assert code == 1 and "stage-killed" in out
    code, out, _ = run(capsys, "doctor", "--repair")
    assert code == 0 and not folder.exists()


def test_up_refuses_to_listen_to_the_world_without_a_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLENWHEEL_HOST", "0.0.0.0")
    code, _, err = run(capsys, "up")
    assert code == 1 and "without a token" in err


def test_a_full_disk_is_a_clear_error_and_the_workspace_stays_whole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        monkeypatch.setenv("FLENWHEEL_STORE", small.as_uri())
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        (pictures / "large.png").write_bytes(bytes(3 * 2**20))
        code, _, err = run(capsys, "ingest", "mira", str(pictures), "--recipe", "nano")
        assert code == 1 and "The disk is full" in err and "flenwheel gc" in err
        code, out, _ = run(capsys, "status")
        assert code == 0 and "mira" in out
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_damaged_journal_is_a_clear_error(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    from flenwheel_core.library import Character, Library
    from flenwheel_core.store import Store

    Library(Store(settings.store_url)).create_character(
        Character(name="mira", trigger="ohwx_char", class_word="person", kind="person", recipe="nano")
    )
    journal = settings.root / "store/journals/characters/mira/pool.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text("{broken\n")
    code, _, err = run(capsys, "status")
    assert code == 1 and "Line 1" in err and "damaged" in err


def test_the_command_starts_quickly_and_loads_nothing_heavy() -> None:
    code = "import sys, deployments.cli; print([m for m in ('torch', 'prefect', 'diffusers', 'transformers') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"


def test_more_pictures_of_a_known_character_need_only_its_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, settings: Settings
) -> None:
    from flenwheel_core.library import Character, Library
    from flenwheel_core.store import Store

    library = Library(Store(settings.store_url))
    library.create_character(
        Character(name="mira", trigger="mira_x", class_word="robot", kind="subject", recipe="nano")
    )
    (tmp_path / "more").mkdir()
    run(capsys, "ingest", "mira", str(tmp_path / "more"))
    assert library.character("mira").trigger == "mira_x"
    code, _, err = run(capsys, "ingest", "mira", str(tmp_path / "more"), "--trigger", "other_x")
    assert code == 1 and "There is a character mira already" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ingest", "mira", ".", "--trigger", "Bad Trigger"), "trigger"),
        (("ingest", "Mira Moon", "."), "such as mira-moon"),
        (("ingest", "m" * 50, "."), "at most 40"),
    ],
)
def test_impossible_names_are_explained(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 1 and said in err and "Traceback" not in err
