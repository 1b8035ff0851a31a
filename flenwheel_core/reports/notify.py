"""Messages to people, through Apprise (mail, chat, push ...), if the setting `notify` names anybody."""

from flenwheel_core.base.settings import Settings


def notify(settings: Settings, title: str, body: str) -> str:
    """Sends a message to every configured address. Returns what went wrong, without the addresses; empty if nothing did."""
    if not settings.notify:
        return ""
    try:
        import apprise
    except ImportError:
        return "Messages are configured, but apprise is not installed: pip install 'flenwheel[notify]'."
    sender = apprise.Apprise()
    for address in settings.notify:
        if not sender.add(address.get_secret_value()):
            return "An address in the setting `notify` is not one Apprise understands."
    return (
        ""
        if sender.notify(title=title, body=body)
        else "A message could not be delivered; see the addresses in `notify`."
    )
