"""The command `flenwheel publish`: a champion goes to the Hub, to an object store or to a folder."""

from typing import Annotated

from cyclopts import App, Parameter

from deployments.cli.terminal import human_size, plain_console, progress_sink
from flenwheel_core.base.settings import Settings
from flenwheel_core.publishing.object_store import expiring_link
from flenwheel_core.records.exports import PublishChoice, champion_export, check_choice, publish_request
from flenwheel_core.requests.publish import Target, What
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import EXPORT, PUBLISH
from flenwheel_core.store import Store

console = plain_console()


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(publish)


def publish(
    character: str,
    *,
    to: Target,
    place: str = "",
    space: bool = False,
    public: bool = False,
    turn: int | None = None,
    allowed_by: str = "",
    link_hours: Annotated[float | None, Parameter(help="with --to s3: also print links that expire")] = None,
) -> None:
    """Publish the champion LoRA of a character, with its card and samples. Again is no harm: what is there is left alone.

    Parameters
    ----------
    character
        The character's name.
    to
        hub (a private repository unless --public; the token is read from HF_TOKEN), s3 (or another object store), or folder.
    place
        owner/name on the Hub, an address such as s3://bucket/prefix (the setting publish_url if not given), or the folder.
    space
        Publish a demo that draws with the LoRA, instead of the LoRA itself: a Space of the Hub, or a folder of one.
    public
        Let everybody read the repository. Refused unless the licences of all models that went into it are known to allow it.
    turn
        The turn whose champion to take; the newest if not given.
    allowed_by
        What allows it where the licences known here do not, such as a licence you bought.
    """
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    export, _ = champion_export(store, character, turn)
    what: What = "space" if space else "model"
    choice = PublishChoice(to=to, place=place, what=what, public=public, allowed_by=allowed_by)
    choice = check_choice(store, settings, export, choice)
    if export.consent is not None:
        console.print(export.consent.text())
    with progress_sink() as sink:
        exported = run_in_child(EXPORT, export, settings, sink)
        request = publish_request(store, export, exported, choice)
        result = run_in_child(PUBLISH, request, settings, sink)
    console.print(result.summary())
    for file in result.files:
        console.print(f"  {file.name}  {human_size(file.size_bytes)}  {file.digest}")
        if link_hours is not None and result.to == "s3":
            link = expiring_link(file.address, settings.publishing_options, max(1, round(link_hours * 3600)))
            console.print(f"    {link or file.address}")
