"""Breaks off uploads at every point there is, and looks what others see then, and what the retry makes of it.

    python -m benchmarks.system.publishing

The Hub is a stand-in that speaks the real client's protocol over HTTP, the object store is moto's server. Connections are cut, and the
publishing process is killed, before and after a request is handled. Whatever the client would try again by itself stays broken until the
retry. Waiting between the client's own attempts is left out; nothing else is.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.kit.broken_server import Breaker, How, serving
from benchmarks.kit.exported_lora import bundle, in_a_process
from benchmarks.kit.hub_app import HubApp
from benchmarks.result_file import RESULTS, Row, write_part
from flenwheel_core.publishing.bundle import RECORD, Bundle
from flenwheel_core.publishing.hub import publish_to_hub
from flenwheel_core.publishing.local_folder import publish_to_folder
from flenwheel_core.publishing.object_store import publish_to_store

HOWS: tuple[How, ...] = ("cut before", "killed before", "cut after", "killed after")
POINTS = 20
TOKEN = "hf_benchmark"
PLACE = "ana/mira"
KEYS = {"key": "test", "secret": "test", "region_name": "us-east-1"}


def silent(_text: str) -> None:
    return


def points(requests: int) -> list[tuple[int, How]]:
    """So many places to break at, spread over all requests and all ways to break."""
    return [(number * requests // POINTS, HOWS[number % len(HOWS)]) for number in range(POINTS)]


def try_target(
    publish: Callable[[], object],
    breaker: Breaker,
    clear: Callable[[], None],
    seen: Callable[[], Mapping[str, bytes] | None],
) -> Row:
    """Publishes once whole, then broken off at each point and once more; `seen` is what others can read, None for nothing."""
    clear()
    breaker.mend()
    began = time.monotonic()
    assert in_a_process(publish, lambda pid: None)
    seconds = time.monotonic() - began
    requests, whole = len(breaker.requests), seen()
    assert whole
    broken_off = half = same = nothing = 0
    for at, how in points(requests):
        clear()
        breaker.mend()
        breaker.at, breaker.how = at, how
        broken_off += not in_a_process(publish, partial(setattr, breaker, "victim"))
        found = seen()
        nothing += found is None
        half += found is not None and found != whole
        breaker.mend()
        same += in_a_process(publish, lambda pid: None) and seen() == whole
        breaker.mend()
        assert in_a_process(publish, lambda pid: None), "and once more, with nothing to do"
        same -= seen() != whole
    return {
        "uploads": POINTS,
        "broken_off": broken_off,
        "requests_of_one": requests,
        "nothing_to_be_seen": nothing,
        "half_published": half,
        "same_after_retry": same,
        "seconds_of_one": seconds,
    }


def hub_row(found: Bundle) -> Row:
    """The Hub's stand-in: what others can read is the head of the repository, if anything of ours is in it."""
    import os

    import huggingface_hub.constants

    huggingface_hub.constants.HF_HUB_DISABLE_XET = True
    app = HubApp(TOKEN)
    with serving(app) as (url, breaker):
        app.url = url
        os.environ |= {"HF_ENDPOINT": url, "HF_TOKEN": TOKEN}

        def publish() -> object:
            import huggingface_hub.utils._http as http

            http.time.sleep = lambda seconds: None  # type: ignore[attr-defined]
            return publish_to_hub(found, PLACE, public=False, note=silent)

        def clear() -> None:
            app.repositories.clear()
            app.large.clear()

        def seen() -> Mapping[str, bytes] | None:
            repository = app.repositories.get(f"model/{PLACE}")
            if repository is None or len(repository.commits) == 1:
                return None
            commits = b"%d commits" % len(repository.commits)
            return {**repository.files, "commits": commits}

        return {"case": "hub", **try_target(publish, breaker, clear, seen)}


def s3_row(found: Bundle) -> Row:
    """A real S3 protocol server: what others can read is what the record names."""
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app

    with serving(DomainDispatcherApplication(create_backend_app)) as (url, breaker):
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=url, **keys)
        options = {**KEYS, "endpoint_url": url}
        client.create_bucket(Bucket="loras")

        def publish() -> object:
            import asyncio

            real = asyncio.sleep
            asyncio.sleep = lambda seconds, result=None: real(0, result)  # type: ignore[assignment]
            return publish_to_store(found, "s3://loras/published", options, note=silent)

        def clear() -> None:
            breaker.mend()
            for item in client.list_objects_v2(Bucket="loras").get("Contents", []):
                client.delete_object(Bucket="loras", Key=item["Key"])

        def read(key: str) -> bytes:
            try:
                return bytes(client.get_object(Bucket="loras", Key=key)["Body"].read())
            except client.exceptions.NoSuchKey:
                return b"missing"

        def seen() -> Mapping[str, bytes] | None:
            breaker.mend()
            listed = {item["Key"] for item in client.list_objects_v2(Bucket="loras").get("Contents", [])}
            if f"published/mira-v1/{RECORD}" not in listed:
                return None
            record = found.record()
            return {
                RECORD: read(f"published/mira-v1/{RECORD}"),
                **{file.name: read(f"published/mira-v1/blobs/{file.sha256}/{file.name}") for file in record.files},
            }

        return {"case": "s3", **try_target(publish, breaker, clear, seen)}


def folder_row(found: Bundle, folder: Path) -> Row:
    """A folder: the process is killed after each file it wrote; what others can read is the folder."""
    import os
    import shutil
    import signal

    place = folder / "published"
    steps = len(found.files) + 1

    def publish(kill_at: int | None) -> object:
        left = [kill_at]
        real = os.fsync

        def sync(descriptor: int) -> None:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if left[0] is not None:
                left[0] -= 1
            real(descriptor)

        os.fsync = sync
        return publish_to_folder(found, str(place), note=silent)

    def seen() -> Mapping[str, bytes] | None:
        if not place.exists():
            return None
        return {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}

    began = time.monotonic()
    assert in_a_process(lambda: publish(None), lambda pid: None)
    seconds, whole = time.monotonic() - began, seen()
    broken_off = half = same = nothing = 0
    for number in range(POINTS):
        shutil.rmtree(place, ignore_errors=True)
        broken_off += not in_a_process(partial(publish, number * steps // POINTS), lambda pid: None)
        found_now = seen()
        nothing += found_now is None
        half += found_now is not None and found_now != whole
        same += in_a_process(lambda: publish(None), lambda pid: None) and seen() == whole
    return {
        "case": "folder",
        "uploads": POINTS,
        "broken_off": broken_off,
        "requests_of_one": steps,
        "nothing_to_be_seen": nothing,
        "half_published": half,
        "same_after_retry": same,
        "seconds_of_one": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    parser.add_argument("--only", choices=("hub", "s3", "folder"), help="one target")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flenwheel-publishing-") as place:
        folder = Path(place)
        found = bundle(folder / "workspace")
        targets = {
            "hub": partial(hub_row, found),
            "s3": partial(s3_row, found),
            "folder": partial(folder_row, found, folder),
        }
        for name, make in targets.items():
            if arguments.only in (None, name):
                row = make()
                print(row, flush=True)
                write_part("publishing", [row], folder=arguments.out)


if __name__ == "__main__":
    main()
