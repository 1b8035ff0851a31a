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
        Table(
            "Which spoiled faces does screening catch?",
            "Caught: removed or unsure. Of smeared faces of the nano world {nano_smeared_face.caught_share:.0%} are caught "
            "({nano_smeared_face.other_caught_share:.0%} without the detector), of right ones {nano_right.removed_share:.1%} are removed "
            "and {nano_right.caught_share:.1%} doubted ({nano_right.other_caught_share:.1%} without it). "
            "Faces: photographs of nine people who were not trained on, the detector alone. Of honest ones {faces_good.caught_share:.1%} "
            "are doubted, none is ever removed. Of skin like wax (smooth) {faces_smooth.caught_share:.0%} is caught, of wax made "
            "in another way, which it never learned (denoised), {faces_denoised.caught_share:.0%}. The five others were measured "
            "before skin was looked at: with it no fewer are caught. Hands and writing are not looked at.",
            "spoiled",
            {
                "pictures": "pictures",
                "removed_share": "removed",
                "caught_share": "caught",
                "caught_low": "at least (95 %)",
                "caught_high": "at most (95 %)",
                "other_caught_share": "without the detector",
            },
        ),
        Table(
            "Does a LoRA give its face to somebody else?",
            "The first LoRA of a nano demo. Named: trigger and class word. Other: another of the class, without the trigger. Two people in "
            "one picture need a base model that draws them, so a card.",
            "bleed",
            {
                "pictures": "pictures",
                "is_character_share": "is the character",
                "low": "at least (95 %)",
                "high": "at most (95 %)",
            },
        ),
    ),
)
