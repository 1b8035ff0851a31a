"""`flenwheel ingest` of folders as other trainers keep them, with the real stage."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from flenwheel_core.base.settings import Settings
from flenwheel_core.images.folder import find_sources
from flenwheel_core.library.characters import Library
from flenwheel_core.nano.world import make_character, make_view, render
from flenwheel_core.store import Store
from tests.kit.command_line import run


def drawn(seed: int, view: int) -> bytes:
    buffer = io.BytesIO()
    render(make_character(seed), replace(make_view(view, portrait_share=1.0), style="photo")).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def kohya(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """12 pictures of one character as others write captions for them, and 12 of the class."""
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")
    folder = tmp_path / "set"
    inside, others = folder / "img" / "10_mira woman", folder / "reg" / "1_woman"
    for part in (inside, others, folder / "mask"):
        part.mkdir(parents=True)
    for number in range(12):
        (inside / f"{number:02}.png").write_bytes(drawn(31, number))
        (others / f"{number:02}.png").write_bytes(drawn(900 + number, number))
    Image.new("L", (64, 64), 255).save(folder / "mask" / "00.png")
    Image.new("L", (64, 64), 0).save(inside / "01-masklabel.png")
    (inside / "00.caption").write_text("[trigger] front view, smiling")
    (inside / "01.TXT").write_bytes("OHWX_MIRA woman, half-left view".encode("utf-16"))
    (inside / "02.txt").write_text("(woman:1.2), <lora:x:0.8>, profile-left view")
    (inside / "metadata.jsonl").write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"file_name": "03.png", "text": "a woman, half-right view"}).encode()
    )
    return folder


ARGUMENTS = ("--recipe", "nano", "--kind", "subject", "--class-word", "woman", "--trigger", "ohwx_mira")


def test_a_dry_run_shows_pictures_and_captions_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], kohya: Path, settings: Settings
) -> None:
    before = sorted(kohya.parent.rglob("*"))
    code, out, _ = run(capsys, "ingest", "mira", str(kohya), "--dry-run", *ARGUMENTS)
    assert code == 0 and sorted(kohya.parent.rglob("*")) == before
    for part in (
        "img/10_mira woman/00.png: ohwx_mira front view, smiling",
        "img/10_mira woman/01.png: ohwx_mira woman, half-left view",
        "01.png: Its caption spells the trigger OHWX_MIRA",
        "img/10_mira woman/04.png: no caption",
        "reg/1_woman/00.png",
        "class pictures",
        "img/10_mira woman/00.png: with the mask 00.png, which would be scaled to its size",
        "01.png: 01-masklabel.png is black all over, so it marks nothing; it would be learned without.",
        "12 pictures would be taken, 4 with captions of their own, 1 with masks, as mira (ohwx_mira woman).",
        "Nothing was changed.",
    ):
        assert part in out
    assert Library(Store(settings.store_url)).characters() == []


@pytest.mark.slow
def test_a_kohya_folder_becomes_the_character_alone(
    capsys: pytest.CaptureFixture[str], kohya: Path, settings: Settings
) -> None:
    code, out, err = run(capsys, "ingest", "mira", str(kohya), *ARGUMENTS)
    assert "12 usable sources (1 with a mask), 0 left out" in out, err
    assert code == 0 and "class pictures" in out and "mask/00.png: masks, used with their pictures" in out
    assert "01.png: kept, but: Its mask is black all over, so it marks nothing; it is learned without." in out
    assert "00.png" in out and "<lora:x:0.8>" in out and "spells the trigger OHWX_MIRA" in out
    taken = Library(Store(settings.store_url)).sources("mira")
    assert [file.name for file in taken] == [file.name for file in find_sources(kohya).files]
    assert sum(bool(file.caption) for file in taken) == 4
