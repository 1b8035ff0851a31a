"""Many orders at once at the training service while its processes are killed: is each accepted once, carried out once, and none lost?

    python -m benchmarks.system.train_service --orders 200 --minutes 15 --mean-seconds 45

Real server, worker, studio, runs and stage processes; the stages themselves are stand-ins that compute next to nothing. Each order is sent
by two clients at once with one idempotency key, and again until it is accepted, as a client does that got no answer. What is not carried
out when the time is up is cancelled through the service, and counted as such.
"""

import argparse
import io
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from benchmarks.kit.workspace import Running, write_recipe
from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.system.chaos import stage_processes
from deployments.prefect.api import PAGE
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.services import load_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.orders import Orders
from flenwheel_core.runner.flow_run import run_processes

PLACE = "/api/v1/train-lora"
PICTURES = 10
CLIENTS = 16
TARGETS = ("studio", "server", "worker", "run", "stage")
PATIENCE_SECONDS = 1800.0


@dataclass
class Killer:
    """Kills a process of each kind in turn, now and then."""

    running: Running
    mean_seconds: float
    random: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        while not self.stop.wait(self.random.expovariate(1 / self.mean_seconds)):
            alive = {kind: found for kind in TARGETS if (found := self._processes(kind))}
            if not alive:
                continue
            kind = min(alive, key=lambda one: (self.kills[one], self.random.random()))
            with suppress(ProcessLookupError):
                os.kill(self.random.choice(alive[kind]), signal.SIGKILL)
                self.kills[kind] += 1

    def _processes(self, kind: str) -> list[int]:
        if kind == "run":
            return list(run_processes(self.running.settings).values())
        if kind == "stage":
            return stage_processes(self.running.settings.root)
        found = self.running.service_pids().get(kind)
        return [found] if found is not None else []


class Client:
    """An application that asks until it is answered."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def ask(self, method: str, path: str, json: object = None, key: str | None = None) -> httpx.Response:
        """The first answer that is none of a server that is down; new connections and a new CSRF token each time."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with suppress(httpx.TransportError, KeyError, ValueError):
                services = load_services(self._running.settings)
                assert services is not None
                with httpx.Client(base_url=services.studio_url, timeout=60) as http:
                    headers = {"x-csrf-token": http.get("/api/v1/session").json()["csrf"]}
                    if key is not None:
                        headers["idempotency-key"] = key
                    answer = http.request(method, path, json=json, headers=headers)
                    if answer.status_code < 500:
                        return answer
            time.sleep(0.5)
        raise SystemExit(f"no answer to {method} {path}")


def picture(seed: int) -> bytes:
    """A small picture of its own."""
    from PIL import Image

    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def send_all(running: Running, number: int) -> tuple[dict[str, str], list[float], int]:
    """All orders, each from two clients; the ids by key, seconds to an answer, and answers that were not 202 or 200."""
    digests = [running.store.put_blob(picture(seed)) for seed in range(PICTURES)]
    ids: dict[str, set[str]] = {}
    seconds: list[float] = []
    wrong = 0
    lock = threading.Lock()

    def send(index: int) -> None:
        nonlocal wrong
        key = f"order {index // 2}"
        data = [{"image": digest, "description": f"photo {index // 2}"} for digest in digests]
        began = time.monotonic()
        answer = Client(running).ask("POST", PLACE, {"train_data": data, "user_id": index // 2, "steps": 5}, key)
        with lock:
            seconds.append(time.monotonic() - began)
            if answer.status_code in (200, 202):
                ids.setdefault(key, set()).add(answer.json()["id"])
            else:
                wrong += 1
                print(answer.status_code, answer.text[:300], flush=True)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, range(2 * number)))
    doubled = sum(len(found) - 1 for found in ids.values())
    return {key: next(iter(found)) for key, found in ids.items()}, sorted(seconds), wrong + doubled


def carry_out(running: Running, ids: dict[str, str], minutes: float, say: Callable[[str], None]) -> None:
    """Waits until every order has ended, or the time is up."""
    end, said = time.monotonic() + minutes * 60, 0.0
    orders = Orders(running.store)
    while (left := orders.open_orders()) and time.monotonic() < end:
        if time.monotonic() - said > 30:
            said = time.monotonic()
            say(f"{len(ids) - len(left)} of {len(ids)} have ended")
        time.sleep(1)


