"""A preview of a character before any LoRA: pictures drawn with what its photos show. Nothing is promoted, and the pool stays as it is."""

from prefect import flow
from prefect.runtime import flow_run

from flenwheel_core.requests.inject import InjectRequest, InjectTrainRequest
from flenwheel_core.runner.stage import INJECT, INJECT_TRAIN
from flows.frozen import frozen_document
from flows.start import plain_errors
from flows.turn_runner import PrefectRunner
from tasks.injection import keep_head, plan_head, plan_preview, publish_preview
from tasks.open_turn import open_store


@flow(name="inject", flow_run_name="{character} preview", persist_result=False)
@plain_errors
def inject(
    character: str,
    train: bool = False,
    epochs: float = 3.0,
    alphas: list[float] = [0.5, 1.0, 1.5],  # noqa: B006 - the form shows it as the default; nobody changes it
    seeds: list[int] = [1234, 5678, 9999],  # noqa: B006
) -> str:
    """Draws a character with what its photos show, in several strengths, beside the controls; the pictures stand on its page in the studio.

    Args:
        character: Name of the character.
        train: Train the head first, on this character and all others of the workspace; else the newest head for its models is used.
        epochs: How often each photo is seen while the head is trained.
        alphas: Strengths of the injection; 1 is what the head learned, and 0, without it, is always drawn besides.
        seeds: Seeds of the pictures.
    """
    store, runner = open_store(), PrefectRunner()
    folder = f"runs/{flow_run.id}"
    if train:
        asked = frozen_document(store, f"{folder}/head", InjectTrainRequest, lambda: plan_head(character, epochs))
        keep_head(asked, runner.stage(INJECT_TRAIN, asked, f"train head with {character}"))
    request = frozen_document(store, f"{folder}/preview", InjectRequest, lambda: plan_preview(character, alphas, seeds))
    result = runner.stage(INJECT, request, f"draw {character}")
    publish_preview(character, request, result)
    return result.summary()
