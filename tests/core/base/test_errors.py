from flenwheel_core.base.errors import first_line


def test_an_error_without_words_is_named_by_its_kind() -> None:
    assert first_line(RuntimeError("first\nsecond")) == "first"
    assert first_line(ValueError()) == "ValueError" and first_line(ValueError("\n")) == "ValueError"
