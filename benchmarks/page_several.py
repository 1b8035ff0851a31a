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
            "before skin was looked at: with it no fewer are caught.",
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
            "Is writing found that nobody asked for?",
            "Found: asked about, never removed. Overlays: laid over photographs of nine people, invented by a program; a generator's "
            "own may be harder. Of signatures {overlay_signature.caught_share:.0%} are found, of watermarks "
            "{overlay_watermark.caught_share:.0%}. Real: photographs that show letters as they are, many cut off or out of focus, sorted "
            "by eye. Clean: photographs in which the eye found none; {clean_photographs.caught_share:.1%}, "
            "{clean_people.caught_share:.1%} and {clean_portraits.caught_share:.1%} are asked about for nothing. The network was trained "
            "by others on other pictures. Its limit and how places are looked at again were chosen here, on these photographs with other "
            "signatures and watermarks: these two and the clean ones are not quite held out, the other three kinds are. Drawings were not "
            "tried, and are not looked at; the nano world draws no letters. "
            "A photograph of 1024 px costs {speed.core_seconds_per_picture:.2f} s of one core.",
            "written",
            {
                "pictures": "pictures",
                "caught_share": "found",
                "caught_low": "at least (95 %)",
                "caught_high": "at most (95 %)",
            },
            having="caught_share",
        ),
        Table(
            "Are spoiled hands told?",
            "Too seldom: what was tried does not ship. A linear head on what MediaPipe's hand landmarker sees, learned from half of the "
            "hands, with a limit fitted to ask about 5 % of good ones, asks about {wild_spoiled.caught_share:.0%} of the spoiled hands of "
            "other people, as people bring them, and about {wild_good.caught_share:.0%} of the good ones; of hands held up before a wall "
            "about {students_spoiled.caught_share:.0%} and {students_good.caught_share:.0%}. Spoiled by programs, as faces are; swirl and "
            "merged the head never learned. About forty hands in photographs of people are too few to learn from; more that may be used, "
            "of many people, were not found. The nano world draws hands without fingers: there is nothing to spoil.",
            "spoiled_hands",
            {
                "pictures": "hands",
                "caught_share": "asked about",
                "caught_low": "at least (95 %)",
                "caught_high": "at most (95 %)",
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
