"""Folders and tables as people and other tools make them, beyond the layouts that documents describe."""

import unicodedata

import pytest

from flenwheel_core.images.folder import SortedFolder, sort_folder


def found_in(files: dict[str, str]) -> SortedFolder:
    return sort_folder(tuple(files), lambda name: files[name].encode())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", '[{"file_name": "01.png", "text": "smiling"}]'),
        ("metadata.jsonl", '{\n "file_name": "01.png",\n "text": "smiling"\n}\n'),
        ("metadata.jsonl", '{"file_name": "01.png", "text": "smiling"},\n{"file_name": "02.png", "text": "a hat"},\n'),
        ("metadata.jsonl", '{"file_name": "01.png", "text": "smiling"}\r{"file_name": "02.png", "text": "a hat"}\r'),
        ("metadata.jsonl", '{"01.png": "smiling", "02.png": "a hat"}'),
        ("captions.csv", "01.png,smiling\n"),
        ("captions.csv", '01.png,"smiling"\n02.png,"a hat, red"\n'),
        ("metadata.csv", "Dateiname;Beschreibung\n01.png;smiling\n"),
        ("metadata.csv", "file_name|text\n01.png|smiling\n"),
        ("captions.txt", "01.png|smiling\n02.png|a hat\n"),
        ("captions.txt", "01.png\tsmiling\n"),
        ("captions.txt", "01.png: smiling\n"),
        ("captions/01.txt", "smiling"),
        ("01.tags", "smiling"),
        ("01.png.txt", "smiling"),
    ],
)
def test_captions_are_found(name: str, text: str) -> None:
    assert found_in({"01.png": "", "02.png": "", name: text}).captions["01.png"] == "smiling"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metadata.csv", "file_name,label\n01.png,3\n", "no columns file_name and text"),
        ("metadata.csv", "a,b\nx,y\n", "no columns file_name and text"),
        ("captions.txt", "a person smiling\n", "no picture has this name"),
        ("captions.txt", "01.png|smiling\nand more\n", "no picture has this name"),
        ("captions/09.txt", "smiling", "no picture has this name"),
        ("01.wd14", "smiling", "beside a picture, but not read"),
        ("01.yaml", "caption: smiling", "beside a picture, but not read"),
        ("01.txt", "I'm sorry, I can't describe people", "a captioner refused"),
        ("metadata.jsonl", '{"file_name": "01.png", "text": "Sorry, I cannot help"}', "its caption is not used"),
    ],
)
def test_captions_that_are_not_used_are_said(name: str, text: str, said: str) -> None:
    found = found_in({"01.png": "", name: text})
    assert found.captions == {"01.png": None}
    assert any(said in note for note in found.notes), found.notes


def test_two_folders_with_a_picture_of_this_name_leave_it_open_whose_the_caption_is() -> None:
    found = found_in({"a/01.png": "", "b/01.png": "", "captions/01.txt": "smiling"})
    assert (
        set(found.captions.values()) == {None} and "captions/01.txt: not used, no picture has this name." in found.notes
    )


def test_accents_are_the_same_in_either_spelling() -> None:
    composed, apart = unicodedata.normalize("NFC", "caf\u00e9"), unicodedata.normalize("NFD", "caf\u00e9")
    assert found_in({f"{apart}.png": "", f"{composed}.txt": "smiling"}).captions == {f"{apart}.png": "smiling"}
    table = f'{{"file_name": "{composed}.png", "text": "smiling"}}'
    assert found_in({f"{apart}.png": "", "metadata.jsonl": table}).captions == {f"{apart}.png": "smiling"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("model/sample/mira_e000001_00_20240101120000.png", "samples that a trainer drew"),
        ("model/sample/mira_000100_00_20240101120000_42.png", "samples that a trainer drew"),
        ("output/job/samples/1700000000000__000000250_0.jpg", "samples that a trainer drew"),
        ("samples/0/2024-01-01_00-00-00-training-sample-100-1-0.png", "samples that a trainer drew"),
        ("class/01.png", "class pictures"),
        ("img_reg/1_woman/01.png", "class pictures"),
        ("reg_woman/01.png", "class pictures"),
        ("1_woman_reg/01.png", "class pictures"),
        ("01_depth.png", "control pictures"),
        ("depth/01.png", "control pictures"),
        ("OpenPose/01.png", "control pictures"),
        ("canny_maps/01.png", "control pictures"),
    ],
)
def test_what_is_no_picture_of_the_character(name: str, why: str) -> None:
    found = found_in({"01.png": "", name: ""})
    assert list(found.captions) == ["01.png"] and any(why in note for note in found.notes)


@pytest.mark.parametrize(
    "name",
    [
        "10_reg man/01.png",
        "samples/01.png",
        "poses/01.png",
        "classic car/01.png",
        "07_depth.png",
        "20240101_120000.jpg",
    ],
)
def test_names_that_only_sound_alike_are_taken(name: str) -> None:
    assert name in found_in({"01.png": "", name: ""}).captions


@pytest.mark.parametrize("mark", ["_alpha", "-matte", ".mask"])
def test_masks_by_other_names(mark: str) -> None:
    assert found_in({"01.png": "", f"01{mark}.png": ""}).masks == {"01.png": f"01{mark}.png"}
