"""Where a running workspace answers: written by `flenwheel up`, read by every command and by running flows."""

from pydantic import AwareDatetime

from flenwheel_core.base.document import Document
from flenwheel_core.base.settings import Settings


class Services(Document):
    """The processes of a workspace and their addresses."""

    pid: int
    """The process of `flenwheel up`."""
    started: AwareDatetime
    api_url: str
    interface_url: str
    studio_url: str | None
    logs: str
    of_cluster: bool = False
    """True where this is one machine of several."""

    def run_address(self, flow_run_id: str) -> str:
        """The page of a flow run in the Prefect interface."""
        return f"{self.interface_url}/runs/flow-run/{flow_run_id}"

    def gate_address(self, gate: str) -> str | None:
        """The studio's page of a gate."""
        return None if self.studio_url is None else f"{self.studio_url}/gates/{gate}"


def gate_address(settings: Settings, gate: str) -> str | None:
    """Where people open a gate: at the address that was set, or where this workspace's studio answers; None if neither is known."""
    if settings.studio_url is not None:
        return f"{settings.studio_url}/gates/{gate}"
    services = load_services(settings)
    return services.gate_address(gate) if services is not None else None


def save_services(settings: Settings, services: Services) -> None:
    """Tells other processes of this workspace where everything is."""
    path = settings.root / "services.json"
    temporary = path.with_name(".services.json")
    temporary.write_bytes(services.to_bytes())
    temporary.replace(path)


def load_services(settings: Settings) -> Services | None:
    """Where the workspace's server and studio answer, or answered last; None if it never ran."""
    path = settings.root / "services.json"
    try:
        return Services.from_bytes(path.read_bytes(), where=str(path))
    except FileNotFoundError:
        return None
