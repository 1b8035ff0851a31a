from dataclasses import dataclass
from pathlib import Path

import pytest

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.datasets.choices import PaintingChoices, load_choices
from flenwheel_core.datasets.filters import LabelFilters, beyond_artist_limit, beyond_genre_share
from flenwheel_core.datasets.paintings import Painting


@dataclass(frozen=True)
class Label:
    key: str
    artist: str
    genre: str


def labels(counts: dict[str, int]) -> list[Label]:
    return [Label(f"{genre}:{i}", f"artist-{i % 3}", genre) for genre, count in counts.items() for i in range(count)]


def painted(artist: str, genre: str = "landscape", style: str = "impressionism") -> Painting:
    return Painting("x", artist, genre, style)


@pytest.mark.parametrize(
    ("painting", "reason"),
    [
        (painted("claude-monet"), None),
        (painted("claude-monet", style="realism"), "style"),
        (painted("pablo-picasso"), "rights"),
        (painted("somebody"), "rights"),
        (painted("unknown"), "rights"),
        (painted("claude-monet", genre="sketch-and-study"), "genre"),
    ],
)
def test_labels_alone(painting: Painting, reason: str | None) -> None:
    choices = PaintingChoices(style="Impressionism", genres_left_out=("sketch and study",))
    found = LabelFilters(choices).reason(painting)
    assert (found[0] if found else None) == reason


def test_artists_may_be_named_and_years_given() -> None:
    choices = PaintingChoices(artists=("Claude Monet", "Some Body"), died={"Some Body": 1901})
    filters = LabelFilters(choices)
    assert filters.reason(painted("some-body")) is None and filters.reason(painted("claude-monet")) is None
    assert filters.reason(painted("edgar-degas")) == ("artist", "edgar-degas")
    assert LabelFilters(PaintingChoices(died_by=None)).reason(painted("unknown")) is None


def test_no_genre_has_more_than_its_share() -> None:
    some = labels({"landscape": 80, "portrait": 15, "still-life": 5})
    for share in (0.34, 0.5, 0.7):
        dropped = beyond_genre_share(some, PaintingChoices(genre_share=share))
        left = [one for one in some if one.key not in dropped]
        largest = max(sum(one.genre == genre for one in left) for genre in ("landscape", "portrait"))
        assert largest <= share * len(left) + 1 and sum(one.genre == "still-life" for one in left) == 5
    assert beyond_genre_share(labels({"landscape": 9}), PaintingChoices(genre_share=0.3)) == {}
    assert beyond_genre_share(labels({"landscape": 9, "portrait": 9}), PaintingChoices(genre_share=0.1)) == {}


def test_no_artist_has_more_than_the_limit_and_order_does_not_matter() -> None:
    some = labels({"landscape": 30})
    dropped = beyond_artist_limit(some, PaintingChoices(per_artist=4))
    assert len(some) - len(dropped) == 12
    assert beyond_artist_limit(some[::-1], PaintingChoices(per_artist=4)) == dropped


def test_wrong_choices_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('style = "Impressionism"\nper_artists = 3\n')
    with pytest.raises(RecipeError, match="per_artists"):
        load_choices(path)
    path.write_text('style = "Impressionism"\nper_artist = 3\n[died]\n"Some Body" = 1901\n')
    assert load_choices(path).died == {"Some Body": 1901}
