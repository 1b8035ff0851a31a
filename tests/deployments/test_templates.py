"""The templates for machines that come from elsewhere name settings and commands that are there; nginx's is run before two servers."""

import inspect
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.kit.cluster_services import free_port, redis_program
from benchmarks.kit.prefect_server import serve
from benchmarks.kit.workspace import PROJECT, wait_for
from deployments.cli.run import up
from deployments.prefect.api import basic
from deployments.workspace import cluster_parts
from flenwheel_core.base.errors import ServerError
from flenwheel_core.base.settings import Settings
from flenwheel_core.recipes.loading import list_recipes

TEMPLATES = PROJECT / "deployments" / "templates"
UNPACKED = PROJECT / ".venv" / "nginx" / "usr" / "sbin"
FILES = sorted(path for path in TEMPLATES.iterdir() if path.is_file())


def test_every_template_is_described() -> None:
    page = (PROJECT / "docs" / "cluster.md").read_text()
    assert len(FILES) == 6 and all(f"`{path.name}`" in page for path in FILES)


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


def workers_words(name: str, recipe: str) -> list[str]:
    """The command of a template's worker, as the words that a shell makes of it."""
    text = (TEMPLATES / name).read_text()
    if name == "slurm.sbatch":
        (line,) = [line for line in text.splitlines() if line.startswith("flenwheel up")]
        line = line.removesuffix("&")
    elif name == "skypilot.yaml":
        line = str(yaml.safe_load(text)["run"]).splitlines()[-1]
    elif name == "compose.yaml":
        line = str(yaml.safe_load(text)["services"]["worker"]["command"])
    else:
        line = str(yaml.safe_load(text)["spec"]["template"]["spec"]["containers"][0]["command"][-1])
    said = f'words() {{ printf "%s\\n" "$@"; }}; words {line}'
    environment = {"PATH": os.environ["PATH"], "RECIPE": recipe, "FLENWHEEL_SERVER_URL": "http://server:4200"}
    return subprocess.run(
        ["bash", "-c", said], env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml", "skypilot.yaml", "slurm.sbatch"])
def test_a_worker_fetches_the_models_of_a_recipe_before_it_takes_work(name: str) -> None:
    words = workers_words(name, "klein_character")
    assert "--join" in words and words[-2:] == ["--fetch", "klein_character"]
    (recipe,) = set(re.findall(r"\bRECIPE(?:: |=)(\w+)|such as (\w+)", (TEMPLATES / name).read_text()))
    assert set(recipe) & set(list_recipes())


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml", "slurm.sbatch"])
def test_nothing_is_fetched_before_unless_a_recipe_is_named(name: str) -> None:
    """A rack that has what it needs joins though the Hub is out of reach."""
    words = workers_words(name, "")
    assert words[-2:][0] == "--join" and words[-1].endswith(":4200")


def test_a_rented_machine_joins_under_a_name_of_its_own(tmp_path: Path) -> None:
    """The script that SkyPilot would run, with the variables that it sets and a stand-in for the program."""
    content = yaml.safe_load((TEMPLATES / "skypilot.yaml").read_text())
    assert set(content) <= {"name", "resources", "workdir", "envs", "secrets", "setup", "run"}
    secret = {name for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    assert not {f"FLENWHEEL_{name.upper()}" for name in secret} & set(content["envs"])
    subprocess.run(["bash", "-n"], input=content["setup"], text=True, check=True)
    program = tmp_path / "flenwheel" / "bin" / "flenwheel"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/bash\nprintf "%s\\n" "$@"; env | grep ^FLENWHEEL_\n')
    program.chmod(0o755)
    secrets = {"FLENWHEEL_TOKEN": "a-secret-of-the-team", "FLENWHEEL_STORE_OPTIONS": "{}", "FLENWHEEL_NOTIFY": "[]"}
    assert set(secrets) == set(content["secrets"])
    given = content["envs"] | secrets | {"SKYPILOT_TASK_ID": "sky-managed-2026-01-01-00-00-00-000000_rack-1_7-0"}
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], **given}
    ran = subprocess.run(["bash", "-c", content["run"]], env=environment, capture_output=True, text=True, check=True)
    words = ran.stdout.splitlines()
    assert words[:5] == ["up", "--join", content["envs"]["FLENWHEEL_SERVER_URL"], "--fetch", content["envs"]["RECIPE"]]
    told = dict(line.split("=", 1) for line in words[5:])
    settings = Settings.model_validate(
        {"machine_name": told["FLENWHEEL_MACHINE_NAME"], "cards": told["FLENWHEEL_CARDS"]}
    )
    assert settings.machine_name.endswith("rack-1_7-0") and settings.cards == ("all",)
    assert told["FLENWHEEL_WORKSPACE"] == str(tmp_path / "flenwheel-work")


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_a_worker_is_told_where_people_open_gates(name: str) -> None:
    """It sends the messages about gates, and no studio runs beside it that it could ask."""
    content = yaml.safe_load((TEMPLATES / name).read_text())
    if name == "compose.yaml":
        told = set(content["services"]["worker"]["environment"])
    else:
        told = {one["name"] for one in content["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "FLENWHEEL_STUDIO_URL" in told
    assert "FLENWHEEL_NOTIFY" in told or "FLENWHEEL_NOTIFY" in (TEMPLATES / name).read_text()


def is_left_out(path: str, patterns: list[str]) -> bool:
    """Whether Docker's rules leave a file out: the last pattern that meets it, or a folder that it lies in, counts."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    left_out = False
    for pattern in patterns:
        plain = pattern.removeprefix("!")
        anywhere = plain.startswith("**/")
        names = parts if anywhere else [prefix for prefix in prefixes if prefix.count("/") == plain.count("/")]
        if any(fnmatchcase(one, plain.removeprefix("**/")) for one in names):
            left_out = not pattern.startswith("!")
    return left_out


def test_an_image_gets_the_program_and_no_secret() -> None:
    """The page says that secrets lie in .env beside compose.yaml, which lies in what is copied."""
    assert "COPY . ." in (TEMPLATES / "Containerfile").read_text()
    lines = [line.strip() for line in (PROJECT / ".dockerignore").read_text().splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    for secret in (
        ".env",
        "deployments/templates/.env",
        "deployments/templates/.env.local",
        "flenwheel.toml",
        "deployments/flenwheel.toml",
        ".git/config",
        ".flenwheel/store/x",
        "demo-workspace/store/x",
        ".venv/bin/python",
    ):
        assert is_left_out(secret, patterns), secret
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    packages = [name.removesuffix("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    wanted = [f"{package}/__init__.py" for package in packages]
    wanted += ["deployments/studio/app.py", "flenwheel_core/nano/weights/x/model.safetensors", "constraints.txt"]
    wanted += ["pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]]
    for path in wanted:
        assert not is_left_out(path, patterns), path


def test_the_password_of_redis_stands_in_no_process_list(tmp_path: Path) -> None:
    """The service's own command, with the server that is installed here in the image's place."""
    service = yaml.safe_load((TEMPLATES / "compose.yaml").read_text())["services"]["redis"]
    command = [part.replace("$$", "$") for part in service["command"]]
    assert service["environment"]["REDIS_PASSWORD"] == "${REDIS_PASSWORD}" and "PASSWORD}" not in "".join(command)
    port = free_port()
    program = tmp_path / "docker-entrypoint.sh"
    program.write_text(f'#!/bin/sh\nshift\nexec {redis_program()} "$@" --port {port} --bind 127.0.0.1\n')
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PASSWORD": "hunter2"}
    log = tmp_path / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=said, stderr=said)
    try:
        settings = Settings.model_validate({"redis_url": f"redis://:hunter2@127.0.0.1:{port}/0"})
        wait_for(lambda: "Ready to accept" in log.read_text(), 240, log.read_text)
        assert cluster_parts.reach_redis(settings).version
        assert (tmp_path / "appendonlydir").exists(), "it writes down what it is told"
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert str(port).encode() in shown and b"hunter2" not in shown
        without = Settings.model_validate({"redis_url": f"redis://127.0.0.1:{port}/0"})
        with pytest.raises(ServerError, match="Authentication"):
            cluster_parts.reach_redis(without)
    finally:
        process.terminate()
        process.wait(240)


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
        process.wait(240)


@pytest.mark.slow
def test_nginx_sends_to_both_servers_and_leaves_out_one_that_died(tmp_path: Path, prefect_database: Path) -> None:
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
        first = stack.enter_context(serve(folders[0], database=prefect_database, **settings))
        with serve(folders[1], database=prefect_database, **settings) as second:
            ports = [server.url.rpartition(":")[2] for server in (first, second)]
            stack.enter_context(nginx(tmp_path, {"4280": str(port), "4200": ports[0], "4201": ports[1]}))
            wait_for(answers, 240, lambda: (tmp_path / "error.log").read_text())
            for number in range(8):
                client.post("/flows/", json={"name": f"flow-{number}"}).raise_for_status()
            known = [server.api.call("POST", "/flows/filter", {}) for server in (first, second)]
            assert all(known), "both were asked"
        assert [answers() for _ in range(6)] == [True] * 6
