"""The command `inject`: what it writes, and what it says of mistakes."""

import json
import os
from pathlib import Path

import pytest

from deployments.cli import inject as command
from deployments.injection import run as injection
from flenwheel_core.base.settings import Settings
from flenwheel_core.images.folder import find_sources
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.injections import Injections
from flenwheel_core.models.hub import hub_cache
from flenwheel_core.nano import injection_lessons
from flenwheel_core.plans.source_files import keep_files
from flenwheel_core.requests.inject import InjectTrainRequest
from flenwheel_core.store import Store
from tests.kit.command_line import run
from tests.kit.injection_world import photo_folder
from tests.kit.run_here import run_here


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")
    for module in (command, injection):
        monkeypatch.setattr(module, "run_in_child", run_here)


def test_folders_leave_a_head_a_grid_and_facts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = photo_folder(tmp_path / "seed_123", 1)
    models = ("--qwen3-vl-model", "nano", "--qwen-image-model", "nano")
    small = (
        "--steps",
        "1",
        "--height",
        "128",
        "--width",
        "128",
        "--alphas",
        "0.5,1.5",
        "--gen-seeds",
        "7",
        "8",
        *models,
    )
    where = ("--seed-dirs", str(one), "--out-dir", str(tmp_path / "out"))
    more = tmp_path / "head.toml"
    more.write_text("[head]\ncells = 2\n[learning]\nseed = 7\n")
    code, out, err = run(capsys, "inject", *where, *small, "--train", "--epochs", "0.5", "--head-recipe", str(more))
    assert code == 0, err
    assert "towards zero it would learn nothing" in out
    head = tmp_path / "out" / "checkpoints" / "linear_head.safetensors"
    first = head.read_bytes()
    trained = store_of(tmp_path).heads()
    asked = Store(Settings(workspace=tmp_path / "workspace").store_url).get_request(
        InjectTrainRequest, trained[0].facts.request
    )
    assert trained[0].facts.cells == 2
    assert asked is not None and (asked.learning.seed, asked.learning.epochs) == (7, 0.5)
    facts = json.loads((tmp_path / "out" / "generations" / "seed_123_meta.json").read_text())
    assert facts["alphas"] == [0.0, 0.5, 1.5] and facts["gen_seeds"] == [7, 8] and len(facts["cells"]) == 6
    assert (tmp_path / "out" / "generations" / "seed_123_alpha_grid.png").read_bytes().startswith(b"\x89PNG")

    code, _, err = run(
        capsys, "inject", *where, *small
    )  # the head that stands there: what was drawn is not drawn again
    assert code == 0, err
    assert head.read_bytes() == first
    assert store_of(tmp_path).heads() == trained and not trained[0].brought

    # Who the head learned from is told by their photos, also later; and where the residual goes, by the head.
    two = photo_folder(tmp_path / "seed_9", 9)
    where = ("--seed-dirs", f"{one},{two}", "--out-dir", str(tmp_path / "out"), "--verifier", "nano")
    code, _, err = run(capsys, "inject", *where, *small)
    assert code == 0, err
    facts = json.loads((tmp_path / "out" / "generations" / "seed_123_meta.json").read_text())
    assert {row["known"] for row in facts["figures"]} == {True, False}
    assert {cell["method"] for cell in facts["cells"]} == {"injection", "shuffled"}, "what is measured has a control"
    code, _, err = run(capsys, "inject", *where, *small, "--base-prompt", "a cat")
    assert code == 1 and "does not say 'person'" in err


def store_of(folder: Path) -> Injections:
    return Injections(Store(Settings(workspace=folder / "workspace").store_url))


def test_the_token_that_is_given_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "standing")
    monkeypatch.setenv("HUGGINGFACE_TOKEN", "other")
    command.settings_of(None, None, None, None)
    assert os.environ["HF_TOKEN"] == "standing"
    command.settings_of(None, None, "given", None)
    assert os.environ["HF_TOKEN"] == "given"
    monkeypatch.delenv("HF_TOKEN")
    command.settings_of(None, None, None, None)
    assert os.environ["HF_TOKEN"] == "other"


