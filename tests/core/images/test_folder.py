"""Folders as people keep them: every file is either taken or named in one line."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flenwheel_core.base.errors import InputError
from flenwheel_core.images.folder import find_sources, sort_folder


def test_pictures_with_captions_of_either_kind(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.JPG", "sub/c.webp", "d.heic"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.txt").write_text("\ufeff a caption\n in lines ", "utf-8")
    (tmp_path / "metadata.jsonl").write_text(
        json.dumps({"file_name": "b.JPG", "text": "from metadata"})
        + "\n"
        + json.dumps({"file_name": "sub/c.webp", "caption": "below"})
    )
    found = find_sources(tmp_path)
    assert [(file.name, file.caption) for file in found.files] == [
        ("a.png", "a caption in lines"),
        ("b.JPG", "from metadata"),
        ("d.heic", None),
        ("sub/c.webp", "below"),
    ]
    assert found.notes == ()


def test_what_is_not_used_is_named(tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(b"x")
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "film.mp4").write_bytes(b"x")
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(outside)
    (folder / "ok.png").write_bytes(b"x")
    (folder / "ok.txt").write_bytes(b"\xff\xfe\xfd")
    (folder / "metadata.jsonl").write_text('no json\n{"file_name": "gone.png", "text": "t"}\n{"text": "nameless"}\n')
    found = find_sources(folder)
    assert [file.name for file in found.files] == ["ok.png"]
    notes = " ".join(found.notes)
    for part in ("film.mp4", "link.png", "ok.txt", "line 1", "gone.png", "line 3"):
        assert part in notes


def test_a_single_picture_is_a_folder_of_one(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"x")
    (tmp_path / "one.png.txt").write_text("kohya style")
    assert [(file.name, file.caption) for file in find_sources(tmp_path / "one.png").files] == [
        ("one.png", "kohya style")
    ]


def test_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        find_sources(tmp_path / "nothing")


def captions(folder: Path) -> dict[str, str | None]:
    return {file.name: file.caption for file in find_sources(folder).files}


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_captions_in_the_encodings_of_windows(tmp_path: Path, encoding: str) -> None:
    pictures(tmp_path, "01.png", "02.png")
    (tmp_path / "01.txt").write_bytes("a person’s café\r\n at night".encode(encoding))
    row = json.dumps({"file_name": "02.png", "text": "standing’s"}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_bytes(f"{row}\r\n".encode(encoding))
    found = find_sources(tmp_path)
    assert captions(tmp_path) == {"01.png": "a person’s café at night", "02.png": "standing’s"}
    assert found.notes == (
        ("metadata.jsonl, 01.txt: read as Windows-1252, it is no UTF-8 text.",) if encoding == "cp1252" else ()
    )


def test_a_line_separator_inside_a_caption_is_no_end_of_line(tmp_path: Path) -> None:
    pictures(tmp_path, "01.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "01.png", "text": "one\u2028two\x85three"}\n', "utf-8")
    assert captions(tmp_path) == {"01.png": "one two three"} and find_sources(tmp_path).notes == ()


@pytest.mark.parametrize("suffix", [".caption", ".TXT", ".cap", ".Txt", ".png.txt"])
def test_captions_under_the_suffixes_of_other_tools(tmp_path: Path, suffix: str) -> None:
    pictures(tmp_path, "a/01.png")
    (tmp_path / f"a/01{suffix}").write_text("sitting")
    assert captions(tmp_path) == {"a/01.png": "sitting"} and find_sources(tmp_path).notes == ()
    assert find_sources(tmp_path / "a/01.png").files[0].caption == "sitting"


def test_a_caption_in_a_json_file_beside_the_picture(tmp_path: Path) -> None:
    pictures(tmp_path, "01.png")
    (tmp_path / "01.json").write_text('{"caption": "sitting"}')
    assert captions(tmp_path) == {"01.png": "sitting"}


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("metadata.csv", 'file_name,text\n01.png,"sitting, ""at ease"""\ntrain/02.png,standing\n'),
        ("metadata.csv", '\ufefffile_name;text\r\n01.png;"sitting, ""at ease"""\r\ntrain/02.png;standing\r\n'),
        ("captions.tsv", 'image\tcaption\n01.png\tsitting, "at ease"\ntrain/02\tstanding\n'.replace('"', "")),
        ("meta.json", '{"01": {"caption": "sitting", "tags": "at ease"}, "train/02.png": {"tags": "standing"}}'),
        ("meta.json", '{"/home/ana/set/01": {"caption": "sitting, at ease"}, "C:\\\\set\\\\02.png": {"caption": "standing"}}'),
        ("rows.json", '[{"file_name": "01.png", "text": "sitting, at ease"}, {"file": "train/02.png", "text": "standing"}]'),
        ("any.jsonl", '{"image_path": "/x/01.png", "caption": "sitting, at ease"}\n{"image_path": "train/02.png", "caption": "standing"}'),
        ("train/metadata.jsonl", '{"file_name": "02.png", "text": "standing"}\n{"file_name": "../01.png", "text": "sitting, at ease"}'),
    ],
)  # fmt: skip
def test_captions_in_tables_of_other_tools(tmp_path: Path, table: str, text: str) -> None:
    pictures(tmp_path, "01.png", "train/02.png")
    (tmp_path / table).write_text(text, "utf-8")
    found = captions(tmp_path)
    assert (found["01.png"] or "").replace('"', "") == "sitting, at ease" and found["train/02.png"] == "standing"
    assert all("Hugging Face" in note for note in find_sources(tmp_path).notes)


