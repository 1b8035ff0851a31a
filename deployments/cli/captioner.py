"""The command `captioner status`: what the captioner learned, and what waits for it."""

from cyclopts import App

from deployments.cli.terminal import plain_console
from flenwheel_core.base.settings import Settings
from flenwheel_core.lessons.captions import collect_captions
from flenwheel_core.library.captioners import CaptionerLibrary
from flenwheel_core.store import Store

console = plain_console()

captioner = App(name="captioner", help="What the captioner has learned from the captions that people wrote.")


def add_to(app: App) -> None:
    """Adds these commands to the `flenwheel` command."""
    app.command(captioner)


@captioner.command
def status() -> None:
    """Show how many captions people wrote, how each turn of the captioner ended, and the LoRAs it was promoted with."""
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    library, found = CaptionerLibrary(store), collect_captions(store)
    console.print(f"{found.corrected} captions were written by people at closed gates")
    for ended in library.ended_turns():
        console.print(
            f"{ended.at:%Y-%m-%d %H:%M}  a turn on {ended.lessons} captions, {ended.corrected} of them written: {ended.outcome}"
        )
    for promotion in library.champions():
        console.print(
            f"{promotion.at:%Y-%m-%d %H:%M}  promoted {promotion.lora.name}, let through by {promotion.reviewer}"
        )
        for reason in promotion.reasons:
            console.print(f"  {reason}")
    if not library.turns():
        console.print("It has not learned yet. Start the deployment captioner/turn in the Prefect interface.")
