import pytest

from flenwheel_core.datasets.captions import GENRES, content_caption, content_words

NAMES = ("claude monet", "monet", "impressionism")


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("An oil painting of a bridge over a pond, impressionist style", "a bridge over a pond"),
        ("Water lilies by Claude Monet, visible brush strokes", "Water lilies"),
        ("a woman with a parasol", "a woman with a parasol"),
        ("Monet's garden at Vetheuil, oil on canvas", "garden at Vetheuil"),
        ("Impressionism", ""),
    ],
)
def test_words_for_manner_and_names_go_and_content_stays(given: str, left: str) -> None:
    assert content_words(given, NAMES) == left


def test_without_words_of_its_own_a_painting_is_what_its_genre_is() -> None:
    assert content_caption(None, "cityscape", NAMES) == "a view of a city"
    assert content_caption("impressionist painting of", "portrait", NAMES) == "a portrait"
    assert content_caption(None, "unknown", ()) == "a scene"
    assert content_caption(None, "veduta", ()) == "a veduta"
    assert not any("paint" in words for words in GENRES.values())
