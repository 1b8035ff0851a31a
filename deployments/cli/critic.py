"""The command `critic status`: what the critic has learned, and what it may do."""

from cyclopts import App

from deployments.cli.terminal import plain_console
from flenwheel_core.base.settings import Settings
from flenwheel_core.critic.calibration import Wanted
from flenwheel_core.documents.critics import Critic
from flenwheel_core.lessons.verdicts import collect_verdicts, why_switched_off
from flenwheel_core.library.critics import CriticLibrary
from flenwheel_core.recipes.critic import CriticRecipe
from flenwheel_core.reports.critic_report import ladder_lines, promise_text
from flenwheel_core.store import Store

console = plain_console()

critic = App(name="critic", help="What the critic has learned from verdicts, and what it may do.")


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    app.command(critic)


@critic.command
def status() -> None:
    """Show how many verdicts there are, each rung of the newest critic's ladder, and the critic that was let through at gate D."""
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    library, lessons = CriticLibrary(store), collect_verdicts(store).lessons
    console.print(f"{len(lessons)} verdicts, {sum(one.fair for one in lessons)} of them fit to bound a loss")
    learned = library.learned_lines()
    if not learned:
        console.print(
            "The critic has not learned yet; it does when a gate is closed, from twelve verdicts on, good ones and others."
            " If it failed, the log of the run says why."
        )
        return
    newest = learned[-1]
    known = Critic.from_bytes(store.get_blob(newest.critic), where=f"the critic {newest.critic[:12]}")
    console.print(
        f"learned after {newest.gate}, {newest.at:%Y-%m-%d %H:%M}, from {known.count} verdicts of {known.turns} turns"
    )
    for line in ladder_lines(known):
        console.print(f"  {line}")
    usual = CriticRecipe()
    console.print(promise_text(known, Wanted(usual.most_lost, usual.confidence)))
    for promotion in library.promotions():
        console.print(f"{promotion.at:%Y-%m-%d %H:%M}  let through at {promotion.gate} by {promotion.reviewer}")
    champion = library.champion()
    why = why_switched_off(store, champion.critic) if champion is not None else ""
    if why:
        console.print(f"Switched off: {why}.")
