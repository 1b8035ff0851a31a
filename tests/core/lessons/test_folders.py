"""Triplets in folders that others wrote: every pair that can be read comes in, everything else is a line."""

import json
from pathlib import Path

import pytest
from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.triplets import Triplet, TripletSet
from flenwheel_core.lessons.folders import Imported, export_triplets, import_triplets
from flenwheel_core.store import Store
from tests.kit.edited_scenes import kept, relit, scene, triplet, with_patch


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    for part in ("control", "target"):
        (folder / part).mkdir(parents=True)
    for name in ("001", "002"):
        scene().save(folder / "control" / f"{name}.png")
        with_patch(scene()).save(folder / "target" / f"{name}.png")
    (folder / "target" / "002.txt").write_text("make it red")
    return folder


def taken(store: Store, folder: Path) -> Imported:
    return import_triplets(store, folder, character="ben", author="me")


@pytest.mark.parametrize(
    ("data", "prompt"),
    [
        ("the dog’s head".encode("cp1252"), "the dog’s head"),
        ("\ufeffturn left".encode(), "turn left"),
        ("turn left".encode("utf-16"), "turn left"),
        (b"turn\r\n left\r\n", "turn left"),
    ],
)
def test_prompts_of_any_editor_are_the_same_words(store: Store, pairs: Path, data: bytes, prompt: str) -> None:
    (pairs / "target" / "001.txt").write_bytes(data)
    found = taken(store, pairs)
    assert [t.prompt for t in found.triplets] == [prompt, "make it red"]
    assert all("Windows-1252" in note for note in found.notes)


@pytest.mark.parametrize("suffix", [".TXT", ".caption"])
def test_prompts_under_other_suffixes_are_found(store: Store, pairs: Path, suffix: str) -> None:
    (pairs / "target" / f"001{suffix}").write_text("turn left")
    assert [t.prompt for t in taken(store, pairs).triplets] == ["turn left", "make it red"]


def test_what_cannot_be_used_is_named_and_the_rest_comes_in(store: Store, pairs: Path) -> None:
    for name, data in (("001", b""), ("003", b"\x00\x01"), ("004", b"x"), ("005", b"x")):
        (pairs / "target" / f"{name}.txt").write_bytes(data)
    for name in ("003", "004"):
        with_patch(scene()).save(pairs / "target" / f"{name}.png")
    scene().save(pairs / "control" / "003.png")
    scene().save(pairs / "control" / "lonely.png")
    scene().save(pairs / "control" / "005.png")
    (pairs / "target" / "005.png").write_bytes(b"no picture")
    found = taken(store, pairs)
    assert [t.prompt for t in found.triplets] == ["make it red"]
    said = "\n".join(found.notes)
    for part in (
        "target/001.png, target/003.png: left out. It has no prompt.",
        "target/003.txt: not used, it is no text.",
        "target/004.png: left out. No control picture has its name.",
        "control/lonely.png: left out. No target picture has its name.",
        "target/005.png: left out. 005.png is no picture that can be read.",
    ):
        assert part in said


def test_a_line_that_describes_no_triplet_leaves_the_others(store: Store, pairs: Path) -> None:
    good = {"file_name": "target\\001.png", "control_file_name": "./control/001.png", "prompt": "the dog’s hat"}
    lines = [
        "{",
        "[1]",
        '{"prompt": "x"}',
        json.dumps({**good, "labels": {"angle": "?"}}),
        json.dumps(good, ensure_ascii=False),
    ]
    (pairs / "metadata.jsonl").write_bytes("\r\n".join(lines).encode("cp1252"))
    found = taken(store, pairs)
    assert [t.prompt for t in found.triplets] == ["the dog’s hat"]
    assert [note.split(" of ")[0] for note in found.notes[1:]] == ["Line 1", "Line 2", "Line 3", "Line 4"]


def test_metadata_in_the_words_of_other_tools(store: Store, pairs: Path) -> None:
    rows = [
        {"input_image": "control/001.png", "edited_image": "target/001.png", "edit_prompt": "turn left"},
        {"control_path": "control/002.png", "image_path": "target/002.png", "caption": "turn right"},
    ]
    (pairs / "metadata.jsonl").write_text("\ufeff" + "\n".join(json.dumps(row) for row in rows), "utf-8")
    assert [t.prompt for t in taken(store, pairs).triplets] == ["turn left", "turn right"]


