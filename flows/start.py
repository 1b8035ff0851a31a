"""How every flow begins, and how it ends when something is wrong."""

import functools
from collections.abc import Callable
from typing import ParamSpec

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.models.pinning import ModelUse
from flenwheel_core.runner.launch import prepare
from flows.turn import Turn
from tasks.open_turn import NotBegun, open_alone, open_store, open_turn, recipe_of

Parameters = ParamSpec("Parameters")


class NothingToDo(Exception):  # noqa: N818 - no error: the run ends as completed, and says why nothing was done
    """Ends a run at once with a sentence for people."""


def start_turn(character: str, recipe: str | None, *, beside_open_turn: bool) -> Turn:
    """The turn of this flow run, the same one at every replay. Raises NothingToDo if another one is open and none may be beside it."""
    opened = open_turn(character, recipe or None, beside_open_turn)
    if isinstance(opened, NotBegun):
        raise NothingToDo(opened.reason)
    prepare(Settings())
    store = open_store()
    return Turn(
        store=store,
        character=Library(store).character(character),
        recipe=recipe_of(store, opened),
        number=opened.number,
        flow_run=opened.flow_run,
        name=f"{character}-t{opened.number}",
        folder=f"turns/{character}/{opened.number:04d}",
    )


def start_alone(character: str, recipe: str | None, uses: tuple[ModelUse, ...]) -> Turn:
    """A step on its own, with the models it uses: outside of the turns, with documents of its own run."""
    opened, store = open_alone(character, recipe or None, uses), open_store()
    prepare(Settings())
    return Turn(
        store=store,
        character=Library(store).character(character),
        recipe=recipe_of(store, opened),
        number=0,
        flow_run=opened.flow_run,
        name=f"{character}-s{opened.number}",
        folder=f"runs/{opened.flow_run}",
    )


def plain_errors(function: Callable[Parameters, str]) -> "Callable[Parameters, State[str]]":
    """A mistake or a known failure ends the run as Failed with what, why and remedy, not with a stack trace.

    What a flow returns is the message of its end, so that the interface shows it.
    """

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> "State[str]":
        try:
            said = function(*args, **kwargs)
        except NothingToDo as reason:
            return Completed(name="Skipped", message=str(reason), data=str(reason))
        except FlenwheelError as error:
            return Failed(message=error.message)
        return Completed(message=said, data=said)

    return run