def test_captions_that_are_not_used_are_one_line_each_matter(tmp_path: Path) -> None:
    pictures(tmp_path, "01.png", "02.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\n01.png,3\n")
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    (tmp_path / "01.txt").write_text("from the text")
    (tmp_path / "01.caption").write_text("from the caption")
    (tmp_path / "02.txt").write_bytes(b"\x00\x01\x02")
    (tmp_path / "notes.txt").write_text("to do")
    (tmp_path / "captions.jsonl").write_text("".join(f'{{"file_name": "no-{n}.png", "text": "t"}}\n' for n in range(9)))
    assert captions(tmp_path) == {"01.png": "from the text", "02.png": None}
    assert find_sources(tmp_path).notes == (
        "metadata.parquet: captions in Parquet are not read; save them as metadata.csv.",
        "no-0.png, no-1.png, no-2.png, no-3.png, no-4.png and 4 more: named in captions.jsonl, but not there.",
        "metadata.csv: it has no columns file_name and text; not used.",
        "01.caption: not used: the picture has another caption already.",
        "02.txt: not used, it is no text.",
        "notes.txt: not used, no picture has this name.",
    )


def test_a_caption_is_cut_between_characters_and_with_a_word(tmp_path: Path) -> None:
    pictures(tmp_path, "01.png")
    (tmp_path / "01.txt").write_text("a" + "白" * 6667, "utf-8")
    found = find_sources(tmp_path)
    assert found.files[0].caption == "a" + "白" * 6666
    assert found.notes == ("01.png: its caption has 20002 bytes; the first 20000 are used.",)


def test_a_caption_is_never_read_through_a_link_out_of_the_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("password")
    pictures(tmp_path / "set", "01.png")
    (tmp_path / "set/01.txt").symlink_to(secret)
    assert captions(tmp_path / "set") == {"01.png": None}


def test_a_kohya_folder_gives_the_character_and_not_the_class(tmp_path: Path) -> None:
    pictures(tmp_path, "img/10_mira woman/01.png", "img/10_mira woman/02.png", "reg/1_woman/01.png", "mask/01.png")
    pictures(tmp_path, "img/10_mira woman/01_0512x0512_flux.npz", "log/events.out")
    (tmp_path / "img/10_mira woman/01.caption").write_text("sitting")
    (tmp_path / "reg/1_woman/01.caption").write_text("a woman")
    found = find_sources(tmp_path)
    assert [(file.name, file.caption) for file in found.files] == [
        ("img/10_mira woman/01.png", "sitting"),
        ("img/10_mira woman/02.png", None),
    ]
    assert found.notes[0] == "The folder is laid out for kohya's scripts."
    said = "\n".join(found.notes)
    for part in (
        "10_mira woman",
        "reg/1_woman/01.png: left out: class",
        "mask/01.png: masks, used with their pictures",
        "01_0512x0512_flux.npz",
    ):
        assert part in said
    assert "01.caption" not in said


@pytest.mark.parametrize(
    ("tool", "names"),
    [
        ("OneTrainer", ["01-masklabel.png", "01-condlabel.png"]),
        ("ai-toolkit", ["_latent_cache/01_ab12.safetensors"]),
        ("musubi-tuner", ["01_0512x0768_flux.safetensors", "01_flux_te.safetensors"]),
    ],
)
def test_folders_of_other_trainers_are_recognised(tmp_path: Path, tool: str, names: list[str]) -> None:
    found = find_sources(pictures(tmp_path, "01.png", *names))
    assert [file.name for file in found.files] == ["01.png"]
    assert tool in found.notes[0] and all(any(name in note for note in found.notes[1:]) for name in names)


