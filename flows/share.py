"""One machine's share of a training over several. The leading training begins these runs itself; nobody else has to."""

from prefect import flow

from flows.start import plain_errors
from tasks.share import take_share


@flow(name="training-share", flow_run_name="{character} share on {slot}", persist_result=False)
@plain_errors
def training_share(
    training: str, attempt: str, place: int, slot: str, cards: int = 1, memory_level: int = 0, character: str = ""
) -> str:
    """Trains along with another machine, as the training asked for that leads.

    Args:
        training: Key of the training's request.
        attempt: Which attempt at it this is for.
        place: Which machine of the training this is.
        slot: The GPU slot whose worker takes this.
        cards: Cards of each machine.
        memory_level: How tight the memory plan is on all machines.
        character: Whose training it is.
    """
    return take_share(training, attempt, place, slot, cards, memory_level)
