"""The page of measurements about real people."""

from benchmarks.page import Page, Table

_READ = {
    "pictures": "pictures",
    "known_share": "known",
    "right_of_known_share": "right, of the known",
    "right_of_known_low": "at least (95 %)",
    "right_share": "right, of all",
}
_ANGLES = {
    "read_front_share": "front",
    "read_half_left_share": "half left",
    "read_half_right_share": "half right",
    "read_profile_left_share": "profile left",
    "read_profile_right_share": "profile right",
    "pictures": "pictures",
}
_EXPRESSIONS = {
    "read_neutral_share": "neutral",
    "read_smiling_share": "smiling",
    "read_angry_share": "angry",
    "read_sad_share": "sad",
    "unknown_share": "unknown",
    "pictures": "pictures",
}
PEOPLE = Page(
    "people",
    "Real people: found, read, told apart",
    "Of profiles of 20 people {people_profile.recall:.0%} are found, where the frontal detector alone finds "
    "{people_profile.frontal_recall:.0%}.",
    "people_detection",
    (
        Table(
            "Is a face found, however it is turned?",
            "Public photographs of 20 people sorted by eye, each second one mirrored, grey and 112 px high, "
            "enlarged; a scanned head rendered from 60 degrees on and below; pictures without a person. The frontal "
            "detector is tried on each fourth picture. One core embeds and reads "
            "{speed.photographs_per_core_second:.1f} photographs of up to 1600 px a second; {speed.pictures} of them "
            "add {speed.memory_added_mib:.0f} MiB.",
            "people_detection",
            {
                "pictures": "pictures",
                "recall": "found",
                "recall_low": "at least (95 %)",
                "frontal_recall": "by the frontal detector",
            },
            {
                "people_profile": "photographs, profile",
                "people_half": "photographs, half view",
                "people_front": "photographs, front",
                "head_profile": "rendered head, 60 to 90 degrees",
                "head_half_and_front": "rendered head, below",
                "nobody": "nobody there",
            },
        ),
        Table(
            "Is the angle read right?",
            "Rows: what is shown; columns: what was read. Photographs as above; what lay between two classes was "
            "left out when they were sorted, so edges are easier here than in life; the "
            "limits of 22 and 55 degrees were chosen on the head and on these photographs: hope for less than the share "
            "right of all.",
            "people_reading",
            _ANGLES,
            {
                "people_front": "front",
                "people_half-left": "half left",
                "people_half-right": "half right",
                "people_profile-left": "profile left",
                "people_profile-right": "profile right",
            },
        ),
        Table(
            "Is the expression read right?",
            "Posed portraits of 29 actors from Taiwan, of those that most observers named as meant. The network was "
            "not fitted to them, the limit of belief was chosen on them. A share of belief below 0.8, and fear, disgust or "
            "surprise, is unknown. Of the card's "
            "{cells.cells} cells the angle can be judged in {cells.angle_cells}, the expression in "
            "{cells.expression_cells} and who it is in {cells.identity_cells}: in a profile neither of the last two is ever read.",
            "people_reading",
            _EXPRESSIONS,
            {
                "expression_neutral": "neutral",
                "expression_smiling": "smiling",
                "expression_angry": "angry",
                "expression_sad": "sad",
            },
        ),
        Table(
            "And all together?",
            "The head's classes stand at their own turn, without 60 degrees, the limit itself.",
            "people_reading",
            _READ,
            {"people": "angle, photographs", "head": "angle, rendered head", "expression": "expression, actors"},
        ),
        Table(
            "Do limits of belief that were fitted to verdicts hold for others?",
            "As `flenwheel screen calibrate` fits them: on half of the characters or people, and then looked at on the other half; "
            "verdicts are the truth. Half of the pictures shows what was asked for, of photographs; of the nano world as many as "
            "there are of each kind of wrong one. A removal is only proposed where it holds on pictures that it was not fitted to, "
            "at the upper end of the interval of the good ones lost too; empty where it does not.",
            "belief_limits",
            {
                "asks_before_right": "asked rightly, before",
                "asks_before_found": "of the wrong, before",
                "asks_right": "asked rightly, fitted",
                "asks_found": "of the wrong, fitted",
                "removes_right": "removed rightly",
                "removes_found": "of the wrong, removed",
                "removes_good_lost": "good ones lost",
            },
            {
                "nano_angle": "nano world, angle",
                "nano_expression": "nano world, expression",
                "nano_spoiled": "nano world, smeared face",
                "people_angle": "photographs, angle",
                "people_expression": "actors, expression",
            },
        ),
        Table(
            "Who is accepted, and who gets through?",
            "Half of a person's photographs is the fingerprint, the rest held out; strangers are everybody else's. "
            "The cohort is always made of other people than those judged; that limits come down to 95 % of the way to it "
            "was chosen on these people, of four shares that were tried. Actors grimace and are of one group, of "
            "which the network saw little: strangers of theirs lie as near as others' own photographs. DeepFace's "
            "own pairs, at the cap: {pairs.accepted_share:.1%} of {pairs.same_pairs} accepted, "
            "{pairs.others_accepted} of {pairs.other_pairs} others. Of {profiles.pictures} profiles "
            "{profiles.unsure_share:.0%} are left to a person. Children: no set with labels was to be had, nothing "
            "is claimed. In brackets the 95 % interval of the share (Wilson), from the file's counts of photographs, as if each were one "
            "of its own: those of one person are not, so the true ones are wider. Few people: {public_cohort.characters} and "
            "{actors_cohort.characters}.",
            "people_verification",
            {
                "held_out": "own photographs",
                "mean_limit": "mean limit",
                "accepted_share": "own accepted",
                "removed_share": "own removed",
                "strangers_accepted_share": "strangers accepted",
                "strangers_removed_share": "strangers removed",
            },
            {
                "public_before": "public people, limits of before",
                "public_cohort": "public people, with the cohort",
                "actors_before": "actors, limits of before",
                "actors_cohort": "actors, with the cohort",
            },
            intervals={
                "accepted_share": "held_out",
                "removed_share": "held_out",
                "strangers_accepted_share": "strangers",
                "strangers_removed_share": "strangers",
            },
        ),
    ),
)