def test_models_lie_where_all_other_commands_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert hub_cache(command.settings_of(None, None, None, None)) == hub_cache(Settings())
    assert hub_cache(command.settings_of(None, None, None, tmp_path / "named")) == tmp_path / "named" / "hub"


NANO = ("--qwen3-vl-model", "nano", "--qwen-image-model", "nano", "--out-dir", "made")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name a character, or folders of photos"),
        (("mira", "--seed-dirs", "x"), "Name a character, or folders of photos"),
        (("nobody",), "There is no character"),
        (("nobody", "--steps", "4"), "--steps is for folders of photos"),
        (("nobody", "--schedule", "--lr", "0.1"), "--lr cannot be scheduled"),
        (("--seed-dirs", "here", "--schedule"), "Only a character's preview can be scheduled"),
        (("--seed-dirs", "nowhere"), "There is no folder nowhere"),
        (("--seed-dirs", "here", "--alphas", "strong"), "'strong' is no number"),
        (("--seed-dirs", "here", "--qwen3-vl-model", "Qwen/Qwen2-VL-7B-Instruct"), "cannot be used to see with"),
        (("--seed-dirs", "here", "--qwen-image-model", "Qwen/Qwen2.5-7B-Instruct"), "draws nothing"),
        (("--seed-dirs", "here", "--dtype", "fp16"), "Nothing is computed in fp16"),
        (("--seed-dirs", "here", "--device", "tpu"), "There is no device"),
        (("--seed-dirs", "here", "--train", "--stages", "zero"), "There is no stage 'zero'"),
        (("--seed-dirs", "here", "--train", "--base-prompt", "a cat"), "does not say 'person'"),
        (
            ("--seed-dirs", "here", "--train", "--words", "man", "--base-prompt", "a portrait of a woman"),
            "does not say 'man'",
        ),
        (("--seed-dirs", "here", "--epochs", "5"), "--epochs changes nothing without --train"),
        (("--seed-dirs", "here", "--batch-size", "4"), "--batch-size changes nothing without --train"),
        (("--seed-dirs", "here", "--stages", "flow"), "--stages changes nothing without --train"),
        (("--seed-dirs", "here", "--place", "all"), "--place changes nothing without --train"),
        (("nobody", "--tokens", "4"), "--tokens changes nothing without --train"),
        (("nobody", "--schedule", "--epochs", "4"), "--epochs changes nothing without --train"),
        (("--seed-dirs", "here", "--head-recipe", "head.toml"), "--head-recipe changes nothing without --train"),
        (("--seed-dirs", "here", "--train", "--head-recipe", "none.toml"), "There is no file none.toml"),
        (("nobody", "--schedule", "--train", "--head-recipe", "head.toml"), "--head-recipe cannot be scheduled"),
        (("--seed-dirs", "here", "--train", "--head", "x"), "--head changes nothing with --train"),
        (
            ("--seed-dirs", "here", "--train", "--oracle-steps", "9"),
            "--oracle-steps changes nothing without --verifier",
        ),
        (("--seed-dirs", "here", "--out-dir", "empty"), "There is no head in empty"),
        (("--seed-dirs", "here", "--out-dir", "old"), "is a pickle"),
        (("--seed-dirs", "bare"), "bare holds no photo_view_*.png"),
        (("--seed-dirs", "head.toml"), "There is no folder head.toml"),
        (("--seed-dirs", "spoiled", "--train"), "photo_view_0.png"),
        (("--seed-dirs", "empty-file", "--train"), "photo_view_0.png"),
        (("--seed-dirs", "here,here"), "Two folders are called here"),
        (("--seed-dirs", ","), "Name a character, or folders of photos"),
        (("--seed-dirs", "here", "--alphas", "1,nan"), "is no number that can be drawn with"),
        (("--seed-dirs", "here", "--alphas=-1"), "between 0 and 10"),
        (("--seed-dirs", "here", "--alphas", ","), "names nothing"),
        (("--seed-dirs", "here", "--gen-seeds", "1.5"), "whole number"),
        (("--seed-dirs", "here", "--gen-seeds", "many"), "'many' is no number"),
        (("--seed-dirs", "here", "--train", "--epochs", "0"), "epochs"),
        (("--seed-dirs", "here", "--train", "--epochs", "nan"), "epochs"),
        (("--seed-dirs", "here", "--train", "--batch-size", "0"), "batch"),
        (("--seed-dirs", "here", "--train", "--lr", "0"), "lr"),
        (("--seed-dirs", "here", "--train", "--tokens", "0"), "tokens"),
        (("--seed-dirs", "here", "--train", "--steps", "0", *NANO), "steps"),
        (("--seed-dirs", "here", "--train", "--guidance", "nan", *NANO), "guidance"),
        (("--seed-dirs", "here", "--train", "--width", "10", *NANO), "width"),
        (("--seed-dirs", "here", "--train", "--height", "1000000", *NANO), "height"),
        (("--seed-dirs", "here", "--head", "here"), "here is no head"),
        (("--seed-dirs", "here", "--head", "head.toml"), "head.toml is no head"),
        (("--seed-dirs", "here", "--verifier", "nobody", "--train", *NANO), "nobody"),
    ],
)
def test_a_mistake_is_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    photo_folder(tmp_path / "here", 1, 1)
    (tmp_path / "head.toml").write_text("[head]\ncells = 2\n")
    (tmp_path / "bare").mkdir()
    for name, content in (("spoiled", b"no picture"), ("empty-file", b"")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo_view_0.png").write_bytes(content)
    (tmp_path / "old" / "checkpoints").mkdir(parents=True)
    (tmp_path / "old" / "checkpoints" / "linear_head.pt").write_bytes(b"pickle")
    code, out, err = run(capsys, "inject", *arguments)
    assert code == 1 and said in err and "Traceback" not in out + err


def test_an_output_folder_that_cannot_be_written_to_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    one = photo_folder(tmp_path / "seed_1", 1, 1)
    code, _, err = run(
        capsys, "inject", "--seed-dirs", str(one), "--out-dir", str(tmp_path / "file" / "out"), "--train"
    )
    assert code == 1 and "Nothing can be written" in err


def test_a_character_of_the_nano_world_needs_no_training_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for constant, small in (("CHARACTERS", 2), ("PHOTOS", 2), ("EPOCHS", 1.0)):
        monkeypatch.setattr(injection_lessons, constant, small)
    store = Store(Settings(workspace=tmp_path / "workspace").store_url)
    library = Library(store)
    for name, recipe in (("mira", "nano"), ("ada", "flux_character_24gb")):
        made = Character(name=name, trigger="ohwx_char", class_word="person", kind="subject", recipe=recipe)
        library.create_character(made)
        library.add_sources(name, keep_files(store, find_sources(photo_folder(tmp_path / name, 3, 4))).files)
    code, out, err = run(capsys, "inject", "mira", "--alphas", "1", "--gen-seeds", "7")
    assert code == 0, err
    assert "one is trained first, on 2 drawn characters" in out and "pictures. " in out
    assert Injections(store).preview("mira") is not None
    (head,) = Injections(store).heads()
    assert head.facts.place == "phrase" and head.facts.stages == ("regression",)
    code, out, _ = run(capsys, "inject", "mira", "--alphas", "1", "--gen-seeds", "7")
    assert code == 0 and "trained first" not in out
    assert injection_lessons.nano_head("ada", store, Settings()) is None, (
        "models of full size are trained when somebody says so"
    )
