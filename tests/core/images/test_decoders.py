"""Pictures are read in processes that can be ended: what they take, what they know, and what happens when one dies."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flenwheel_core.base.errors import BusyError, InputError, RetryableError
from flenwheel_core.images import decoders
from flenwheel_core.images.decoder import large_turn
from flenwheel_core.images.decoders import Decoders
from flenwheel_core.images.messages import Job
from flenwheel_core.images.reading import Limits

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def pool() -> Iterator[Decoders]:
    made = Decoders(2)
    yield made
    made.close()


def noise(seed: int, side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def job(name: str = "a.png", *, pixels: bool = True) -> Job:
    return Job(name=name, limits=Limits(), pixels=pixels)


def endless_jpeg(scans: int = 60_000) -> bytes:
    """A progressive JPEG whose last scan is repeated: every decoder goes through all of them."""
    buffer = io.BytesIO()
    Image.new("L", (1000, 1000), 128).save(buffer, "JPEG", progressive=True, quality=30)
    data = buffer.getvalue()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * scans + data[-2:]


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=600,
    )


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_many_threads_each_get_their_own_picture_from_a_few_processes(pool: Decoders) -> None:
    def read(seed: int) -> bytes:
        return bytes(pool.read(job(), png(noise(seed)))[1])

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(read, range(40)))
    assert got == [noise(seed).tobytes() for seed in range(40)]
    assert len(pool.process_ids) <= 2


def test_pixels_that_nobody_wants_stay_where_they_are(pool: Decoders) -> None:
    found, pixels = pool.read(job(pixels=False), png(noise(1)))
    assert found.size == (64, 64) and not pixels


def test_a_decoder_that_was_ended_meanwhile_is_replaced(pool: Decoders) -> None:
    pool.read(job(), png(noise(1)))
    (first,) = pool.process_ids
    os.kill(first, signal.SIGKILL)
    assert bytes(pool.read(job(), png(noise(2)))[1]) == noise(2).tobytes()
    assert pool.process_ids != (first,)


def test_decoders_know_no_secrets(pool: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_TOKEN", "a-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    pool.read(job(), png(noise(1)))
    (process,) = pool.process_ids
    assert b"secret" not in Path(f"/proc/{process}/environ").read_bytes()


def test_too_many_pictures_at_once_are_refused_at_once(pool: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "MOST_WAITING", 0)
    with pytest.raises(BusyError, match="Too many"):
        pool.read(job(), png(noise(1)))


def test_decoders_end_with_the_process_that_started_them() -> None:
    done = python(
        """
        import io, os, signal
        from PIL import Image
        from flenwheel_core.images import decode, decoders
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9)).save(buffer, "PNG")
        decode.decode(buffer.getvalue(), "a.png")
        print(*decoders.shared_decoders().process_ids, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    (process,) = [int(word) for word in done.stdout.split()]
    for _ in range(300):
        if gone(process):
            return
        time.sleep(0.1)
    pytest.fail("the decoder lives on")


def test_decoders_of_a_large_process_are_kept() -> None:
    done = python(
        """
        import io
        from PIL import Image
        from flenwheel_core.images import decode, decoders
        weights = b"x" * (400 * 2**20)
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9)).save(buffer, "PNG")
        decode.decode(buffer.getvalue(), "a.png")
        first = decoders.shared_decoders().process_ids
        decode.decode(buffer.getvalue(), "a.png")
        assert first and decoders.shared_decoders().process_ids == first, (first, decoders.shared_decoders().process_ids)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_process_has_decoders_of_its_own() -> None:
    done = python(
        """
        import io, os
        from PIL import Image
        from flenwheel_core.images import decode, decoders
        def picture(colour):
            buffer = io.BytesIO()
            Image.new("RGB", (9, 9), colour).save(buffer, "PNG")
            return decode.decode(buffer.getvalue(), "a.png").image.getpixel((0, 0))
        picture("red")
        ours = decoders.shared_decoders().process_ids
        child = os.fork()
        assert picture("blue" if child else "lime") == ((0, 0, 255) if child else (0, 255, 0))
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert decoders.shared_decoders().process_ids == ours
        else:
            assert not set(decoders.shared_decoders().process_ids) & set(ours)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_memory_beyond_the_limit_is_refused_by_the_kernel() -> None:
    done = python(
        """
        from flenwheel_core.images.decoder import limit_memory
        limit_memory(64 * 2**20)
        try:
            bytearray(200 * 2**20)
        except MemoryError:
            limit_memory(None)
            bytearray(200 * 2**20)
            print("limited, and free again")
        """
    )
    assert done.stdout.strip() == "limited, and free again", done.stderr


def test_what_is_being_read_ends_when_the_work_is_stopped(pool: Decoders) -> None:
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(pool.read, job("endless.jpg"), endless_jpeg())
        while not pool.process_ids:
            time.sleep(0.01)
        pool.close()
        with pytest.raises(RetryableError, match="stopped"):
            reading.result()
    assert pool.process_ids == ()


def test_large_pictures_take_turns(tmp_path: Path) -> None:
    path, second_began = tmp_path / "locks" / "turn.lock", threading.Event()

    def second() -> None:
        with large_turn(path) as turn:
            turn.take()
            second_began.set()

    thread = threading.Thread(target=second)
    with large_turn(path) as first:
        first.take()
        thread.start()
        assert not second_began.wait(0.3)
    assert second_began.wait(240)
    thread.join()


def test_where_nobody_can_lock_nobody_waits() -> None:
    with large_turn(Path("/proc/none/turn.lock")) as turn:
        turn.take()


@pytest.mark.slow
def test_a_picture_that_never_ends_is_ended_and_holds_nobody_up(pool: Decoders) -> None:
    ended = threading.Event()
    caught: list[BaseException] = []

    def endless() -> None:
        try:
            pool.read(job("endless.jpg"), endless_jpeg())
        except InputError as error:
            caught.append(error)
        ended.set()

    thread = threading.Thread(target=endless)
    thread.start()
    for seed in range(5):
        pool.read(job(), png(noise(seed)))
    assert not ended.is_set()
    thread.join()
    assert "endless.jpg takes too long" in str(caught[0])
    assert bytes(pool.read(job(), png(noise(9)))[1]) == noise(9).tobytes()
