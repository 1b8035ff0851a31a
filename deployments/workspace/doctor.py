"""What is wrong with this machine or workspace, and what puts it right."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from deployments.prefect.api import PrefectApi, open_api
from deployments.workspace.cluster_doctor import examine_cluster, is_of_cluster
from deployments.workspace.finding import Finding
from deployments.workspace.locks import holder_of
from deployments.workspace.reconciler import reconcile
from deployments.workspace.up import is_running
from flenwheel_core.base.errors import FlenwheelError, MissingWeightsError
from flenwheel_core.base.locks import FileLock
from flenwheel_core.base.settings import LIMIT_PREFIX, Settings
from flenwheel_core.base.settings_sources import strange_variables
from flenwheel_core.base.slots import slots_named
from flenwheel_core.identity.people_weights import FACE_FILES, FETCH, WRITING, people_file, people_weights_here
from flenwheel_core.plans.model_needs import model_needs
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.runner.launch import child_environment
from flenwheel_core.store import Store

LEAST_DISK_GIB = 5.0
PROBE = ".tmp-doctor"
_TRYING_SECONDS = 300
WANTED = ("prefect", "torch", "diffusers", "transformers", "peft", "bitsandbytes", "polars", "deepface")


def examine(settings: Settings, recipe: str | None) -> list[Finding]:
    """Everything that was looked at."""
    found = [_versions(), _disk(settings), *_writable(settings), *_cards(), *_slots(settings), _kernels(settings)]
    found += [_people(), *_variables()]
    if recipe is not None:
        found.append(_weights(settings, recipe))
    found += _leftovers(settings)
    if is_of_cluster(settings):
        return [*found, *examine_cluster(settings)]
    if not is_running(settings):
        return [*found, Finding(True, f"no server runs in {settings.root} (flenwheel up starts it)")]
    try:
        api = open_api(settings, patience_seconds=3)
        found += [Finding(True, f"put right: {line}") for line in reconcile(api, settings)]
        found += _limits(api, settings)
    except FlenwheelError as error:
        found.append(Finding(False, error.message))
    return found


def _versions() -> Finding:
    known = []
    for name in WANTED:
        try:
            known.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            return Finding(False, f"{name} is not installed: pip install -c constraints.txt -e .")
    return Finding(True, ", ".join(known))


def _people() -> Finding:
    """Whether people are seen from the side, which is no fault: without it profiles are left to a person."""
    for files, without in (
        (FACE_FILES, "people are seen from the front only; for profiles and expressions"),
        ((WRITING,), "people are seen at every angle; for writing that nobody asked for"),
    ):
        try:
            for file in files:
                people_file(file)
        except MissingWeightsError:
            return Finding(not people_weights_here(files=files), f"{without}: {FETCH}")
    return Finding(True, "people are seen at every angle, their expressions are read, and writing is found")


def _variables() -> list[Finding]:
    """What looks like a setting in the environment and does nothing."""
    return [Finding(False, f"{name} in the environment is no setting") for name in strange_variables(Settings)]


def _disk(settings: Settings) -> Finding:
    place = next(path for path in (settings.root, *settings.root.parents) if path.exists())
    free = shutil.disk_usage(place).free / 2**30
    return Finding(free >= LEAST_DISK_GIB, f"{free:.0f} GiB free at {place}")


def _writable(settings: Settings) -> list[Finding]:
    """Whether the workspace and the store take a file. What is not there yet is made when it is needed."""
    found = []
    for name, url in (("workspace", settings.root.as_uri()), ("store", settings.store_url)):
        try:
            files = Store(url, settings.store_options if name == "store" else {}).files
            if files.local is not None and not files.local.exists():
                continue
            files.write(PROBE, b"x")
            files.delete(PROBE)
        except FlenwheelError as error:
            found.append(Finding(False, f"the {name} cannot be written to: {error.message}"))
        else:
            found.append(Finding(True, f"the {name} can be written to: {url}"))
    return found


def _cards() -> list[Finding]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return [Finding(True, "no NVIDIA card: stages run on the CPU")]
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        holders = [
            f"pid {process.pid} {(process.usedGpuMemory or 0) / 2**30:.1f} GiB"
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        ]
        text = f"card {index}: {pynvml.nvmlDeviceGetName(handle)}, {memory.free / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
        found.append(Finding(True, text + (f"; held by {', '.join(holders)}" if holders else "")))
    pynvml.nvmlShutdown()
    return found


def _kernels(settings: Settings) -> Finding:
    """Which of the card's kernels run; no stage starts on the card meanwhile."""
    if settings.gpu == "cpu" or not _has_card():
        return Finding(True, "kernels: none, PyTorch computes everything (no NVIDIA card is used)")
    try:
        with FileLock(settings.slot_lock) as lock:
            if not lock.try_to_take():
                return Finding(True, "kernels: not tried, a stage uses the card; its log names them")
            lock.note(json.dumps({"pid": os.getpid(), "stage": "doctor", "workspace": str(settings.root)}))
            return _tried_kernels(settings)
    except OSError as error:
        return Finding(False, f"kernels: not tried, the lock of the GPU slot cannot be taken: {error}")


