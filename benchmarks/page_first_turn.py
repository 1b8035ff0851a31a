"""The table of a first turn in the harder nano world."""

from benchmarks.page import Table

FIRST_TURN = Table(
    "What does a first turn bring in the harder world?",
    "The first figures of world 2: two characters, each a whole turn with a bare editor; too few to say more than that there is room. "
    "The reviewer called a picture the character from a cosine of 0.66 on, 0.65 since.",
    "nano_first_turn",
    {
        "champion_pass_rate": "first LoRA passes",
        "pass_rate": "challenger",
        "promoted": "promoted",
        "identity": "identity",
        "diversity": "diversity",
        "corrections_per_100": "corrections of 100",
    },
    {
        "no_flywheel_2 held-out-0 turn 1": "first character",
        "no_flywheel_2 held-out-1 turn 1": "second character",
    },
)
