"""The stages as tasks."""

from typing import Any, cast

from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.runner.stage import (
    BENCHMARK,
    CAPTION_COMPARE,
    CHOOSE,
    CRITIC_LOOK,
    CRITIC_LOOK_TRAIN,
    CRITIC_SCORE,
    CRITIC_TRAIN,
    EDIT_COMPARE,
    EDIT_TRAIN,
    ENRICH,
    EXPORT,
    GENERATE,
    INGEST,
    INJECT,
    INJECT_TRAIN,
    PUBLISH,
    SCREEN,
    STYLE_STUDY,
    TRAIN,
    VL_TRAIN,
    Stage,
)
from tasks.stage_task import StageTask

_SAID: tuple[tuple[Stage[Any, Any], str], ...] = (
    (INGEST, "Reads, checks and describes the source pictures, and takes the character's fingerprint."),
    (ENRICH, "Edits the sources along the plan of prompts."),
    (SCREEN, "Compares candidates with the fingerprint, measures quality, finds duplicates."),
    (TRAIN, "Trains a LoRA; goes on from its checkpoint after a crash."),
    (GENERATE, "Draws synthetic pictures with a LoRA."),
    (BENCHMARK, "Fills the model card, or a style's card, with champion and challenger, and compares."),
    (CHOOSE, "Tries states of a training at several strengths, and takes the one that beats the last."),
    (STYLE_STUDY, "Draws a style's scenes in several ways and strengths, and finds the LoRA's default strength."),
    (EXPORT, "Writes the LoRA with its model card, grid and provenance."),
    (PUBLISH, "Brings an exported LoRA to the Hub, an object store or a folder."),
    (EDIT_TRAIN, "Trains the editor's LoRA on triplets; goes on from its checkpoint after a crash."),
    (VL_TRAIN, "Trains a LoRA of the vision-language model on captions and judgements; goes on from its checkpoint."),
    (CAPTION_COMPARE, "Describes held-out pictures with the present captioner and the new one, and compares."),
    (EDIT_COMPARE, "Makes held-out edits with the present editor and the new one, and compares."),
    (
        CRITIC_LOOK_TRAIN,
        "A vision-language model learns verdicts, with each turn left out once; goes on from its checkpoint.",
    ),
    (CRITIC_LOOK, "What the vision-language model of a critic says of the pictures of a gate."),
    (CRITIC_TRAIN, "The critic learns from all verdicts there are; each rung is tried on turns that it did not learn."),
    (INJECT_TRAIN, "Trains a linear head from photos to prompts; goes on from its checkpoint after a crash."),
    (INJECT, "Draws identities with what their photos show, beside the controls, and measures all."),
    (CRITIC_SCORE, "Puts the pictures of a gate in order, and says which of them are hopeless."),
)
TASKS: dict[str, StageTask[StageRequest, StageResult]] = {
    stage.name: StageTask(cast("Stage[StageRequest, StageResult]", stage), said) for stage, said in _SAID
}
"""The task of each stage, by the stage's name."""
