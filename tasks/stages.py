"""The stages as tasks."""

from flenwheel_core.stages import base
from tasks.stage_task import StageTask

ingest = StageTask(
    base.INGEST, "Reads, checks and describes the source pictures, and takes the character's fingerprint."
)
enrich = StageTask(base.ENRICH, "Edits the sources along the plan of prompts.")
screen = StageTask(base.SCREEN, "Compares candidates with the fingerprint, measures quality, finds duplicates.")
train = StageTask(base.TRAIN, "Trains a LoRA; goes on from its checkpoint after a crash.")
generate = StageTask(base.GENERATE, "Draws synthetic pictures with a LoRA.")
benchmark = StageTask(
    base.BENCHMARK, "Fills the 23 cells of the model card with champion and challenger, and compares."
)
export = StageTask(base.EXPORT, "Writes the LoRA with its model card, grid and provenance.")
edit_train = StageTask(
    base.EDIT_TRAIN, "Trains the editor's LoRA on triplets; goes on from its checkpoint after a crash."
)
edit_compare = StageTask(
    base.EDIT_COMPARE, "Makes held-out edits with the present editor and the new one, and compares."
)
