"""Checks of triplets find what would teach the editor something else than its prompt."""

from pathlib import Path

import pytest
from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.triplets import TripletSet
from flenwheel_core.images.difference import Pair, changed_region, check_pair
from flenwheel_core.lessons.checks import check_triplets
from flenwheel_core.lessons.collect import is_held_out, split
from flenwheel_core.lessons.folders import export_triplets, import_triplets
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture
from tests.kit.edited_scenes import kept, relit, scene, triplet, with_patch


def codes(source: Image.Image, target: Image.Image) -> list[str]:
    return [problem.code for problem in check_pair(Pair(source, target))]


def test_clean_edits_pass() -> None:
    assert codes(scene(), with_patch(scene())) == []
    assert codes(scene(), relit(scene())) == []


def test_shifted_and_zoomed_edits_are_found() -> None:
    assert codes(scene(), relit(scene(shift=12))) == ["shifted"]
    assert codes(scene(), relit(scene(zoom=1.08))) == ["zoomed"]
    assert codes(scene(), relit(scene(zoom=0.92))) == ["zoomed"]


def test_another_view_is_not_called_shifted() -> None:
    other = scene().transpose(Image.Transpose.ROTATE_90)
    assert codes(scene(), other) == []


def test_shape_size_and_identity_of_source_and_target() -> None:
    assert codes(scene(), scene().resize((160, 120))) == ["other_shape"]
    assert codes(scene(48), with_patch(scene(48)))[0] == "too_small"
    assert codes(scene(), scene()) == ["unchanged"]


def test_the_changed_region_is_where_the_edit_is() -> None:
    region = changed_region(scene(), with_patch(scene()), 10, 10)
    assert region[4, 4] > 0.5 and region[0].max() == region[9].max() == 0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


def test_duplicates_missing_prompts_and_missing_pictures_fail(store: Store) -> None:
    good = triplet(store, scene(), with_patch(scene()))
    again = good.model_copy(update={"turn": 2, "prompt": "A  red box"})
    other_prompt = good.model_copy(update={"prompt": "another"})
    blank = triplet(store, scene(), with_patch(scene(), "green"), prompt="  ")
    gone = good.model_copy(update={"target": "f" * 64})
    checks = check_triplets(store, [good, again, other_prompt, blank, gone])
    assert [check.outcome for check in checks] == ["pass", "fail", "pass", "fail", "fail"]
    assert [[problem.code for problem in check.problems] for check in checks] == [
        [],
        ["duplicate"],
        [],
        ["no_prompt"],
        ["missing_picture"],
    ]


def test_a_reference_that_is_the_answer_teaches_to_copy(store: Store) -> None:
    plain = triplet(store, scene(), with_patch(scene()))
    answer = with_patch(scene())
    answer.putpixel((60, 60), (200, 9, 9))
    other, answer_again = kept(store, relit(scene())), kept(store, answer)
    lessons = [
        plain.model_copy(update={"references": given, "prompt": f"edit {number}"})
        for number, given in enumerate(((other,), (other, answer_again), ("f" * 64,)))
    ]
    found = [(check.outcome, [p.code for p in check.problems]) for check in check_triplets(store, lessons)]
    assert found == [("pass", []), ("fail", ["answer_given"]), ("fail", ["missing_picture"])]


def test_held_out_edits_stay_held_out_whatever_is_added(store: Store) -> None:
    base = triplet(store, scene(), with_patch(scene()))
    many = [base.model_copy(update={"prompt": f"prompt {n}"}) for n in range(400)]
    trained, held = split(many, 0.2)
    assert 50 < len(held) < 110 and len(trained) + len(held) == 400
    later = [triplet.model_copy(update={"turn": 9, "target": "a" * 64}) for triplet in held]
    assert all(is_held_out(triplet, 0.2) for triplet in later)


def test_export_and_import_give_the_same_lessons(store: Store, tmp_path: Path) -> None:
    set_ = TripletSet(
        triplets=(
            triplet(store, scene(), with_patch(scene())),
            triplet(store, scene(), relit(scene()), "sunset, évening light"),
        )
    )
    folder = tmp_path / "out"
    assert export_triplets(store, set_, folder) == 2
    with pytest.raises(InputError, match="not empty"):
        export_triplets(store, set_, folder)
    fresh = Store((tmp_path / "other").as_uri())
    from_metadata = import_triplets(fresh, folder, character="ben", author="me")
    (folder / "metadata.jsonl").unlink()
    from_folders = import_triplets(fresh, folder, character="ben", author="me")
    for imported in (from_metadata, from_folders):
        assert imported.notes == () and [t.prompt for t in imported.triplets] == [t.prompt for t in set_.triplets]
        for new, old in zip(imported.triplets, set_.triplets, strict=True):
            assert load_picture(fresh, new.source).tobytes() == load_picture(store, old.source).tobytes()
            assert load_picture(fresh, new.target).tobytes() == load_picture(store, old.target).tobytes()


def test_an_import_never_leaves_its_folder(store: Store, tmp_path: Path) -> None:
    scene().save(tmp_path / "secret.png")
    folder = tmp_path / "in"
    (folder / "target").mkdir(parents=True)
    scene().save(folder / "target" / "a.png")
    row = '{"file_name": "target/a.png", "control_file_name": "../secret.png", "prompt": "x"}'
    (folder / "metadata.jsonl").write_text(row)
    with pytest.raises(InputError, match="no triplets"):
        import_triplets(store, folder, character="ben", author="me")
