"""Imports run one way: nothing that is imported leads back to who imports it."""

from benchmarks.system.house import circles, module_imports, room_imports


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(module_imports()) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert circles(room_imports(module_imports())) == []
