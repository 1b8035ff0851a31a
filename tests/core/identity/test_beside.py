"""A picture of several people is framed for one of them: the others are cut away or hidden, the character's face never is."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from flenwheel_core.documents.framings import Box, Framing
from flenwheel_core.identity.beside import framing_for

SIZE = (1000, 600)
Pixels = tuple[float, float, float, float]


def seen(framing: Framing, box: Pixels, size: tuple[int, int] = SIZE) -> float:
    """The share of a face that training sees, on a grid."""
    shares = [(step + 0.5) / 12 for step in range(12)]
    places = [
        ((box[0] + x * (box[2] - box[0])) / size[0], (box[1] + y * (box[3] - box[1])) / size[1])
        for x in shares
        for y in shares
    ]
    kept = [
        (framing.crop is None or framing.crop.holds(*at)) and not any(one.holds(*at) for one in framing.hidden)
        for at in places
    ]
    return sum(kept) / len(kept)


def test_two_side_by_side_are_parted_by_a_cut_nearer_to_the_smaller_one() -> None:
    framing = framing_for(SIZE, (200, 150, 300, 250), [(600, 100, 800, 300)], 256)
    assert framing.crop is not None and framing.hidden == ()
    assert framing.crop.left == 0 and 0.30 < framing.crop.right < 0.5
    other_way = framing_for(SIZE, (600, 100, 800, 300), [(200, 150, 300, 250)], 256)
    assert other_way.crop is not None and other_way.crop.left == framing.crop.right


def test_a_cut_that_would_leave_too_little_is_a_mask() -> None:
    framing = framing_for(SIZE, (200, 150, 300, 250), [(600, 100, 800, 300)], 500)
    assert framing.crop is None and len(framing.hidden) == 1
    assert framing.hidden[0].left > 0.3 and framing.hidden[0].bottom == 1


def test_a_child_on_the_shoulders_is_hidden_not_cut() -> None:
    own, child = (400.0, 300.0, 500.0, 400.0), (420.0, 80.0, 500.0, 160.0)
    framing = framing_for(SIZE, own, [child], 256)
    assert framing.crop is None and seen(framing, own) == 1 and seen(framing, child) == 0


def test_a_person_between_two_others_keeps_the_strip_between_the_lines() -> None:
    own, others = (450.0, 200.0, 550.0, 300.0), [(100.0, 200.0, 200.0, 300.0), (800.0, 200.0, 900.0, 300.0)]
    framing = framing_for(SIZE, own, others, 256)
    assert framing.crop is not None and framing.crop.left > 0.2 and framing.crop.right < 0.8
    assert all(seen(framing, other) == 0 for other in others)


faces = some.builds(
    lambda x, y, side: (float(x), float(y), float(x + side), float(y + side)),
    some.integers(0, 850),
    some.integers(0, 450),
    some.integers(40, 150),
)


@settings(max_examples=200, deadline=None)
@example(own=(125.0, 40.0, 165.0, 80.0), others=[(89.0, 0.0, 129.0, 40.0)])
@given(own=faces, others=some.lists(faces, min_size=1, max_size=4))
def test_whatever_is_found_the_characters_own_face_stays_when_faces_do_not_touch(
    own: Pixels, others: list[Pixels]
) -> None:
    apart = [
        other
        for other in others
        if other[0] >= own[2] or other[2] <= own[0] or other[1] >= own[3] or other[3] <= own[1]
    ]
    framing = framing_for(SIZE, own, apart, 128)
    assert seen(framing, own) == 1
    for other in apart:
        assert seen(framing, other) < 0.35
    assert (
        framing.crop is None
        or min((framing.crop.right - framing.crop.left) * SIZE[0], (framing.crop.bottom - framing.crop.top) * SIZE[1])
        > 127
    )


@pytest.mark.parametrize("box", [(0.5, 0.1, 0.5, 0.9), (0.1, 0.9, 0.5, 0.2)])
def test_a_rectangle_without_a_surface_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="right > left"):
        Box(left=box[0], top=box[1], right=box[2], bottom=box[3])