def cancel_rest(running: Running) -> None:
    """Cancels what has not ended, through the service."""
    for id_ in Orders(running.store).open_orders():
        Client(running).ask("DELETE", f"{PLACE}/{id_}")


def runs_of_orders(running: Running) -> Counter[str]:
    """How many runs of the deployment each order has at the Prefect server."""
    found: Counter[str] = Counter()
    offset = 0
    while True:
        body = {"flows": {"name": {"any_": ["train-lora"]}}, "limit": PAGE, "offset": offset}
        page = running.api.call("POST", "/flow_runs/filter", body)
        assert isinstance(page, list)
        for run in page:
            assert isinstance(run, dict) and isinstance(run["parameters"], dict)
            found[str(run["parameters"]["order"])] += 1
        if len(page) < PAGE:
            return found
        offset += PAGE


def counted(running: Running, ids: dict[str, str], seconds: list[float], wrong: int, killer: Killer) -> Row:
    """What became of all orders."""
    orders = Orders(running.store)
    ended = {id_: orders.ended(id_) for id_ in ids.values()}
    done = [id_ for id_, how in ended.items() if how is not None and how.state == "succeeded"]
    cancelled = [id_ for id_, how in ended.items() if how is not None and how.state == "cancelled"]
    kept = {name.split("/")[1] for name in running.store.list_documents("orders") if name.endswith("/order")}
    finished = Counter(
        line.request for line in running.stage_runs() if line.event == "finished" and line.stage == "train"
    )
    runs = runs_of_orders(running)
    return {
        "case": "orders_at_once",
        "orders": len(ids),
        "sent": len(seconds),
        "not_accepted_once": wrong + len(kept ^ set(ids.values())),
        "carried_out": len(done),
        "cancelled": len(cancelled),
        "lost": len(ids) - len(done) - len(cancelled),
        "run_twice": sum(count - 1 for count in finished.values()) + sum(count - 1 for count in runs.values()),
        "without_a_run": len([id_ for id_ in done if runs[id_] == 0]),
        "kills": sum(killer.kills.values()),
        "answer_median_seconds": seconds[len(seconds) // 2],
        "answer_p95_seconds": seconds[int(len(seconds) * 0.95)],
        **{f"kills_of_{kind}": count for kind, count in sorted(killer.kills.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0, help="cancel what is not carried out after this long")
    parser.add_argument("--mean-seconds", type=float, default=8.0, help="mean time between kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flenwheel-service-") as place:
        folder = Path(place)
        recipe = write_recipe(folder, steps=5)
        settings = Settings(
            workspace=folder / "workspace",
            gpu="cpu",
            author="benchmark",
            stage_modules=("benchmarks.kit.turn_stages",),
            models=folder / "models",
            service_recipe=str(recipe),
            publish_url=(folder / "published").as_uri(),
            import_ahead=False,  # the stand-ins compute nothing: importing torch for them would take most of an order's time
        )
        running = Running(settings, recipe)
        running.start()
        killer = Killer(running, arguments.mean_seconds, random.Random(arguments.seed))
        thread = threading.Thread(target=killer.work, daemon=True)
        try:
            thread.start()
            ids, seconds, wrong = send_all(running, arguments.orders)
            print(f"{len(ids)} accepted; kills so far {dict(killer.kills)}", flush=True)
            carry_out(running, ids, arguments.minutes, lambda line: print(line, dict(killer.kills), flush=True))
            killer.stop.set()
            thread.join()
            cancel_rest(running)
            row = _patiently(lambda: counted(running, ids, seconds, wrong, killer))
        finally:
            killer.stop.set()
            running.stop()
        print(row)
        print(write_result("train_service", [row], folder=arguments.out))


def _patiently(count: Callable[[], Row]) -> Row:
    """The server may just have been killed."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return count()
        except FlenwheelError:
            if time.monotonic() > end:
                raise
            time.sleep(2)


if __name__ == "__main__":
    main()
