"""The `flenwheel` command."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise

from cyclopts import App
from pydantic import ValidationError
from rich.text import Text

from deployments.cli import captioner as commands_captioner
from deployments.cli import characters as commands_characters
from deployments.cli import compare_bases as commands_compare_bases
from deployments.cli import compare_styles as commands_compare_styles
from deployments.cli import critic as commands_critic
from deployments.cli import dataset as commands_dataset
from deployments.cli import demo as commands_demo
from deployments.cli import doctor as commands_doctor
from deployments.cli import editor as commands_editor
from deployments.cli import inject as commands_inject
from deployments.cli import models as commands_models
from deployments.cli import plan as commands_plan
from deployments.cli import publish as commands_publish
from deployments.cli import recipe as commands_recipe
from deployments.cli import records as commands_records
from deployments.cli import run as commands_run
from deployments.cli import screen as commands_screen
from deployments.cli import search as commands_search
from deployments.cli import training_choices as commands_training_choices
from deployments.cli import vl as commands_vl
from deployments.cli import workspace as commands_workspace
from deployments.cli.terminal import plain_console
from flenwheel_core.base.disk import disk_error
from flenwheel_core.base.document import impossible
from flenwheel_core.base.errors import FlenwheelError, UserError
from flenwheel_core.images.names import written_name

app = App(
    name="flenwheel",
    version=lambda: version("flenwheel"),
    help="Turns 10-20 pictures of one character into a character LoRA for FLUX, with a human deciding at every gate.",
    help_format="markdown",
    version_flags=["--version"],
)

for part in (
    commands_workspace,
    commands_characters,
    commands_run,
    commands_records,
    commands_publish,
    commands_recipe,
    commands_models,
    commands_plan,
    commands_screen,
    commands_search,
    commands_training_choices,
    commands_compare_bases,
    commands_compare_styles,
    commands_inject,
    commands_editor,
    commands_dataset,
    commands_vl,
    commands_captioner,
    commands_critic,
    commands_doctor,
    commands_demo,
):
    part.add_to(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command. A user's mistake prints what, why and remedy, and exits with 1; never a stack trace."""
    try:
        given = list(argv if argv is not None else sys.argv[1:])
        _require_no_empty_places(given)
        code = app(given, result_action="return_value")
    except FlenwheelError as error:
        _say_error(error.message)
        raise SystemExit(1) from None
    except ValidationError as error:
        _say_error(impossible(error))
        raise SystemExit(1) from None
    except OSError as error:
        problem = disk_error(error, str(error.filename or "a file"))
        if problem is None:
            raise
        _say_error(problem.message)
        raise SystemExit(1) from None
    except EOFError:
        _say_error(
            "A question could not be asked.\nWhy: nobody is at this terminal.\nWhat to do: Answer it beforehand: --yes."
        )
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(code if isinstance(code, int) else 0)


def _require_no_empty_places(given: Sequence[str]) -> None:
    """Raises UserError for an empty argument: as a folder it would mean the one that the shell is in. Options may be empty."""
    for number, (before, argument) in enumerate(pairwise(("", *given)), start=1):
        if not argument.strip() and not before.startswith("--"):
            raise UserError(
                f"Argument {number} is empty.",
                why="a variable of the shell may not be set.",
                remedy="Give a value, or leave the argument out.",
            )


def _say_error(message: str) -> None:
    plain_console(stderr=True).print(Text.assemble(("error:", "bold red"), " ", written_name(message)))


if __name__ == "__main__":
    main()
