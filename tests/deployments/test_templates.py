"""The templates for machines that come from elsewhere name settings and commands that are there; nginx's is run before two servers."""

import inspect
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.kit.cluster_services import free_port
from benchmarks.kit.prefect_server import serve
from benchmarks.kit.workspace import PROJECT, wait_for
from deployments.cli.run import up
from deployments.prefect.api import basic
from flenwheel_core.base.settings import Settings

TEMPLATES = PROJECT / "deployments" / "templates"
UNPACKED = PROJECT / ".venv" / "nginx" / "usr" / "sbin"
FILES = sorted(path for path in TEMPLATES.iterdir() if path.is_file())


def test_every_template_is_described() -> None:
    page = (PROJECT / "docs" / "cluster.md").read_text()
    assert len(FILES) == 5 and all(f"`{path.name}`" in page for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_template_names_settings_and_options_that_are_there(path: Path) -> None:
    text = path.read_text()
    settings = {name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"FLENWHEEL_([A-Z_]+)", text)) <= settings
    options = set(re.findall(r"\bup[ ,]+--(\w+)", text))
    assert options <= set(inspect.signature(up).parameters) and (options or path.suffix in (".conf", ""))


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_every_part_has_time_to_save(name: str) -> None:
    """A training that is told to stop saves its state; what starts it must wait for that."""
    content = yaml.safe_load((TEMPLATES / name).read_text())
    if name == "compose.yaml":
        ours = [one for one in content["services"].values() if one["image"] == "flenwheel"]
        assert len(ours) == 3 and all(one["stop_grace_period"] == "90s" for one in ours)
        assert "FLENWHEEL_DATABASE_URL" not in content["services"]["worker"]["environment"]
    else:
        pod = content["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] == 90
        assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 1}


@contextmanager
def nginx(folder: Path, ports: dict[str, str]) -> Iterator[None]:
    """Runs with the template, on other ports."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:{UNPACKED}")
    assert program is not None, "fetch Debian's nginx: make nginx"
    block = (TEMPLATES / "nginx.conf").read_text()
    for old, new in ports.items():
        assert f":{old}" in block
        block = block.replace(f":{old}", f":{new}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder};" for kind in kinds)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}} http {{ access_log off; {temporary}\n{block}}}"
    )
    process = subprocess.Popen([program, "-e", f"{folder}/error.log", "-c", str(configuration)])
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.slow
def test_nginx_sends_to_both_servers_and_leaves_out_one_that_died(tmp_path: Path) -> None:
    """Each server has a database of its own here, so that it shows which one was asked."""
    port, folders = free_port(), [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    address, token = f"http://127.0.0.1:{port}", "a-secret-of-the-team"
    settings = {"trusted_proxies": "127.0.0.1", "token": token, "prefect_url": address}
    client = httpx.Client(base_url=f"{address}/api", headers={"authorization": basic(token)})

    def answers() -> bool:
        try:
            return client.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    with client, ExitStack() as stack:
        first = stack.enter_context(serve(folders[0], **settings))
        with serve(folders[1], **settings) as second:
            ports = [server.url.rpartition(":")[2] for server in (first, second)]
            stack.enter_context(nginx(tmp_path, {"4280": str(port), "4200": ports[0], "4201": ports[1]}))
            wait_for(answers, 20, lambda: (tmp_path / "error.log").read_text())
            for number in range(8):
                client.post("/flows/", json={"name": f"flow-{number}"}).raise_for_status()
            known = [server.api.call("POST", "/flows/filter", {}) for server in (first, second)]
            assert all(known), "both were asked"
        assert [answers() for _ in range(6)] == [True] * 6