def test_half_a_character_in_a_prompt_can_be_written_down(store: Store, pairs: Path) -> None:
    row = '{"file_name": "target/001.png", "control_file_name": "control/001.png", "prompt": "a \\ud83d hat"}'
    (pairs / "metadata.jsonl").write_text(row)
    found = taken(store, pairs)
    store.journal("lessons", Triplet).extend(list(found.triplets))
    assert found.triplets[0].prompt == "a ? hat"


def test_metadata_that_cannot_be_read_leaves_the_folders(store: Store, pairs: Path) -> None:
    (pairs / "metadata.jsonl").write_bytes(b"\x00\x01")
    found = taken(store, pairs)
    assert [t.prompt for t in found.triplets] == ["make it red"] and "metadata.jsonl: not used" in found.notes[0]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\n", "\x1c", "\x0b", "\t", "\u00a0", "帽"])
def test_an_exported_set_comes_back_letter_by_letter(store: Store, tmp_path: Path, mark: str) -> None:
    first = triplet(store, scene(), with_patch(scene()), f"a red hat{mark}smiling")
    second = triplet(store, scene(), relit(scene()), "plain")
    export_triplets(store, TripletSet(triplets=(first, second)), tmp_path / "out")
    found = taken(store, tmp_path / "out")
    assert found.notes == () and [facts(t) for t in found.triplets] == [facts(first), facts(second)]
    elsewhere = taken(Store((tmp_path / "other").as_uri()), tmp_path / "out")
    assert [t.prompt for t in elsewhere.triplets] == [first.prompt, second.prompt]
    assert len((tmp_path / "out" / "metadata.jsonl").read_text("utf-8").splitlines()) == 2


def test_references_come_back_in_their_order(store: Store, tmp_path: Path) -> None:
    further = tuple(kept(store, scene(background=colour)) for colour in ("red", "green"))
    several = triplet(store, scene(), with_patch(scene())).model_copy(update={"references": further})
    export_triplets(store, TripletSet(triplets=(several,)), tmp_path / "out")
    (back,) = taken(store, tmp_path / "out").triplets
    assert facts(back) == facts(several) and back.references == further
    lines = tmp_path / "out" / "metadata.jsonl"
    lines.write_text(lines.read_text().replace('["reference_1', '[7, "reference_1'))
    assert "describes no triplet" in taken(store, tmp_path / "out").notes[0]
    (tmp_path / "out" / "reference_2" / "00000-ann.png").unlink()
    lines.write_text(lines.read_text().replace("[7, ", "["))
    with pytest.raises(InputError, match=r"no triplets[\s\S]*reference_2"):
        taken(store, tmp_path / "out")


def facts(lesson: Triplet) -> tuple[object, ...]:
    return lesson.source, lesson.prompt, lesson.target, lesson.kind, lesson.labels


def test_a_folder_without_pairs_is_a_clear_error(store: Store, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "alone.png")
    with pytest.raises(InputError, match=r"(?s)holds no triplets.*What to do"):
        taken(store, tmp_path)


def picture_pair(folder: Path, control: str, target: str) -> Path:
    for name, image in ((control, scene()), (target, with_patch(scene()))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("control", "target", "text"),
    [
        ("train/control/001.png", "train/target/001.png", "train/target/001.txt"),
        ("Control/001.PNG", "Target/001.png", "Target/001.TXT"),
        ("control_1/001.png", "target/001.png", "target/001.txt"),
        ("control images/001.png", "target images/001.png", "target images/001.txt"),
        ("before/001.png", "after/001.png", "after/001.txt"),
        ("control/001.png", "target/001.png", "control/001.txt"),
        ("control/cafe\u0301.png", "target/caf\u00e9.png", "target/cafe\u0301.txt"),
    ],
)
def test_pairs_as_others_lay_them_out(store: Store, tmp_path: Path, control: str, target: str, text: str) -> None:
    folder = picture_pair(tmp_path / "set", control, target)
    (folder / text).write_text("make it red")
    (triplet,) = taken(store, folder).triplets
    assert triplet.prompt == "make it red" and triplet.source != triplet.target


@pytest.mark.parametrize("separator", [",", ";"])
def test_pairs_in_a_table(store: Store, tmp_path: Path, separator: str) -> None:
    folder = picture_pair(tmp_path / "set", "a.png", "b.png")
    rows = [("file_name", "control_file_name", "text"), ("b.png", "a.png", "make it red"), ("b.png", "", "")]
    (folder / "metadata.csv").write_text("".join(separator.join(row) + "\n" for row in rows), "utf-8-sig")
    found = taken(store, folder)
    assert [triplet.prompt for triplet in found.triplets] == ["make it red"]