def _tried_kernels(settings: Settings) -> Finding:
    """They are tried in a process of their own: what that takes of the card's memory is free again afterwards."""
    command = [sys.executable, "-m", "flenwheel_core.kernels.report"]
    environment = child_environment(settings, None)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TRYING_SECONDS)
    except subprocess.TimeoutExpired:
        return Finding(False, f"kernels: trying them took longer than {_TRYING_SECONDS} s")
    lines = (done.stdout or done.stderr).strip().splitlines()
    return Finding(done.returncode == 0, lines[-1] if lines else f"kernels: trying them ended with {done.returncode}")


def _has_card() -> bool:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    count = int(pynvml.nvmlDeviceGetCount())
    pynvml.nvmlShutdown()
    return count > 0


def _slots(settings: Settings) -> list[Finding]:
    held = {slot.name: holder_of(slot.lock) for slot in slots_named(settings)}
    return [
        Finding(True, f"GPU slot {name} is " + ("free" if by is None else f"held by {by}")) for name, by in held.items()
    ]


def _limits(api: PrefectApi, settings: Settings) -> list[Finding]:
    """A limit that counts a holder although nothing runs is leaked: the server forgot a lease."""
    found = []
    own = {slot.limit: slot.lock for slot in slots_named(settings)}
    busy = any(run.state is not None for run in api.runs(states=["RUNNING", "PENDING", "CANCELLING"]))
    for limit in api.limits():
        if not limit.name.startswith(LIMIT_PREFIX):
            continue
        text = f"limit {limit.name}: {limit.active_slots} of {limit.limit} in use"
        free = limit.name in own and holder_of(own[limit.name]) is None
        if limit.active_slots and free and not busy:
            repair = _clear(api, limit.name)
            found.append(
                Finding(False, f"{text}, but nothing runs: leaked (it frees itself within about a minute)", repair)
            )
        else:
            found.append(Finding(True, text))
    return found


def _clear(api: PrefectApi, name: str) -> Callable[[], None]:
    return lambda: api.clear_limit(name)


def _weights(settings: Settings, recipe: str) -> Finding:
    try:
        needs = model_needs(load_recipe(recipe), settings, ask=False)
    except FlenwheelError as error:
        return Finding(False, error.message)
    missing = [need.reference + (f" ({need.note})" if need.note else "") for need in needs if need.is_wanted]
    if missing:
        return Finding(False, f"weights not here: {', '.join(missing)}: flenwheel models fetch {recipe}")
    return Finding(True, "weights: " + ", ".join(f"{need.reference} as {' and '.join(need.uses)}" for need in needs))


def _leftovers(settings: Settings) -> list[Finding]:
    """Hand-over folders of stages whose starter was killed."""
    found = []
    for folder in sorted(settings.root.glob("stage-*")):
        if not _used(folder):
            found.append(Finding(False, f"left over from a killed run: {folder}", _remover(folder)))
    return found


def _remover(folder: Path) -> Callable[[], None]:
    return lambda: shutil.rmtree(folder, ignore_errors=True)


def _used(folder: Path) -> bool:
    """True if a living process was started with this folder."""
    mark = os.fsencode(folder)
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark in (process / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False
