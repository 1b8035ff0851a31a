from pathlib import Path

from benchmarks.system.house import circles, existing_files, room_imports


def test_circles_are_found_through_others() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set[str]()}
    assert circles(imports) == [["a", "b", "c"]]


def test_a_room_is_a_folder_below_a_package() -> None:
    modules = {
        "flenwheel_core.store.store": {"flenwheel_core.store.blobs", "flenwheel_core.base.ids"},
        "flows.turn": {"tasks.gates"},
    }
    assert room_imports(modules) == {"flenwheel_core.store": {"flenwheel_core.base"}, "flows": {"tasks"}}


def test_files_that_name_a_family_are_found() -> None:
    assert "flenwheel_core/base/errors.py" in existing_files("FlenwheelError", Path("/nowhere"))
