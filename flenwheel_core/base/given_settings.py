"""Settings as people write them, made whole or refused in words. Raises ValueError with a sentence."""

import getpass
import ipaddress
import os
import re
import tempfile
from pathlib import Path

from flenwheel_core.base.given_path import given_path

_CARD = re.compile(r"auto|cpu|\d+(?:,\d+)*|(?:GPU|MIG)-[\w/-]+")
_NAME = re.compile(r"[\w.-]+")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(//)?(.*)", re.IGNORECASE | re.DOTALL)
_THIS_MACHINE = "127.0.0.1"
_SERVER = re.compile(r"(https?://(?:[a-z0-9_.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?)(?:/api)?/?", re.IGNORECASE)
_HOST = r"(?:[a-z0-9_.-]*|\[[0-9a-f:.]+\])(?::\d{1,5})?"
_DATABASE = re.compile(
    rf"postgres(?:ql)?(?:\+asyncpg)?://((?:[^\s/?#@]+@)?{_HOST}(?:,{_HOST})*(?:/[^\s/?#@]*)?(?:\?[^\s#@]*)?)",
    re.IGNORECASE,
)
_REDIS = re.compile(rf"rediss?://(?:[^\s/?#@]*@)?{_HOST}(?:/\d*)?(?:\?[^\s#@]*)?", re.IGNORECASE)
_ENCODED = "signs such as / ? # @ of a password are written as %2F %3F %23 %40"
ALL_CARDS = "all"
AUTO = "auto"
CPU = "cpu"
SEEN_CARDS = "CUDA_VISIBLE_DEVICES"


def user_name() -> str:
    """Who runs this; `user-1234` in a container that knows the number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user-{os.getuid()}"


def cache_folder() -> Path:
    """Where weights lie if nothing is said; for a user without a home below the folder of temporary files."""
    try:
        return Path.home() / ".cache" / "flenwheel"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"flenwheel-{os.getuid()}"


def address_of_machine(host: str) -> str:
    """The address to listen on, without the brackets of an IPv6 address."""
    bare = host.strip().strip("[]") or _THIS_MACHINE
    if _NAME.fullmatch(bare) is None and not _is_number(bare):
        raise ValueError("an address is a name or a number such as 0.0.0.0 or ::, without http:// and without a port")
    return bare


def _is_number(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def card(gpu: str) -> str:
    """The card's index; `cuda:0` is 0."""
    plain = gpu.strip().removeprefix("cuda:") or "auto"
    if _CARD.fullmatch(plain) is None:
        raise ValueError("a card is its index such as 0, several such as 0,1, its GPU-... name, cpu or auto")
    return plain


def cards_named(gpu: str) -> tuple[str, ...]:
    """The cards of a checked setting, each once. `auto`: those that the driver is told to show, none if it is told nothing."""
    told = os.environ.get(SEEN_CARDS, "").replace(" ", "") if gpu == AUTO else gpu
    cards = tuple(dict.fromkeys(part for part in told.split(",") if part))
    return cards if gpu != AUTO or all(_CARD.fullmatch(card) for card in cards) else ()


def server_address(url: str) -> str:
    """The address of a Prefect server without its /api."""
    match = _SERVER.fullmatch(url)
    if match is None:
        raise ValueError("a server's address is http:// or https://, a host name and perhaps a port and /api")
    return match[1]


def database_address(url: str) -> str:
    """A Postgres address as every client reads it. What is wrong is not repeated: it may hold a password."""
    match = _DATABASE.fullmatch(url)
    if match is None:
        raise ValueError(f"a database's address is postgresql://NAME:PASSWORD@HOST:PORT/DATABASE; {_ENCODED}")
    return f"postgresql://{match[1]}"


def redis_address(url: str) -> str:
    """A Redis address. What is wrong is not repeated."""
    if _REDIS.fullmatch(url) is None:
        raise ValueError(f"a Redis address is redis://:PASSWORD@HOST:PORT/NUMBER, or rediss:// with TLS; {_ENCODED}")
    return url


def plain_name(name: str) -> str:
    """A name that can stand in the name of a file, of a slot and of a queue."""
    if _NAME.fullmatch(name) is None or not name.strip("."):
        raise ValueError("a name holds letters, digits, dots, dashes and underscores")
    return name


def store_address(store: str) -> str:
    """An address for a path, too: a relative one would mean another place in each process."""
    match = _SCHEME.fullmatch(store)
    if match is None:
        return given_path(store).absolute().as_uri()
    scheme, slashes, rest = match.groups()
    if scheme.lower() == "file":
        if not rest.startswith("/"):
            raise ValueError(
                f"file:// takes a whole path, such as {Path(rest).absolute().as_uri()}; a plain path will do"
            )
        return store
    if not slashes or not rest.strip("/"):
        raise ValueError(f"an address has two slashes and a place, such as {scheme}://bucket/folder")
    return store


def folder(place: Path) -> Path:
    """A place that is a folder or may become one."""
    absolute = given_path(str(place)).absolute()
    for path in (absolute, *absolute.parents):
        try:
            if path.exists():
                if not path.is_dir():
                    raise ValueError(f"{path} is a file, not a folder")
                break
        except OSError as error:
            raise ValueError(f"{path} cannot be looked at ({error.strerror})") from None
    return place
