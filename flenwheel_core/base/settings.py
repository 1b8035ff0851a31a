"""Facts of this machine, read from the environment (`FLENWHEEL_*`), `.env` and `flenwheel.toml`."""

import ipaddress
import json
import re
import socket
import tempfile
from collections.abc import Set
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from flenwheel_core.base import given_settings as given
from flenwheel_core.base.kernel_names import ALL, KERNEL_NAMES
from flenwheel_core.base.plain_text import one_line
from flenwheel_core.base.settings_sources import (
    PREFIX,
    TOO_DEEP,
    DotEnv,
    Environment,
    TomlFile,
    check_environment,
    describe_mistakes,
)

ENV_FILE = Path(".env")
TOML_FILE = Path("flenwheel.toml")
CLUSTER_SECRETS = frozenset({"database_url", "redis_url"})
"""Settings of the machines that run a cluster's server; a worker's machine needs none of them."""
NOT_FOR_STAGES = CLUSTER_SECRETS | {
    "author",
    "host",
    "token",
    "studio_url",
    "prefect_url",
    "trusted_proxies",
    "notify",
    "server_url",
}
"""Settings of what people open and are told. A stage's process reads what strangers made, and is given no secrets."""
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_.-]+|\[[0-9a-f:]+\])(?P<port>:\d{1,5})?(?P<path>(?:/[a-z0-9_~-][a-z0-9_.~-]*)*)/?",
    re.IGNORECASE,
)
LIMIT_PREFIX = "gpu:"


