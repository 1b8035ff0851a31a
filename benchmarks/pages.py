"""What the pages of measurements ask, and which few columns answer it. Figures in sentences are `{case.figure}` of the result file."""

from benchmarks.page import Page, Table
from benchmarks.page_flywheels import FLYWHEELS
from benchmarks.page_further import FURTHER
from benchmarks.page_nano import NANO
from benchmarks.page_preference import PREFERENCE
from benchmarks.page_real_card import REAL_CARD

_STEP = {"storage": "weights", "cap_gib": "limit, GiB", "step_seconds": "s a step", "peak_reserved_gib": "peak, GiB"}
_EDIT = {
    "storage": "weights",
    "steps": "steps",
    "edit_seconds": "s an edit",
    "seconds_per_call": "s a call",
    "peak_reserved_gib": "peak, GiB",
}
_CORRECTIONS = {
    "corrections_per_100_learned": "corrections of 100 edits, learned characters",
    "corrections_per_100_unseen": "of 100 edits, unseen ones",
    "training_seconds": "training, s",
}
PAGES = (
    REAL_CARD,
    Page(
        "training",
        "Training a FLUX LoRA",
        "A step at 1024 x 1024 takes {ours_24gib_1024.step_seconds:.2f} s within 24 GiB, where diffusers' way takes "
        "{reference_bf16_ckpt_eager_1024.step_seconds:.2f} s and {reference_bf16_ckpt_eager_1024.peak_reserved_gib:.0f} GiB.",
        "flux_step",
        (
            Table(
                "How long does a step take, and what does it need?",
                "A loop of the benchmark's own, one format of pictures, no prior items; random weights of FLUX.1-dev's size.",
                "flux_step",
                _STEP,
                {
                    "ours_1024": "ours, no limit",
                    "ours_24gib_1024": "ours, 24 GiB",
                    "ours_16gib_1024": "ours, 16 GiB",
                    "ours_12gib_1024": "ours, 12 GiB",
                    "ours_512": "ours, 512 x 512",
                    "bf16_1024": "ours, bfloat16",
                    "ours_1024_not_compiled": "ours, not compiled",
                    "ours_1024_launched": "ours, without CUDA graphs",
                    "reference_bf16_ckpt_eager_1024": "diffusers, bfloat16, checkpointed",
                    "reference_nf4_ckpt_eager_1024": "diffusers, NF4, checkpointed",
                },
            ),
            Table(
                "Do quantised weights change the gradient?",
                "Cosine with the gradient of bfloat16 weights: fp8 {gradient_fp8.gradient_cosine:.4f}, NF4 "
                "{gradient_nf4.gradient_cosine:.3f}. Of 21 November, as are bfloat16's and diffusers' steps: NF4 was then "
                "multiplied in bfloat16.",
                "flux_step",
                {"gradient_cosine": "cosine"},
                {"gradient_fp8": "fp8", "gradient_nf4": "NF4"},
            ),
            Table(
                "And what is learned?",
                "The same nano characters trained with each: identity stays within noise, the late loss rises with fp8 and NF4.",
                "nano_fast_settings",
                {
                    "late_loss": "late loss",
                    "identity_cosine": "identity, cosine",
                    "identity_cosine_difference": "against bfloat16",
                    "identity_cosine_standard_error": "standard error",
                },
            ),
            Table(
                "Does the memory plan tell the truth?",
                "Predicted against measured; the largest error of {held_out.configurations} configurations that it was not fitted to "
                "is {held_out.largest_error:.1%}.",
                "memory_plan",
                {"measured_gib": "measured, GiB", "predicted_gib": "predicted, GiB", "error": "error"},
            ),
            Table(
                "Do two cards help?",
                "{comparison.speed_up:.2f} times as fast with the same loss: measured by a loop of the benchmark's own of 25 November, "
                "not through the stage. The command that is named below has trained with the stage since 30 November; "
                "it did not make these figures.",
                "multi_gpu",
                {"processes": "cards", "step_seconds": "s a step", "last_loss": "last loss", "speed_up": "speed-up"},
            ),
            Table(
                "How near are the kernels to what the card can do?",
                "Single operations at FLUX's shapes.",
                "flux_kernels",
                {"microseconds": "microseconds", "tflop_per_second": "TFLOP/s", "tb_per_second": "TB/s"},
            ),
        ),
    ),
    Page(
        "editor",
        "Editing and training the editor",
        "An edit of 1 MP takes {ours_edit_8_steps.edit_seconds:.1f} s in 8 steps and {ours_edit_40_steps_cfg.edit_seconds:.0f} s in 40 "
        "with true CFG; diffusers in NF4 takes {reference_edit_8_steps.edit_seconds:.1f} s in 8 steps.",
        "edit_inference",
        (
            Table(
                "How long does an edit take?",
                "Qwen-Image-Edit's size, one reference, a loop of the benchmark's own without LoRAs, decoding included.",
                "edit_inference",
                _EDIT,
                {
                    "ours_edit_8_steps": "ours, 8 steps",
                    "ours_edit_40_steps_cfg": "ours, 40 steps, true CFG",
                    "reference_edit_8_steps": "diffusers, 8 steps",
                },
            ),
            Table(
                "How long does a step of the editor's training take?",
                "Within 24 GiB at 1 MP {ours_24gib_1mp.step_seconds:.2f} s; diffusers and PEFT "
                "{reference_nf4_ckpt_eager_1mp.step_seconds:.2f} s. Other work was on the machine's processor.",
                "edit_step",
                {"pixels": "side, px", **_STEP, "attention_kept": "blocks that keep attention"},
                {
                    "ours_24gib_1mp": "ours, 24 GiB",
                    "ours_1mp": "ours, 20 GiB",
                    "reference_nf4_ckpt_eager_1mp": "diffusers",
                    "reference_nf4_ckpt_eager_768": "diffusers, 768 px",
                },
            ),
            Table(
                "What does drawing need beside the weights?",
                "A call of the transformer and decoding, one after the other; the plan of drawing is made of these.",
                "drawing_memory",
                {"tokens": "tokens", "allocated_gib": "GiB", "seconds": "s"},
            ),
        ),
    ),
    Page(
        "flywheels",
        "Both flywheels in the nano world",
        "In the harder world, ten held-out characters, a turn each: the first LoRA passes "
        "{summary both_flywheels.champion_pass_rate_first_turn:.0%} of its card, the challenger "
        "{summary both_flywheels.pass_rate_first_turn:.0%} (better for {summary both_flywheels.challenger_better_in_turn_1} of 10, "
        "p = {summary both_flywheels.p_value:.2f}), what is kept {summary both_flywheels.kept_pass_rate_first_turn:.0%}; the first LoRA's "
        "pool with the challenger's steps {summary both_flywheels.longer_first_pass_rate_first_turn:.0%}.",
        "nano_flywheels",
        (
            *FLYWHEELS,
            Table(
                "And three turns, in the easier world?",
                "Means over ten characters of world 1, whose first LoRA passes nearly everything.",
                "nano_flywheels_world1",
                {
                    "characters": "characters",
                    "turns": "turns",
                    "champion_pass_rate_first_turn": "first LoRA passes",
                    "pass_rate_first_turn": "challenger, turn 1",
                    "pass_rate_last_turn": "challenger, last turn",
                    "identity_last_turn": "identity, last turn",
                },
                ("summary both_flywheels", "summary no_real_data"),
                "nano_flywheels.svg",
            ),
            Table(
                "Do corrections make later reviews cheaper?",
                "The run that trained the editors: corrections of 100 edits in the first and the last turn.",
                "nano_flywheels_editor",
                {
                    "characters": "characters",
                    "turns": "turns",
                    "corrections_per_100_first_turn": "first turn",
                    "corrections_per_100_last_turn": "last turn",
                    "corrections_per_100_bare_last_turn": "bare editor, last turn",
                },
                ("summary editor_only",),
            ),
            Table(
                "On characters the editor never saw?",
                "Corrections of 100 edits, six characters: {mean bare editor.corrections_per_100:.0f} with the bare editor, then "
                "{mean promotion 1.corrections_per_100:.1f} and {mean promotion 2.corrections_per_100:.1f}.",
                "nano_editor_unseen",
                {
                    "corrections_per_100": "corrections of 100",
                    "missed_identity": "identity lost",
                    "missed_expression": "expression missed",
                },
                {
                    "mean bare editor": "bare editor",
                    "mean promotion 1": "first promotion",
                    "mean promotion 2": "second promotion",
                },
            ),
            PREFERENCE,
            Table(
                "Which training of the editor?",
                "Lessons of six characters, judged on other edits.",
                "nano_editor_search",
                _CORRECTIONS,
            ),
        ),
    ),
    NANO,
    Page(
        "screening",
        "Screening and the model card",
        "Of pictures of somebody else {faces_wrong_identity.removed_share:.0%} are removed, of right ones "
        "{faces_right.good_lost_share:.0%} lost (photographs, {faces_right.pictures} of each).",
        "screening_truth",
        (
            Table(
                "What is removed, and what is lost?",
                "Pictures whose truth is known.",
                "screening_truth",
                {
                    "pictures": "pictures",
                    "removed_share": "removed",
                    "removed_low": "at least (95 %)",
                    "unsure_share": "unsure",
                    "good_lost_share": "good ones lost",
                    "good_lost_high": "at most (95 %)",
                },
            ),
            Table(
                "How fast is it?",
                "On processors; memory does not grow with the number of pictures.",
                "screening",
                {
                    "images": "pictures",
                    "images_per_second": "pictures a second",
                    "images_per_second_core": "a second and core",
                    "peak_gib": "peak, GiB",
                },
            ),
            Table(
                "Does the model card tell good LoRAs from bad ones?",
                "LoRAs spoiled on purpose; none of them may be promoted over the good one.",
                "model_card",
                {
                    "pass_rate": "pass rate",
                    "identity": "identity",
                    "expression_rate": "expression",
                    "diversity": "diversity",
                    "promoted_over_good": "promoted over the good one",
                },
            ),
        ),
    ),
    Page(
        "system",
        "Server, studio and crashes",
        "{kill_anything.kills} processes killed at random over {kill_anything.turns} turns: {kill_anything.lost_decisions} decisions lost, "
        "{kill_anything.stage_overlaps} stages at once on a card, {kill_anything.result_mismatches} other results.",
        "chaos",
        (
            Table(
                "What survives?",
                "Runs, stages, server, studio and workers are killed; what was decided and made must be there, once.",
                "chaos",
                {
                    "kills": "kills",
                    "turns": "turns",
                    "retries": "retries",
                    "lost_decisions": "decisions lost",
                    "stage_overlaps": "overlaps",
                    "leaked_slots": "slots leaked",
                },
            ),
            Table(
                "What does Prefect cost?",
                "A turn that is made already is replayed; a gate is answered; a whole turn with stages that do nothing.",
                "orchestration",
                {"seconds": "s", "slowest_seconds": "slowest, s", "share_of_an_hour": "share of an hour"},
            ),
            Table(
                "Does the Prefect server answer while many runs write?",
                "Eight runs write to SQLite without a pause, beside workers and schedules. The longest wait for the server's health is "
                "{health_now.longest_seconds:.1f} s. As the driver has it, failed queries wait for Python's garbage collection, and it is "
                "{health_as_the_driver_has_it.longest_seconds:.0f} s, again and again.",
                "server_answers",
                {
                    "median_ms": "median, ms",
                    "p99_ms": "99 of 100 below, ms",
                    "longest_seconds": "longest, s",
                    "answers": "answers",
                    "database_locked": "writes sent again",
                    "runs_finished": "runs finished",
                },
                {
                    "health_now": "health",
                    "run_now": "a run",
                    "health_as_the_driver_has_it": "health, as the driver has it",
                    "run_as_the_driver_has_it": "a run, as the driver has it",
                },
            ),
            Table(
                "How fast is the studio?",
                "A gate of 10 000 pictures.",
                "studio",
                {"p50_ms": "median, ms", "p95_ms": "95 of 100 below, ms", "server_peak_mib": "server at most, MiB"},
            ),
            Table(
                "What does it cost to decode pictures in processes of their own?",
                "Pictures that strangers bring are decoded apart, within limits of time and memory.",
                "decoding",
                {"pictures_per_second": "pictures a second", "processor_seconds_per_picture": "processor, s a picture"},
            ),
            Table(
                "Which tests ran on a card?",
                "All that need one.",
                "gpu_tests",
                {"outcome": "outcome", "seconds": "s"},
            ),
        ),
    ),
    *FURTHER,
    Page(
        "house",
        "How the code stands",
        "{house.circles} circles of imports; a family of models touches existing files {house.files_to_add_a_family} at most, and takes "
        "{house.toy_family_lines} lines where it is small.",
        "house",
        (
            Table(
                "How is the code laid out?",
                "Circles between modules and between rooms; runs of six and more equal lines in two files; lines of the longest module.",
                "house",
                {
                    "circles": "circles",
                    "repeated_runs": "repeated runs",
                    "required_dependencies": "required packages",
                    "longest_file": "longest file, lines",
                    "toy_family_lines": "toy family, lines",
                },
                {"house": "the product"},
            ),
            Table(
                "What does it take to add a family of models?",
                "Existing files outside of its folder that name the folder; a family's own name, such as FLUX.2, may stand in "
                "models/known_models.py and adapters/lora_header.py besides. The toy family stands outside of the package.",
                "house",
                {"existing_files": "existing files"},
                {
                    "flux1": "FLUX.1",
                    "flux2": "FLUX.2",
                    "z_image": "Z-Image",
                    "qwen_image": "Qwen-Image",
                    "qwen_vl": "Qwen2.5-VL",
                    "edit_address": "an editor behind an address",
                    "toy_family": "toy family",
                },
            ),
        ),
    ),
)
