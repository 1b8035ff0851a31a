"""What a browser drops is sorted where captions and folders are known, and every picture is taken or named."""

import io
import json

from fastapi.testclient import TestClient
from PIL import Image

from deployments.studio.drop_in import MOST_MASK_BYTES, SOURCE_LIMITS
from flenwheel_core.library.characters import Library
from flenwheel_core.store import Store
from tests.kit.studio_world import FIELDS


def sort(client: TestClient, names: list[str], texts: dict[str, bytes]) -> dict[str, object]:
    files = [("texts", (name, data)) for name, data in texts.items()]
    answer = client.post("/api/v1/folders/sorted", data={"names": json.dumps(names)}, files=files or None)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_dropped_files_are_sorted_as_a_folder_is(client: TestClient) -> None:
    names = [
        "a/01.png",
        "b/01.png",
        "a/01.TXT",
        "b/metadata.csv",
        "reg/1.png",
        "a/01-masklabel.png",
        "a/.hidden.png",
        "__MACOSX/x.png",
        "/",
        "..",
        "film.mp4",
    ]
    texts = {
        "a/01.TXT": "sitting’s".encode("utf-16"),
        "b/metadata.csv": b"\xef\xbb\xbffile_name;text\r\n01.png;standing\r\n",
    }
    found = sort(client, names, texts)
    assert found["pictures"] == [
        {"name": "a/01.png", "caption": "sitting’s", "mask": "a/01-masklabel.png"},
        {"name": "b/01.png", "caption": "standing", "mask": None},
    ]
    notes = found["notes"]
    assert isinstance(notes, list) and len(notes) == 5
    assert notes[0] == "a/.hidden.png: left out, its name begins with a dot, which hides it."
    said = "\n".join(notes)
    assert "reg/1.png: left out: class pictures" in said and "film.mp4: left out" in said
    assert "laid out for OneTrainer" in said and "a/01-masklabel.png: masks, used with their pictures" in said


def test_a_text_that_was_not_sent_is_named(client: TestClient) -> None:
    found = sort(client, ["01.png", "01.txt"], {})
    assert found["pictures"] == [{"name": "01.png", "caption": None, "mask": None}]
    assert found["notes"] == ["01.txt: not used. Its text was not sent."]


def test_impossible_lists_of_names_are_refused_in_words(client: TestClient) -> None:
    for names in ("no json", "[1]", json.dumps(["x"] * 5001), json.dumps(["x" * 301]), '["\\ud800.png"'):
        answer = client.post("/api/v1/folders/sorted", data={"names": names})
        assert answer.status_code == 422 and answer.json()["what"], names


def test_pictures_of_one_name_in_two_folders_are_both_kept_and_copies_named(client: TestClient, store: Store) -> None:
    assert client.post("/api/v1/characters", json=FIELDS).status_code == 200
    notes = []
    for colour, name in (("red", "a/01.png"), ("blue", "b/01.png"), ("red", "c\\01.png")):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
        answer = client.post(
            "/api/v1/characters/rex/sources",
            files={"file": (name, buffer.getvalue())},
            data={"caption": "one\r\n two\u2028" + "白" * 6660},
        )
        assert answer.status_code == 200, answer.text
        notes.append(answer.json()["note"])
    assert notes[:2] == ["", ""] and "already, as a/01.png" in notes[2]
    sources = Library(store).sources("rex")
    assert [source.name for source in sources] == ["c/01.png", "b/01.png"]
    assert sources[0].caption == "one two " + "白" * 6660


def test_a_mask_is_kept_with_its_picture(client: TestClient, store: Store) -> None:
    assert client.post("/api/v1/characters", json=FIELDS).status_code == 200
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    for mask, said in ((b"x" * (MOST_MASK_BYTES + 1), "Its mask is too large"), (b"any bytes", "")):
        files = {"file": ("01.png", buffer.getvalue()), "mask": ("01-masklabel.png", mask)}
        answer = client.post("/api/v1/characters/rex/sources", files=files)
        assert answer.status_code == 200 and said in answer.json()["note"]
    (file,) = Library(store).sources("rex")
    assert file.mask is not None and store.get_blob(file.mask) == b"any bytes"


def test_the_largest_picture_and_the_largest_mask_fit_one_upload(client: TestClient) -> None:
    assert client.post("/api/v1/characters", json=FIELDS).status_code == 200
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    picture = buffer.getvalue() + bytes(
        SOURCE_LIMITS.maximum_bytes - len(buffer.getvalue())
    )  # readers stop where the picture ends
    files = {"file": ("01.png", picture), "mask": ("01-masklabel.png", bytes(MOST_MASK_BYTES))}
    answer = client.post("/api/v1/characters/rex/sources", files=files)
    assert answer.status_code == 200 and answer.json()["note"] == ""