def test_masks_and_control_pictures_are_told_by_their_names(tmp_path: Path) -> None:
    left_out = (
        "01_mask.png",
        "masks/a.png",
        "_controls/01.png",
        "Regularization/9.png",
        "class_images/1.png",
        "@eaDir/01.png/T.jpg",
    )
    kept = ("01.png", "hero_mask.png", "control room/1.png", "masked ball/1.png", "registry/1.png", "samples/1.png")
    found = find_sources(pictures(tmp_path, *left_out, *kept))
    assert sorted(file.name for file in found.files) == sorted(kept)
    assert all(any(name in note for note in found.notes) for name in left_out)


def test_a_hugging_face_image_folder_is_taken_whole(tmp_path: Path) -> None:
    pictures(tmp_path, "train/01.png", "validation/02.png")
    for split, name in (("train", "01.png"), ("validation", "02.png")):
        (tmp_path / split / "metadata.csv").write_text(f"file_name,text\n{name},from {split}\n")
    assert captions(tmp_path) == {"train/01.png": "from train", "validation/02.png": "from validation"}
    assert find_sources(tmp_path).notes == ("It is a Hugging Face image folder: all of train, validation is taken.",)


def test_a_table_of_another_machine_means_the_picture_whose_path_ends_most_like_it(tmp_path: Path) -> None:
    pictures(tmp_path, "front/01.png", "side/01.png", "side/02.png")
    (tmp_path / "meta.json").write_text(
        json.dumps(
            {"/data/set/front/01": {"caption": "a"}, "D:\\set\\side\\01.png": {"caption": "b"}, "02": {"caption": "c"}}
        )
    )
    assert captions(tmp_path) == {"front/01.png": "a", "side/01.png": "b", "side/02.png": "c"}
    (tmp_path / "meta.json").write_text('{"01": {"caption": "which?"}, "/x/01.png": {"caption": "which?"}}')
    assert set(captions(tmp_path).values()) == {None}
    assert find_sources(tmp_path).notes == ("meta.json: none of the pictures it names is here; not used.",)


def test_json_files_that_hold_no_captions_are_nobodys_matter(tmp_path: Path) -> None:
    pictures(tmp_path, "01.png")
    (tmp_path / "config.json").write_text('{"prompt": "a robot", "model": {"name": "flux", "description": "x"}}')
    (tmp_path / "workflow.json").write_text('[{"id": 3, "text": "a robot"}]')
    (tmp_path / "broken.json").write_text("{" * 100_000)
    assert captions(tmp_path) == {"01.png": None} and find_sources(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("meta_cap.json", '{"01.png": {"caption": "sit', "meta_cap.json: no JSON that can be read; not used."),
        ("metadata.json", '[{"file_name": "01.png"}]', "metadata.json: it names no picture with a caption; not used."),
        ("01.json", '{"caption": "sit', "01.json: not used, no caption was found in it."),
        ("01.json", '{"width": 3}', "01.json: not used, no caption was found in it."),
        ("01.txt", "\ufeff \x85\x7f", "01.txt: not used, no caption was found in it."),
    ],
)
def test_captions_that_cannot_be_found_where_they_are_kept_are_said(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    pictures(tmp_path, "01.png")
    (tmp_path / name).write_text(text, "utf-8")
    found = find_sources(tmp_path)
    assert found.files[0].caption is None and said in found.notes


PARTS = st.sampled_from(
    ["01", "02", "reg", "mask", "10_mira woman", "control", "train", "metadata", "meta", "01-masklabel", "x y"]
)
SUFFIXES = st.sampled_from(
    [".png", ".JPG", "", ".txt", ".caption", ".json", ".jsonl", ".csv", ".tsv", ".npz", ".mp4", ".parquet"]
)
NAMES = st.builds(lambda parts, suffix: "/".join(parts) + suffix, st.lists(PARTS, min_size=1, max_size=3), SUFFIXES)
KEYS = st.sampled_from(["text", "file_name", "caption", "tags", "01"])
JSONISH = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from(["01.png", "01", "\ud800"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
CONTENTS = st.one_of(st.binary(max_size=120), st.builds(lambda value: json.dumps(value).encode(), JSONISH))


@settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # the first name draws from tables of all of Unicode
@given(st.dictionaries(NAMES, CONTENTS, max_size=8))
def test_whatever_lies_in_a_folder_every_picture_is_taken_or_named(files: dict[str, bytes]) -> None:
    found = sort_folder(tuple(files), files.__getitem__)
    said = "\n".join(found.notes)
    for name in files:
        if Path(name).suffix.lower() in (".png", ".jpg", ".mp4", ".npz", ".parquet", ""):
            assert name in found.captions or name in said or " more: " in said
    assert all(caption is None or caption.encode() for caption in found.captions.values())
