"""The command `doctor`."""

from cyclopts import App
from rich.text import Text

from deployments.cli.terminal import plain_console
from deployments.workspace.doctor import examine
from flenwheel_core.base.settings import Settings

console = plain_console()


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(doctor)


def doctor(*, recipe: str | None = None, repair: bool = False) -> int:
    """Check card, GPU slot, leaked slots, crashed runs, disk, versions; exits with 1 if something needs repair.

    Parameters
    ----------
    recipe
        Also check that this recipe's weights are here (fetches hub models that are not).
    repair
        Put right what can be put right.
    """
    problems = 0
    for finding in examine(Settings(), recipe):
        if finding.ok:
            console.print(Text("ok      ", style="green"), end="")
        elif repair and finding.repair is not None:
            finding.repair()
            console.print(Text("repaired", style="green"), end="")
        else:
            problems += 1
            console.print(Text("problem ", style="red"), end="")
        console.print(f" {finding.text}")
    if problems and not repair:
        console.print("`flenwheel doctor --repair` puts right what it can.")
    return 1 if problems else 0
