"""What every request handler of the studio works with."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends, Request

from flenwheel_core.library import Library
from flenwheel_core.review.drop_in import DropIn
from flenwheel_core.review.flow_server import FlowServer
from flenwheel_core.review.records import Records
from flenwheel_core.review.session import Reviews
from flenwheel_core.review.thumbnails import Thumbnails
from flenwheel_core.review.turns import Turns
from flenwheel_core.review.web.security import Logins
from flenwheel_core.settings import Settings
from flenwheel_core.store import Store


@dataclass(frozen=True)
class Studio:
    """One workspace, opened for the browser."""

    settings: Settings
    store: Store
    reviews: Reviews
    library: Library
    thumbnails: Thumbnails
    records: Records
    turns: Turns
    drop_in: DropIn
    flows: FlowServer | None
    secret: bytes = field(repr=False)
    logins: Logins = field(repr=False)


def open_studio(settings: Settings, flows: FlowServer | None) -> Studio:
    """The studio of a workspace. `flows` is None where no flow server runs: decisions are kept, nothing is resumed."""
    store = Store(settings.store_url, settings.store_options)
    reviews = Reviews(store)
    secret = _secret(settings.root / "studio-secret")
    return Studio(
        settings=settings,
        store=store,
        reviews=reviews,
        library=Library(store),
        thumbnails=Thumbnails(store, settings.root / "cache" / "thumbnails"),
        records=Records(store, reviews),
        turns=Turns(store, settings, reviews),
        drop_in=DropIn(store, settings),
        flows=flows,
        secret=secret,
        logins=Logins(settings, secret),
    )


def _secret(path: Path) -> bytes:
    """The workspace's own secret: pages that are open stay valid when the server starts again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text().strip().encode() or secrets.token_bytes(32)


def _studio_of(request: Request) -> Studio:
    return cast(Studio, request.app.state.studio)


TheStudio = Annotated[Studio, Depends(_studio_of)]
