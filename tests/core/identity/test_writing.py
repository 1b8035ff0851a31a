"""Writing is found in photographs of people where nobody asked for it; the network itself is asked where its weights are here."""

from pathlib import Path

import pytest
from PIL import Image

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.identity.people_weights import WRITING
from flenwheel_core.identity.writing import (
    AS_MUCH,
    NONE,
    Writing,
    WritingFinder,
    WritingOfSources,
    asked_for_writing,
    in_words,
    open_writing_finder,
    writing_finder,
)
from tests.kit.faces import astronaut, needs_writing_weights, with_words, without_face


def record(prompt: str | None = None, parents: tuple[str, ...] = ()) -> ImageRecord:
    return ImageRecord(
        digest="0" * 64,
        width=1,
        height=1,
        kind=ImageKind.ENRICHED,
        parents=parents,
        prompt=prompt,
        stage="enrich",
        request="0" * 64,
        item="a",
    )


@needs_writing_weights
def test_a_line_of_writing_is_found_and_where_it_is() -> None:
    found = WritingFinder(1).find(with_words(without_face("chelsea"), "do not learn me", (20, 255)))
    assert found.belief > 0.7 and found.where.startswith("bottom")
    assert 0.005 < found.share < 0.2


@needs_writing_weights
def test_a_picture_without_writing_shows_none_and_the_answer_is_the_same_again() -> None:
    finder = WritingFinder(1)
    clean = [finder.find(without_face(name)) for name in ("chelsea", "coffee")]
    assert all(one.belief < 0.5 and one.share == 0 for one in clean)
    assert finder.find(without_face("coffee")) == clean[1]
    assert finder.find(Image.new("RGB", (40, 900))) == NONE


@needs_writing_weights
def test_more_writing_covers_more_of_the_picture() -> None:
    """The name tag of the photograph is writing, too."""
    finder, photo = WritingFinder(1), astronaut()
    little, much = (
        finder.find(with_words(photo, text, (30, 440), size))
        for text, size in (("a word", 20), ("many large words", 46))
    )
    assert 0 < little.share < much.share


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        (None, False),
        ("ohwx_char person, portrait, on a beach", False),
        ("holding a sign", True),
        ('a neon light says "open"', True),
        ("wearing a printed shirt with a logo", True),
        ("portrait, no text, no watermark", False),
        ("without any visible letters or logos, smiling", False),
        ("no hat but a poster behind", True),
        ("remove the text", False),
        ("designed by the sea, a context of blue", False),
    ],
)
def test_prompts_that_ask_for_writing(prompt: str | None, asked: bool) -> None:
    assert asked_for_writing(record(prompt)) is asked


def test_as_much_writing_as_the_sources_show_is_no_invention() -> None:
    shirt = WritingOfSources([(f"{number:064}", Writing(0.9, 0.02)) for number in range(5)])
    assert shirt.allowed(record()) == pytest.approx(AS_MUCH * 0.02)
    poster = WritingOfSources([("f" * 64, Writing(0.9, 0.02)), *((f"{number:064}", NONE) for number in range(11))])
    assert poster.allowed(record()) == 0, "one source of twelve excuses its own edits only"
    assert poster.allowed(record(parents=("f" * 64,))) == pytest.approx(AS_MUCH * 0.02)
    assert WritingOfSources(()).allowed(record()) == 0


def test_places_in_words() -> None:
    assert [in_words(x, y) for x, y in ((0.1, 0.1), (0.5, 0.9), (0.9, 0.5), (0.5, 0.5))] == [
        "top left", "bottom", "right", "middle",
    ]  # fmt: skip


def test_absent_weights_are_an_error_of_the_finder_and_none_of_screening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingWeightsError):
        WritingFinder(1, tmp_path)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    own = Settings(workspace=tmp_path, gpu="cpu")
    assert writing_finder("face", 0.4) is None
    with open_writing_finder(None, own) as found:
        assert found is None
    for version, said in ((WRITING.sha256, "not here"), ("0" * 64, "other weights")):
        with pytest.raises(MissingWeightsError, match=said), open_writing_finder(version, own):
            pass


@pytest.mark.parametrize(
    ("verifier", "limit", "looks"),
    [("face", 0.4, True), ("face:SFace", 0.4, True), ("face", 1, False), ("nano@1", 0.4, False), ("style", 0.4, False)],
)
def test_only_photographs_of_people_are_searched(tmp_path: Path, verifier: str, limit: float, looks: bool) -> None:
    assert writing_finder(verifier, limit, tmp_path) is None
    (tmp_path / WRITING.name).touch()
    assert (writing_finder(verifier, limit, tmp_path) == WRITING.sha256) is looks
