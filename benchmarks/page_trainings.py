"""The page of measurements about what happens inside a training: its states, its order, pictures that hurt, how many lessons it takes."""

from benchmarks.page import Page, Table

_CHOICE = Table(
    "Does it pay to choose among the states of a training?",
    "Characters that no model has seen: {summary length 1.characters} so far, and ten are planned. True pass rates on a "
    "fresh card, by the simulated reviewer who knows the truth: of the last state, of what the rule took, and of what the small card alone "
    "would have taken, which is the luckiest of twelve.",
    "checkpoint_choice",
    {
        "characters": "characters",
        "beaten": "last state beaten",
        "true_pass_rate_last": "last state",
        "true_pass_rate_taken": "what the rule took",
        "true_pass_rate_luckiest": "luckiest",
        "p_value_taken": "p, taken against last",
    },
    {"summary length 1": "trained as the recipe has it"},
)
_CURVE = Table(
    "What do the states of a training show?",
    "Means over the same characters on the small card, at strength 1. Where less of what was asked is shown and identity still grows, a "
    "training is too long.",
    "checkpoint_choice",
    {
        "shown": "shows what was asked",
        "pass_rate": "passes",
        "identity": "identity, held-out sources",
        "expression_rate": "expression",
        "diversity": "diversity",
    },
    {
        "curve length 1 at 0.25": "a quarter of the steps",
        "curve length 1 at 0.5": "half",
        "curve length 1 at 0.75": "three quarters",
        "curve length 1 at 1": "all",
    },
)
_DOUBTS = Table(
    "Are pictures found that do not belong?",
    "Planted in pools of {summary limit 3.good_in_all} good pictures of {summary limit 3.characters} characters: pictures of somebody else "
    "under the character's name, and edits turned round. At the recipe's limit of 3 deviations {summary limit 3.stranger_found} of "
    "{summary limit 3.stranger_in_all} strangers come back, with {summary limit 3.good_found} good pictures; turned ones can be told "
    "only where faces have a mark on one side, as in the harder nano world.",
    "doubtful_pictures",
    {
        "stranger_found": "strangers found",
        "stranger_in_all": "of",
        "turned_found": "turned found",
        "turned_in_all": "of",
        "good_found": "good brought back",
        "good_in_all": "of",
    },
    {f"summary limit {limit:g}": f"limit {limit:g}" for limit in (2, 2.5, 3, 3.5, 4)},
)
_LESSONS = Table(
    "How many lessons does the editor need?",
    "Corrections of 100 edits after so many lessons, the corrected picture alone or with the comparison. {world.lessons} lessons were "
    "there; what was not trained yet is not shown.",
    "lessons_needed",
    {
        "lessons": "lessons",
        "corrections_per_100_learned": "learned characters",
        "corrections_low_learned": "at least (95 %)",
        "corrections_high_learned": "at most",
        "corrections_per_100_unseen": "other characters",
    },
    having="corrections_per_100_learned",
)

TRAININGS = Page(
    "trainings",
    "Inside a training",
    "First figures of small runs, which show how each benchmark works and settle nothing yet: of how many characters they are, each table "
    "says. Ten characters are one command each.",
    "checkpoint_choice",
    (_CHOICE, _CURVE, _DOUBTS, _LESSONS),
)
