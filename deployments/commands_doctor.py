"""The command `doctor`."""

from cyclopts import App
from rich.console import Console

from deployments.doctor import examine
from flenwheel_core.settings import Settings

console = Console(soft_wrap=True, highlight=False)


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
            console.print("[green]ok[/]      ", end="")
        elif repair and finding.repair is not None:
            finding.repair()
            console.print("[green]repaired[/]", end="")
        else:
            problems += 1
            console.print("[red]problem[/] ", end="")
        console.print(f" {finding.text}", markup=False)
    if problems and not repair:
        console.print("`flenwheel doctor --repair` puts right what it can.")
    return 1 if problems else 0
