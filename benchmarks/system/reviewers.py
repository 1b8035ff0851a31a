"""Five people at one gate, on an object store, at one studio or two: `python -m benchmarks.system.reviewers`.

Each looks at the pictures in an order of their own, decides, now and then takes a decision back, and waits as long as a quick person looks.
The store is moto, studios are processes of their own, and people are threads that speak HTTP. In the end one person answers the gate while
the others go on: what the studio accepted must stand in what was frozen, and what came too late must have been refused.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.kit.cluster_services import BUCKET, Service, free_port, start_object_store
from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.system.studio import SERVE, fill
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.fold import GateState
from flenwheel_core.gates.session import Reviews
from flenwheel_core.gates.settle import settle
from flenwheel_core.store import Store

CONFLICT = 409


@dataclass
class Person:
    """One reviewer at one studio."""

    name: str
    studio: str
    gate: str
    images: list[str]
    pace_seconds: float
    milliseconds: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    """Ids of the lines that the studio said it has."""
    refused: list[str] = field(default_factory=list)
    """Ids of those that came too late."""
    failed: list[str] = field(default_factory=list)

    def work(self, ended: threading.Event) -> None:
        """Decides about all pictures, unless the gate is answered before."""
        chance = random.Random(self.name)
        chance.shuffle(self.images)
        with httpx.Client(base_url=f"{self.studio}/api/v1/gates/{self.gate}", timeout=120) as client:
            csrf = httpx.get(f"{self.studio}/api/v1/session", timeout=60).json()["csrf"]
            client.headers["x-csrf-token"] = str(csrf)
            for number, image in enumerate(self.images):
                time.sleep(self.pace_seconds * chance.uniform(0.5, 1.5))
                id_ = f"{self.name}-{number:05d}"
                verdict = chance.choice(("good", "good", "reject"))
                body = {"id": id_, "author": self.name, "verdict": verdict}
                if not self._send(client, f"pictures/{image}/decision", body, ended):
                    return
                if chance.random() < 0.05:
                    undo = {"id": f"{id_}-undo", "author": self.name}
                    if not self._send(client, "undo", undo, ended):
                        return

    def _send(self, client: httpx.Client, path: str, body: dict[str, str], ended: threading.Event) -> bool:
        began = time.perf_counter()
        answer = client.post(f"/{path}", json=body)
        if answer.status_code == CONFLICT and ended.is_set():
            self.refused.append(body["id"])
            return False
        self.milliseconds.append(1000 * (time.perf_counter() - began))
        if answer.status_code != 200:
            self.failed.append(f"{answer.status_code} {answer.text[:200]}")
            return False
        self.accepted.append(body["id"])
        return True


@contextmanager
def studios(store: Settings, folder: Path, count: int) -> Iterator[list[str]]:
    """So many studio processes of one store; their addresses."""
    running = []
    try:
        for number in range(count):
            port, place = free_port(), folder / f"studio-{count}-{number}"
            place.mkdir()
            settings = store.model_copy(update={"workspace": place})
            service = Service(
                "studio",
                [sys.executable, "-c", SERVE, str(place), str(port)],
                port,
                place / "log",
                environment=os.environ | settings.environment(),
            )
            service.start()
            running.append(service)
        yield [f"http://127.0.0.1:{service.port}" for service in running]
    finally:
        for service in running:
            service.stop()


def review(store: Store, gate: str, addresses: list[str], arguments: argparse.Namespace) -> list[Person]:
    """All of them at once, at the studios in turn; one answers the gate when the first has seen so much of it."""
    images = [record.digest for record in Reviews(store).gate(gate).images]
    people = [
        Person(f"person{number}", addresses[number % len(addresses)], gate, list(images), arguments.pace_seconds)
        for number in range(arguments.people)
    ]
    ended = threading.Event()
    threads = [threading.Thread(target=person.work, args=(ended,)) for person in people]
    for thread in threads:
        thread.start()
    enough = round(len(images) * arguments.answered_at)
    while any(thread.is_alive() for thread in threads) and max(len(person.milliseconds) for person in people) < enough:
        time.sleep(0.05)
    with httpx.Client(base_url=f"{addresses[-1]}/api/v1", timeout=120) as client:
        client.headers["x-csrf-token"] = str(client.get("/session").json()["csrf"])
        ended.set()
        body = {"author": "person0", "verdict": "approve", "override_minimum": True}
        client.post(f"/gates/{gate}/finish", json=body).raise_for_status()
    for thread in threads:
        thread.join()
    return people


def counted(store: Store, gate: str, people: list[Person], studios_: int) -> Row:
    """What became of what the studios accepted."""
    reviews = Reviews(store)
    closed = reviews.closed(gate)
    assert closed is not None
    lines = list(reviews.journal(gate).read())
    ids = [line.id for line in lines]
    accepted = [id_ for person in people for id_ in person.accepted]
    refused = [id_ for person in people for id_ in person.refused]
    state = GateState()
    for line in lines:
        state.add(line)
    opened = reviews.gate(gate)
    expected = settle(opened.images, opened.screenings, state, "leave_out", "person0")
    milliseconds = sorted(one for person in people for one in person.milliseconds)
    return {
        "case": f"{len(people)}_people_{studios_}_studio{'s' if studios_ > 1 else ''}",
        "people": len(people),
        "studios": studios_,
        "pictures": len(opened.images),
        "decisions": len(accepted),
        "lost": len(set(accepted) - set(ids)),
        "written_twice": len(ids) - len(set(ids)),
        "frozen_otherwise": int(reviews.decisions(closed).decisions != expected),
        "refused_after_the_answer": len(refused),
        "refused_yet_written": len(set(refused) & set(ids)),
        "failed": sum(len(person.failed) for person in people),
        "p50_ms": statistics.median(milliseconds),
        "p95_ms": milliseconds[round(0.95 * (len(milliseconds) - 1))],
    }


def measure(folder: Path, arguments: argparse.Namespace) -> list[Row]:
    """A row for one studio, and one for two."""
    rows: list[Row] = []
    objects = start_object_store(folder / "objects")
    try:
        for count in (1, 2):
            url = f"s3://{BUCKET}/store-{count}"
            settings = Settings(workspace=folder, store=url, store_options=objects.options, author="benchmark")
            store = Store(url, objects.options)
            gate = fill(store, arguments.pictures, 64)
            with studios(settings, folder, count) as addresses:
                people = review(store, gate, addresses, arguments)
            for text in (f"{person.name}: {text}" for person in people for text in person.failed):
                print(text, *(log.read_text()[-3000:] for log in folder.glob("studio-*/log")), sep="\n", flush=True)
            rows.append(counted(store, gate, people, count))
            print(rows[-1], flush=True)
            if rows[-1]["refused_yet_written"]:
                raise RuntimeError(
                    "What a studio refused stands in the journal: somebody was told that it does not count."
                )
    finally:
        objects.stop()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument(
        "--pace-seconds", type=float, default=1.0, help="how long a person looks at a picture, in the mean"
    )
    parser.add_argument(
        "--answered-at", type=float, default=0.9, help="share of decisions after which one person answers"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flenwheel-reviewers-") as folder:
        rows = measure(Path(folder), arguments)
    print(write_result("reviewers", rows, folder=arguments.out))


if __name__ == "__main__":
    main()
