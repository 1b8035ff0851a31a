"""The stages as tasks."""

from flenwheel_core.runner.stage import (
    BENCHMARK,
    EDIT_COMPARE,
    EDIT_TRAIN,
    ENRICH,
    EXPORT,
    GENERATE,
    INGEST,
    SCREEN,
    TRAIN,
)
from tasks.stage_task import StageTask

ingest = StageTask(INGEST, "Reads, checks and describes the source pictures, and takes the character's fingerprint.")
enrich = StageTask(ENRICH, "Edits the sources along the plan of prompts.")
screen = StageTask(SCREEN, "Compares candidates with the fingerprint, measures quality, finds duplicates.")
train = StageTask(TRAIN, "Trains a LoRA; goes on from its checkpoint after a crash.")
generate = StageTask(GENERATE, "Draws synthetic pictures with a LoRA.")
benchmark = StageTask(BENCHMARK, "Fills the 23 cells of the model card with champion and challenger, and compares.")
export = StageTask(EXPORT, "Writes the LoRA with its model card, grid and provenance.")
edit_train = StageTask(EDIT_TRAIN, "Trains the editor's LoRA on triplets; goes on from its checkpoint after a crash.")
edit_compare = StageTask(EDIT_COMPARE, "Makes held-out edits with the present editor and the new one, and compares.")
