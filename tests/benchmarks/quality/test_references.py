"""Further references of an edit: other sides of the character, the one that is asked for first."""

from benchmarks.quality.references import further_views
from flenwheel_core.nano.world import View


def test_the_angle_that_is_asked_for_comes_first_and_none_is_shown_twice() -> None:
    given = further_views(View(angle="front"), View(angle="profile-left"), 1)
    assert given[0].angle == "profile-left" and len({view.angle for view in given} | {"front"}) == 4
    assert further_views(View(angle="front"), View(angle="front"), 1)[0].angle == "half-left"
    assert further_views(View(), View(), 1) == further_views(View(), View(), 1) != further_views(View(), View(), 2)
