"""How every flow begins, and how it ends when something is wrong."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Failed

from flenwheel_core.errors import FlenwheelError
from flenwheel_core.library import Library
from flenwheel_core.pinning import ModelUse
from flows.turn import Turn
from tasks.opening import open_alone, open_store, open_turn, recipe_of

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


def start_turn(character: str, recipe: str | None) -> Turn:
    """The turn of this flow run, the same one at every replay."""
    opened = open_turn(character, recipe or None)
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
    chosen, store = open_alone(character, recipe or None, uses), open_store()
    return Turn(
        store=store,
        character=Library(store).character(character),
        recipe=chosen,
        number=0,
        flow_run=flow_run.id,
        name=f"{character}-{flow_run.id[:8]}",
        folder=f"runs/{flow_run.id}",
    )


def plain_errors(function: Callable[Parameters, Value]) -> "Callable[Parameters, Value | State[Value]]":
    """A mistake or a known failure ends the run as Failed with what, why and remedy, not with a stack trace."""

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> "Value | State[Value]":
        try:
            return function(*args, **kwargs)
        except FlenwheelError as error:
            return Failed(message=error.message)

    return run
