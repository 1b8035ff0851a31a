"""What the servers of a cluster do now and then, one of them at a time.

Each is a duty of its own: what keeps one from being done, such as a damaged document, keeps no other one. Only the watch over machines is
kept in turn with the server's processes; what reads the store may take long, and goes beside them.
"""

from collections.abc import Callable, Sequence
from functools import partial

from deployments.prefect.api import PrefectApi
from deployments.prefect.orders import keep_orders
from deployments.workspace.absent import Watch, take_back
from deployments.workspace.cluster_parts import is_our_turn
from deployments.workspace.courier import Courier
from deployments.workspace.keeping import Duty
from deployments.workspace.up import RECONCILE_SECONDS
from flenwheel_core.base.errors import ServerError
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.orders import Orders
from flenwheel_core.store import Store

Turn = Callable[[str, float], bool]


def server_duties(
    settings: Settings, api: PrefectApi, watch: Watch | None = None, turn: Turn | None = None
) -> list[Duty]:
    """The duties of a server. `turn` says whether it is the one of all that does a thing now."""
    watch, ours = watch or Watch(), turn or partial(is_our_turn, settings)
    store = Store(settings.store_url, settings.store_options)
    courier, orders = Courier(store), Orders(store)
    seconds = min(RECONCILE_SECONDS, settings.lease_seconds / 4)

    def look() -> list[str]:
        return watch_machines(api, watch, settings.lease_seconds, lambda: ours("watch", seconds * 0.8))

    def bring() -> Sequence[str]:
        return courier.hand_over(api) if ours("answers", seconds * 0.8) else ()

    def keep() -> Sequence[str]:
        return keep_orders(api, orders) if ours("orders", seconds * 0.8) else ()

    return [Duty(look, seconds), Duty(bring, seconds, apart=True), Duty(keep, seconds, apart=True)]


def watch_machines(api: PrefectApi, watch: Watch, lease_seconds: float, ours: Callable[[], bool]) -> list[str]:
    """Hears every machine, and takes runs back from the silent ones if it is this server's turn: every server listens, so that another
    may go on at once. A silence while the Prefect server did not answer is no machine's."""
    try:
        for name, beat in api.heartbeats().items():
            watch.unchanged_seconds(name, beat)
        return take_back(api, watch, lease_seconds) if ours() else []
    except ServerError:
        watch.forget()
        raise
