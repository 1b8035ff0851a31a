"""A training of a turn with what comes after it, if the recipe asks for it: states are tried, doubtful pictures are looked for."""

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.doubts import Doubt
from flenwheel_core.documents.evidence import GateEvidence
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.evaluation.doubts import find_doubts, with_left_out
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.doubts import Doubts
from flenwheel_core.plans.doubts import without
from flenwheel_core.records.exports import export_again
from flenwheel_core.requests.export import ExportRequest, ExportResult
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.stage import CHOOSE, EXPORT, TRAIN
from flows.turn import Turn
from flows.turn_runner import StageRunner


def trained(turn: Turn, runner: StageRunner, step: str) -> TrainResult:
    """The LoRA of a step (v1 or challenger): the state of its training that was chosen. What looked doubtful waits for the next gate."""
    request = turn.train_request(step)
    result = runner.stage(TRAIN, request, f"train {turn.name} {step}")
    look_for_doubts(turn, runner, step, request, result)
    choosing = turn.choose_request(step, result)
    if choosing is None:
        return result
    chosen = runner.stage(CHOOSE, choosing, f"choose {turn.name} {step}")
    Choices(turn.store, turn.character.name).add(choosing)
    return of_state(result, chosen.lora)


def of_state(result: TrainResult, lora: LoraRecord) -> TrainResult:
    """The training as one that ended at a state: what was drawn later is no picture of it."""
    samples = tuple(sample for sample in result.samples if sample.step <= lora.steps)
    return result.model_copy(update={"lora": lora, "samples": samples})


def standing(turn: Turn, step: str, lora: LoraRecord) -> LoraRecord:
    """What a person took in place of a LoRA by now; frozen for `step`."""
    return turn.frozen(f"standing-{step}", LoraRecord, lambda: Choices(turn.store, turn.character.name).standing(lora))


def taken_export(turn: Turn, runner: StageRunner) -> ExportResult | None:
    """What a person took of the champion's training after it went to its benchmark becomes the champion and is exported.

    None where the champion stays as it is and has its export.
    """
    character = turn.character.name
    Choices(turn.store, character).follow()
    asked = turn.store.get_document(f"{turn.folder}/export-taken", ExportRequest) or export_again(turn.store, character)
    if asked is None:
        return None
    request = turn.frozen("export-taken", ExportRequest, lambda: asked)
    return runner.stage(EXPORT, request, f"export {request.lora.name} as taken")


def look_for_doubts(turn: Turn, runner: StageRunner, step: str, request: TrainRequest, result: TrainResult) -> None:
    """Keeps what the training found doubtful, with what a training without it says if the recipe asks for that."""
    recipe, labels = turn.recipe.doubts, {entry.image.digest: entry.image.labels for entry in turn.whole_pool()}
    found = find_doubts(result.looks, labels, recipe, result.lora.name)
    if found and recipe.leave_out:
        asked = turn.frozen(f"train-{step}-without", TrainRequest, lambda: without(request, found))
        again = runner.stage(TRAIN, asked, f"train {turn.name} {step} without {len(found)} pictures")
        real = frozenset(item.image for item in request.items if item.real)
        found = with_left_out(found, result.looks, again.looks, real, labels)
    Doubts(turn.store, turn.character.name).raise_(found)


def evidence(turn: Turn, lora: LoraRecord | None) -> Digest | None:
    """What the next gate says of a LoRA's training and of doubtful pictures; None if there is nothing to say."""
    found: tuple[Doubt, ...] = Doubts(turn.store, turn.character.name).waiting()
    choice = Choices(turn.store, turn.character.name).of(lora)
    if choice is None and not found:
        return None
    return turn.store.put_blob(GateEvidence(choice=choice, doubts=found).to_bytes())