class Settings(BaseSettings):
    """Facts of the machine. Choices of a run are in the recipe.

    Raises RecipeError for a misspelt setting, a value that cannot be used, or a file that cannot be read.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    workspace: Path = Field(
        default=Path(".flenwheel"), description="Folder of this machine's scratch files, locks, logs and Prefect data."
    )
    store: str | None = Field(
        default=None,
        description="Where pictures, LoRAs and manifests live: file:// or s3://; the workspace's own folder if unset.",
    )
    store_options: dict[str, str] = Field(
        default_factory=dict, description="Options of the store's file system, such as endpoint_url for S3."
    )
    publish_url: str | None = Field(
        default=None, description="Where finished LoRAs are published, such as s3://bucket/prefix; nowhere if unset."
    )
    publish_options: dict[str, str] = Field(
        default_factory=dict, description="Options of that place's file system; those of the store if unset."
    )
    service_recipe: str = Field(
        default="flux_character_24gb",
        description="Recipe of orders to the training service that name none: its name, or a file.",
    )
    gpu: str = Field(default="auto", description="The card to use: an index, 'cpu', or 'auto' for the first card.")
    slot: str | None = Field(default=None, description="Name of the GPU slot; host:index of the card if unset.")
    vram_gib: float | None = Field(default=None, description="Video memory to stay within; all of the card if unset.")
    threads: int | None = Field(default=None, description="CPU threads of a stage; torch's choice if unset.")
    unsloth_python: Path | None = Field(
        default=None,
        description="Python interpreter of an environment with Unsloth, for recipes that ask for it; see docs/captioner.md.",
    )
    import_ahead: bool = Field(
        default=True,
        description="Import the libraries of the next stage before it begins; false saves about 1 GB of memory meanwhile.",
    )
    kernels_off: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description=f"Kernels of the card to leave out, such as modulated,gelu: of {', '.join(KERNEL_NAMES)}; or {ALL}.",
    )
    models: Path = Field(
        default_factory=given.cache_folder,
        description="Folder of downloaded weights, of verifier weights and of compiled blocks.",
    )
    edit_budget: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="What an editor behind an address may cost all machines of the store together, in its currency.",
    )
    author: str = Field(default_factory=given.user_name, description="The name your decisions are signed with.")
    stage_modules: tuple[str, ...] = Field(
        default=(), description="Python modules that register further stages when imported."
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address the server and the studio listen on: one of this machine, 0.0.0.0 or ::",
    )
    token: SecretStr | None = Field(
        default=None,
        description="Secret that everybody needs who is not on this machine, of 16 characters or more: flenwheel token",
    )
    studio_url: str | None = Field(
        default=None,
        description="Address people open the studio at, if it is another, such as https://studio.example or https://host.example/flen",
    )
    prefect_url: str | None = Field(
        default=None, description="Address people open the Prefect interface at, such as https://prefect.example"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Proxies whose X-Forwarded-For, -Proto and -Host are believed, such as 127.0.0.1"
    )
    notify: tuple[SecretStr, ...] = Field(default=(), description="Apprise URLs that are told when a gate opens.")
    machine_name: str = Field(
        default_factory=socket.gethostname,
        description="This machine's name among those of a cluster, and of its slots.",
    )
    server_url: str | None = Field(
        default=None,
        description="Address of a cluster's Prefect server, or of what stands before several, such as http://server:4200",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="Postgres of a cluster's server, such as postgresql://name:password@host:5432/flenwheel",
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Redis of a cluster's server, such as redis://:password@host:6379/0"
    )
    api_servers: int = Field(
        default=1,
        ge=1,
        le=32,
        description="API servers that `flenwheel up --server` starts, on ports one after the other.",
    )
    cards: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Cards that `flenwheel up --join` starts a worker each for, such as 0,1, or all; the one of gpu if unset.",
    )
    pool: str = Field(
        default="flenwheel", description="Work pool of this machine's workers: a class of card, such as gpu-24."
    )
    runs_at_once: int | None = Field(
        default=None,
        ge=1,
        description="Runs that a worker takes at once, fairly among characters; if unset, 2 in a cluster, all on a machine alone.",
    )
    lease_seconds: float = Field(
        default=120.0,
        ge=5,
        le=86400,
        description="A machine of a cluster that is silent for so long loses its runs to the others.",
    )
    meeting_address: str | None = Field(
        default=None,
        description="This machine's address for the others of a training over several (train.hosts); if unset, the one by "
        "which it reaches the server.",
    )
    checkpoint_minutes: float = Field(
        default=5.0,
        ge=0,
        allow_inf_nan=False,
        description="How often a training's state goes to a store that is elsewhere, at most so many minutes old; 0: never.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        check_environment(settings_cls)
        return (
            init_settings,
            Environment(settings_cls),
            DotEnv(settings_cls, ENV_FILE),
            TomlFile(settings_cls, TOML_FILE),
        )

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, values: object, handler: ModelWrapValidatorHandler["Settings"]) -> "Settings":
        try:
            return handler(values)
        except ValidationError as error:
            raise describe_mistakes(error, cls) from None

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        return given.address_of_machine(host)

    @field_validator("meeting_address")
    @classmethod
    def _meeting(cls, address: str | None) -> str | None:
        return None if address is None or not address.strip() else given.address_of_machine(address)

    @field_validator("gpu")
    @classmethod
    def _card(cls, gpu: str) -> str:
        return given.card(gpu)

    @field_validator("store")
    @classmethod
    def _whole_store(cls, store: str | None) -> str | None:
        return None if store is None or not store.strip() else given.store_address(store.strip())

    @field_validator("workspace", "models")
    @classmethod
    def _may_be_folder(cls, place: Path) -> Path:
        return given.folder(place)

    @field_validator("author")
    @classmethod
    def _in_one_line(cls, author: str) -> str:
        return one_line(author) or given.user_name()

    @field_validator("token")
    @classmethod
    def _token_or_none(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value().strip() if token is not None else ""
        if not text.isascii() or not text.isprintable():
            raise ValueError("a token holds letters, digits and signs of ASCII only; `flenwheel token` makes one")
        return SecretStr(text) if text else None

    @field_validator("studio_url", "prefect_url")
    @classmethod
    def _whole_address(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None or not url.strip():
            return None
        match = _ADDRESS.fullmatch(url.strip())
        path = match["path"] if match is not None else ""
        if match is None or (path and info.field_name == "prefect_url"):
            may = "it has no path" if info.field_name == "prefect_url" else "or a path of letters, digits and dashes"
            raise ValueError(f"an address is http:// or https://, a host name and perhaps a port; {may}")
        scheme, host, port = (part and part.lower() for part in match.group("scheme", "host", "port"))
        return f"{scheme}://{host}{'' if port in (None, {'http': ':80', 'https': ':443'}[scheme]) else port}{path}"

    @field_validator("server_url")
    @classmethod
    def _server(cls, url: str | None) -> str | None:
        return None if url is None or not url.strip() else given.server_address(url.strip())

    @field_validator("database_url", "redis_url")
    @classmethod
    def _service(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        text = url.get_secret_value().strip() if url is not None else ""
        if not text:
            return None
        check = given.database_address if info.field_name == "database_url" else given.redis_address
        return SecretStr(check(text))

    @field_validator("machine_name", "pool")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        return given.plain_name(name.strip())

    @field_validator("cards")
    @classmethod
    def _each_card(cls, cards: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(card if card == given.ALL_CARDS else given.card(card) for card in cards if card))
        if given.ALL_CARDS in found and len(found) > 1:
            raise ValueError("it is all, or the cards by name")
        return found

    @field_validator("trusted_proxies", "kernels_off", "cards", mode="before")
    @classmethod
    def _separated(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given) if given.lstrip().startswith("[") else re.split(r"[,\s]+", given.strip())
        except RecursionError as error:
            raise ValueError(TOO_DEEP) from error

    @field_validator("kernels_off")
    @classmethod
    def _kernels(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name.lower() for name in given if name)
        unknown = [name for name in names if name not in (*KERNEL_NAMES, ALL)]
        if unknown:
            raise ValueError(f"there is no kernel {', '.join(unknown)}")
        return names

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(proxy for proxy in proxies if proxy)
        for proxy in found:
            ipaddress.ip_network(proxy, strict=False)
        return found

    @property
    def root(self) -> Path:
        """The workspace folder, absolute."""
        return self.workspace.expanduser().absolute()

    @property
    def studio_path(self) -> str:
        """The path of `studio_url`, such as /flen; mostly empty."""
        return urlsplit(self.studio_url or "").path

    @property
    def store_url(self) -> str:
        """Where the store lives."""
        return self.store or (self.root / "store").as_uri()

    @property
    def publishing_options(self) -> dict[str, str]:
        """Options of the file system that LoRAs are published to."""
        return self.publish_options or self.store_options

    @property
    def scratch(self) -> Path:
        """Checkpoints and caches of stages: big, local, safe to delete when nothing runs."""
        return self.root / "scratch"

    @property
    def checkpoint_seconds(self) -> float | None:
        """How old a training's state in the store may be; None where the store is this workspace's own, which has it anyway."""
        own = self.store is None or self.store_url.startswith(self.root.as_uri() + "/")
        return None if own or self.checkpoint_minutes == 0 else self.checkpoint_minutes * 60

    @property
    def slot_name(self) -> str:
        """The name of the GPU slot of the one card that most work uses, such as `myhost:0`. Of several cards: `base/slots.py`."""
        return self.slot or f"{self.machine_name}:{(*given.cards_named(self.gpu), '0')[0]}"

    @property
    def slot_limit(self) -> str:
        """The name of the slot's limit in Prefect: one stage at a time."""
        return LIMIT_PREFIX + self.slot_name

    @property
    def slot_lock(self) -> Path:
        """The lock file whose kernel lock guarantees one GPU stage at a time on the card."""
        return self.lock_of(self.slot_name)

    def lock_of(self, slot: str) -> Path:
        """A card's lock is shared by every workspace of the machine; without a card it is the workspace's own."""
        name = f"gpu-{slot.replace(':', '-').replace('/', '-')}.lock"
        folder = self.root / "locks" if self.gpu == "cpu" else Path(tempfile.gettempdir()) / "flenwheel-locks"
        return folder / name

    def environment(self, *, leave_out: Set[str] = frozenset()) -> dict[str, str]:
        """These settings as variables, for a process that this one starts: it sees what this one sees, whatever folder it runs in."""
        fixed = {"workspace": self.root, "store": self.store_url}
        values = {
            name: fixed.get(name, getattr(self, name)) for name in type(self).model_fields if name not in leave_out
        }
        return {PREFIX + name.upper(): _variable(value) for name, value in values.items() if value is not None}


def _variable(value: object) -> str:
    """A setting as its variable holds it."""
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else json.dumps(value, default=_variable)
