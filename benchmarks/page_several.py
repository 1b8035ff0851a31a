"""The page of measurements about pictures of several people."""

from benchmarks.page import Page, Table

_RESULT = "people_several"
SEVERAL = Page(
    "several",
    "Pictures of several people",
    "Of {composed.pictures} pictures of two people the right one is chosen in {composed.right_share:.0%} (95 %: at least "
    "{composed.right_low:.1%}); the largest face would be the right one in {composed.largest_right_share:.0%}.",
    _RESULT,
    (
        Table(
            "Is the right person chosen, and everybody else left out?",
            "Composed: a photograph of one of 18 public people beside one of somebody else, whose face is 0.7 to 2 times as high; the "
            "person is known from one to three other photographs and two such pairs. Together: three real photographs of two people, for "
            "each of the two. Others left out: the face is cut away or hidden from training; bodies have no truth to measure against.",
            _RESULT,
            {
                "pictures": "pictures",
                "right_share": "right one",
                "right_low": "at least (95 %)",
                "largest_right_share": "largest is right",
                "others_left_out_share": "other's face left out",
                "own_face_kept_share": "own face kept",
            },
            {"composed": "composed", "together": "together"},
        ),
    ),
)
