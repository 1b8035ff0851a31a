"""The tables of turns in the harder nano world: what one brings, and what its parts bring."""

from benchmarks.page import Table

ARMS = {
    "summary both_flywheels": "the whole flywheel",
    "summary sources_only": "nothing edited, nothing drawn",
    "summary no_enrichment": "nothing edited",
    "summary no_review": "what screening passes is taken",
    "summary erring_reviewer": "a tenth of the verdicts wrong",
    "summary no_real_data": "the challenger learns from its own pictures",
}
WHOLE = ("summary both_flywheels",)

FLYWHEELS = (
    Table(
        "What does a turn bring?",
        "Means over ten held-out characters, by the [plan](../flywheel_plan.md) that was fixed before the run; a picture passes if it is "
        "the character and shows what was asked. The challenger of turn 1 is better than the first LoRA for "
        "{summary both_flywheels.challenger_better_in_turn_1} and worse for {summary both_flywheels.challenger_worse_in_turn_1} "
        "(9 were the aim). It learns from what the first LoRA drew, and for more steps; the first LoRA's own pool, trained for as many "
        "steps, is better than it for all ten (p = {summary both_flywheels.longer_first_p_value:.3f}) and gains as much. So a second gate "
        "is not shown to help in this world. The time of the machine ended amid the second turn. The first two characters were known "
        "from an earlier run, and the kernel of diversity was changed after the plan was written and before the run, when it was seen to "
        "keep better LoRAs back; on the other eight 5 challengers are better (p = 0.53). The kernel is wider again since.",
        "nano_flywheels",
        {
            "champion_pass_rate_first_turn": "first LoRA",
            "pass_rate_first_turn": "challenger",
            "kept_pass_rate_first_turn": "kept",
            "same_steps_pass_rate_first_turn": "challenger, as few steps",
            "longer_first_pass_rate_first_turn": "first LoRA's pool, as many steps",
            "corrections_per_100_first_turn": "corrections of 100 edits",
        },
        {"summary both_flywheels": "share of the card that passes"},
    ),
    Table(
        "What do single parts bring?",
        "Each arm leaves one part out; points of the pass rate that it loses beside the whole flywheel, for the same characters. What is "
        "kept is the better of two LoRAs on the pictures it is measured on, so first LoRAs and challengers are compared with their own "
        "kind as well. A larger pool also trains for more steps. `nobody_looks` and `no_screening` were not reached.",
        "nano_flywheels",
        {
            "characters": "characters",
            "lost_points": "kept loses",
            "lost_p_value": "p",
            "first_lost_points": "first LoRA loses",
            "first_lost_p_value": "p",
            "challenger_lost_points": "challenger loses",
            "challenger_lost_p_value": "p",
        },
        ARMS,
    ),
    Table(
        "And character by character?",
        "The whole flywheel's first turn.",
        "nano_flywheels",
        {
            "champion_pass_rate": "first LoRA",
            "pass_rate": "challenger",
            "longer_first_pass_rate": "first LoRA's pool, longer",
            "identity": "identity",
            "diversity": "diversity",
            "promoted": "promoted",
        },
        {f"both_flywheels held-out-{number} turn 1": f"character {number}" for number in range(10)},
    ),
    Table(
        "Does the editor learn in one turn?",
        "From the lessons of all ten characters, on held-out edits.",
        "nano_flywheels",
        {
            "lessons": "lessons",
            "held_out_edits": "held-out edits",
            "corrections_per_100_before": "corrections of 100, before",
            "corrections_per_100_after": "after",
            "edits_passed_p_value": "p",
            "editor_promoted": "promoted",
        },
        {"both_flywheels flywheel 2 turn 1": "after turn 1"},
    ),
    Table(
        "Which kernel sees a collapse, and not the character's own clothes?",
        "Rendered characters of whom no other figure is. Drop of the Vendi score when all pictures of the card show one view, and when "
        "pictures in other clothes give way to the character's own. The rule alarms at a drop of 0.15 and keeps a LoRA back at 0.12.",
        "diversity_kernel",
        {
            "diversity_of_truth": "diversity of 46 true pictures",
            "collapse_drop": "one view: drop",
            "least_collapse_drop": "at least",
            "clothes_drop": "own clothes: drop",
            "largest_clothes_drop": "at most",
            "used": "used",
        },
        {f"width {width:g}": f"width {width:g}" for width in (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.12)},
    ),
)
