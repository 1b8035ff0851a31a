"""The command line: help helps, and mistakes get an answer instead of a stack trace."""

import io
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.kit.cluster_services import free_port
from deployments.access.door import check_binding
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.store import Store
from tests.kit.command_line import run
from tests.kit.disks import small_disk


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


def test_every_line_of_a_fresh_settings_file_may_be_uncommented(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "init", ".")[0] == 0
    path = tmp_path / "flenwheel.toml"
    assert path.stat().st_mode & 0o077 == 0
    assert Settings().token is None, "nothing is set yet"
    path.write_text(re.sub(r"^# (\w+ = )", r"\1", path.read_text(), flags=re.MULTILINE))
    found = Settings()
    assert found.token is not None and len(found.token.get_secret_value()) >= 16
    check_binding(found.model_copy(update={"host": "0.0.0.0"}))


def test_a_new_token_is_long_and_always_another(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (run(capsys, "token")[1].strip() for _ in range(2))
    assert first != second and len(first) >= 32


def test_status_of_a_fresh_workspace(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "status")
    assert code == 0 and "flenwheel up" in out and "No characters yet" in out


def test_status_and_end_ask_the_server_of_the_cluster_wherever_it_runs(
    capsys: pytest.CaptureFixture[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs on this machine; its settings name a server, which does not answer."""
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("FLENWHEEL_SERVER_URL", address)
    library = Library(Store(settings.store_url))
    library.create_character(Character(name="mira", trigger="ohwx", class_word="person", kind="person", recipe="nano"))
    library.open_turn("mira", "run-1", "a" * 64)
    code, out, _ = run(capsys, "status")
    said = " ".join(out.split())
    assert code == 0 and address in said and "does not answer" in said and "flenwheel up" not in said
    code, _, err = run(capsys, "end", "mira")
    assert code == 1 and "server" in err
    assert library.ended_turns("mira") == [], "its run may go on"


def test_doctor_names_a_variable_that_does_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLENWHEEL_CACHE", "x")
    monkeypatch.setenv("FLENWHEEL_STUDIO_PORT", "tcp://10.0.0.1:4300")
    code, out, _ = run(capsys, "doctor")
    assert code == 1 and "FLENWHEEL_CACHE in the environment is no setting" in out and "STUDIO_PORT" not in out


def test_doctor_says_which_kernels_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")
    code, out, _ = run(capsys, "doctor")
    assert code == 0 and "kernels: none, PyTorch computes everything (no NVIDIA card is used)" in " ".join(out.split())


def test_doctor_reports_a_leftover_and_removes_it(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    folder = settings.root / "stage-killed"
    folder.mkdir(parents=True)
    code, out, _ = run(capsys, "doctor")
    assert code == 1 and "stage-killed" in out
    code, out, _ = run(capsys, "doctor", "--repair")
    assert code == 0 and not folder.exists()


def test_doctor_names_a_store_that_cannot_be_written_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "store") as disk:
        monkeypatch.setenv("FLENWHEEL_STORE", disk.folder.as_uri())
        code, out, _ = run(capsys, "doctor")
        assert f"the store can be written to: {disk.folder.as_uri()}" in out
        disk.lock()
        code, out, _ = run(capsys, "doctor")
        assert code == 1 and "the store cannot be written to" in out and "read-only" in out
        disk.unlock()
        disk.fill()
        code, out, _ = run(capsys, "doctor")
        assert code == 1 and "The disk is full" in out
        assert not list(disk.folder.glob(".tmp*"))


@pytest.mark.parametrize(
    ("token", "said"),
    [(None, "without a token"), ("", "without a token"), ("  ", "without a token"), ("a", "too short")],
)
def test_up_refuses_to_listen_to_the_world_without_a_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, token: str | None, said: str
) -> None:
    monkeypatch.setenv("FLENWHEEL_HOST", "0.0.0.0")
    if token is not None:
        monkeypatch.setenv("FLENWHEEL_TOKEN", token)
    code, _, err = run(capsys, "up")
    assert code == 1 and said in err and "flenwheel token" in err


def test_a_full_disk_is_a_clear_error_and_the_workspace_stays_whole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "small") as disk:
        monkeypatch.setenv("FLENWHEEL_STORE", disk.folder.as_uri())
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        (pictures / "large.png").write_bytes(bytes(3 * 2**20))
        code, _, err = run(capsys, "ingest", "mira", str(pictures), "--recipe", "nano")
        assert code == 1 and "The disk is full" in err and "flenwheel gc" in err
        code, out, _ = run(capsys, "status")
        assert code == 0 and "No characters yet" in out


def test_a_workspace_that_cannot_be_written_to_is_a_clear_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "workspace") as disk:
        monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(disk.folder))
        disk.lock()
        code, _, err = run(capsys, "up")
        assert code == 1 and "read-only" in err and "Traceback" not in err


def test_a_damaged_journal_is_a_clear_error(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    Library(Store(settings.store_url)).create_character(
        Character(name="mira", trigger="ohwx_char", class_word="person", kind="person", recipe="nano")
    )
    journal = settings.root / "store/journals/characters/mira/pool.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text("{broken\n")
    code, _, err = run(capsys, "status")
    assert code == 1 and "Line 1" in err and "damaged" in err


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1].strip() == version("flenwheel") != "0.0.0"


def test_the_command_starts_quickly_and_loads_nothing_heavy() -> None:
    code = "import sys, deployments.cli.app; print([m for m in ('torch', 'prefect', 'diffusers', 'transformers') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"


def test_more_pictures_of_a_known_character_need_only_its_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, settings: Settings
) -> None:
    library = Library(Store(settings.store_url))
    library.create_character(
        Character(name="mira", trigger="mira_x", class_word="robot", kind="subject", recipe="nano")
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.png").write_bytes(b"x")
    library.open_turn("mira", "run-1", "0" * 64)
    code, _, err = run(capsys, "ingest", "mira", str(tmp_path / "more"), "--trigger", "other_x")
    assert code == 1 and "There is a character mira already" in err
    assert library.sources("mira") == ()


def test_what_was_given_wrongly_is_put_right_before_the_first_turn(
    capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    from flenwheel_core.requests.ingest import SourceFile

    library = Library(Store(settings.store_url))
    library.create_character(
        Character(name="mira", trigger="typo_char", class_word="robot", kind="subject", recipe="nano")
    )
    names = ("a [1].png", "sub/scan.tif", "b.png")
    library.add_sources("mira", tuple(SourceFile(name=name, digest=f"{i:04x}" * 16) for i, name in enumerate(names, 1)))
    code, out, _ = run(capsys, "character", "change", "mira", "--trigger", "ohwx_char")
    assert code == 0 and "trigger typo_char is now ohwx_char" in out
    code, out, _ = run(capsys, "character", "show", "mira")
    assert code == 0 and "trigger ohwx_char, class word robot" in out and all(name in out for name in names)
    code, out, _ = run(capsys, "character", "take-back", "mira", "a [1].png", "sub/scan.tif")
    assert code == 0 and "2 taken back, 1 left" in out
    code, _, err = run(capsys, "character", "take-back", "mira", "sub/scan.tif")
    assert code == 1 and "no picture sub/scan.tif" in err and "flenwheel character show mira" in err
    code, out, _ = run(capsys, "character", "take-back", "mira", "00030003")
    assert code == 0 and library.sources("mira") == ()
    code, out, _ = run(capsys, "character", "remove", "mira")
    assert code == 0 and library.characters() == []
    code, _, err = run(capsys, "character", "show", "mira")
    assert code == 1 and "There is no character 'mira'" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ingest", "mira", ".", "--trigger", "Bad Trigger"), "digits and underscores, such as bad_trigger"),
        (("ingest", "mira", ".", "--trigger", "TOK"), "such as tok"),
        (("ingest", "mira", ".", "--class-word", "Robot-Dog"), "lowercase letters and spaces, such as robot dog"),
        (("editor", "import-triplets", ".", "--character", "Mira Moon"), "such as mira-moon"),
        (("run", "../mira"), "There is no character"),
        (("ingest", "Mira Moon", "."), "such as mira-moon"),
        (("ingest", "m" * 50, "."), "1 to 40 lowercase letters"),
    ],
)
def test_impossible_names_are_explained(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 1 and said in err and "Traceback" not in err


def test_a_folder_without_a_readable_picture_makes_no_character(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "[red]gone :smile:.png").symlink_to("nothing")
    code, out, err = run(capsys, "ingest", "mira", str(pictures), "--trigger", "typo_char", "--recipe", "nano")
    assert code == 1 and "no pictures that can be read" in err
    assert "[red]gone :smile:.png: left out, it is a link to nothing." in out
    code, out, _ = run(capsys, "status")
    assert "No characters yet" in out


@pytest.mark.slow
def test_odd_entries_are_one_line_each_and_the_pictures_beside_them_are_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "sub").mkdir(parents=True)
    Image.effect_noise((200, 200), 60).convert("RGB").save(pictures / "good.png")
    Image.new("RGB", (30, 30)).save(pictures / "sub" / "mira [final].png")
    (pictures / "gone.png").symlink_to("nothing")
    os.mkfifo(pictures / "pipe.png")
    with (pictures / "huge.png").open("wb") as huge:
        huge.truncate(2**40)
    latin = os.fsencode(pictures) + b"/caf\xe9.png"
    Path(os.fsdecode(latin)).write_bytes((pictures / "good.png").read_bytes())
    code, out, err = run(capsys, "ingest", "mira", str(pictures), "--recipe", "nano", "--kind", "subject")
    assert code == 1 and "Missing" in out and "Traceback" not in out + err
    for line in (
        "gone.png: left out, it is a link to nothing.",
        "pipe.png: left out, it is a pipe, not a file.",
        "huge.png: left out. huge.png is too large.",
        "sub/mira [final].png: left out: Its shorter side is 30 px",
        "good.png: left out: It is the same file as caf\N{REPLACEMENT CHARACTER}.png.",
        "1 usable sources",
    ):
        assert line in out


def test_names_that_no_terminal_can_show_are_no_stack_trace(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "ingest", "mira", os.fsdecode(b"gone[/x]\xe9"), "--recipe", "nano")
    assert code == 1 and "gone[/x]" in err


def test_a_folder_whose_name_looks_like_markup_can_be_made_ready_twice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for _ in range(2):
        code, out, _ = run(capsys, "init", str(tmp_path / "dir[/x]"))
        assert code == 0 and "dir[/x]" in out


def test_an_empty_argument_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "ingest", "mira", "", "--recipe", "nano")
    assert code == 1 and "Argument 3 is empty" in err and "a variable of the shell" in err


def test_a_question_that_nobody_can_answer_is_said(
    capsys: pytest.CaptureFixture[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = settings.root / "store" / "blobs" / "ab" / ("ab" + "0" * 62)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    os.utime(left, (0, 0))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, _, err = run(capsys, "gc")
    assert code == 1 and "nobody is at this terminal" in err and left.exists()
