"""What every request handler of the studio works with."""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends, Request

from deployments.studio.drop_in import DropIn
from deployments.studio.security import Logins
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.flow_server import FlowServer
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.characters import Library
from flenwheel_core.records.gallery import Records
from flenwheel_core.records.overview import Overview
from flenwheel_core.records.thumbnails import Thumbnails
from flenwheel_core.records.turns import Turns
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
    overview: Overview
    turns: Turns
    drop_in: DropIn
    flows: FlowServer | None
    secret: bytes = field(repr=False)
    logins: Logins = field(repr=False)


def open_studio(settings: Settings, flows: FlowServer | None) -> Studio:
    """The studio of a workspace. `flows` is None where no flow server runs: decisions are kept, nothing is resumed."""
    store = Store(settings.store_url, settings.store_options)
    reviews = Reviews(store)
    overview = Overview(store, settings)
    secret = _secret(settings.root / "studio-secret")
    return Studio(
        settings=settings,
        store=store,
        reviews=reviews,
        library=Library(store),
        thumbnails=Thumbnails(store, settings.root / "cache" / "thumbnails"),
        records=Records(store, reviews),
        overview=overview,
        turns=overview.each_turn,
        drop_in=DropIn(store, settings, overview.store),
        flows=flows,
        secret=secret,
        logins=Logins(settings, secret),
    )


def _secret(path: Path) -> bytes:
    """The workspace's own secret: pages that are open stay valid when the server starts again.

    Where nothing can be written it lasts until then.
    """
    made, temporary = secrets.token_hex(32), path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.read_text().strip():
            path.unlink()
        if not path.exists():
            temporary.touch(mode=0o600)
            temporary.write_text(made)
            with suppress(FileExistsError):
                path.hardlink_to(temporary)
        return path.read_text().strip().encode()
    except OSError:
        return made.encode()
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _studio_of(request: Request) -> Studio:
    return cast(Studio, request.app.state.studio)


TheStudio = Annotated[Studio, Depends(_studio_of)]
