"""Publishing: the champion of a character goes to the Hub, to an object store or to a folder. Nothing is trained or promoted."""

from prefect import flow

from flenwheel_core.base.settings import Settings
from flenwheel_core.records.exports import PublishChoice, champion_export, check_choice, publish_request
from flenwheel_core.requests.publish import Target, What
from flenwheel_core.runner.stage import EXPORT, PUBLISH
from flows.start import plain_errors
from flows.turn_runner import PrefectRunner
from tasks.open_turn import open_store


@flow(name="publish", flow_run_name="publish {character}", persist_result=False)
@plain_errors
def publish(
    character: str,
    to: Target = "hub",
    place: str = "",
    what: What = "model",
    public: bool = False,
    turn: int | None = None,
    allowed_by: str = "",
) -> str:
    """Publishes a champion; what is there already is left alone.

    Args:
        character: Name of the character.
        to: The Hugging Face Hub (its token comes from HF_TOKEN where `flenwheel up` was started), an object store, or a folder.
        place: Repository owner/name, address such as s3://bucket/prefix (the setting publish_url if left empty), or folder.
        what: The LoRA with its card, or a demo that draws with it (a Space).
        public: Let everybody read the repository; otherwise a new one is private.
        turn: The turn whose champion to take; the newest if left empty.
        allowed_by: What allows it where the licences known here do not, such as a licence you bought.
    """
    store, runner = open_store(), PrefectRunner()
    export, _ = champion_export(store, character, turn)
    choice = PublishChoice(to=to, place=place, what=what, public=public, allowed_by=allowed_by)
    choice = check_choice(store, Settings(), export, choice)
    exported = runner.stage(EXPORT, export, f"export {export.lora.name}")
    request = publish_request(store, export, exported, choice)
    return runner.stage(PUBLISH, request, f"publish {export.lora.name}").summary()
