"""The review studio with 10 000 pictures, in a real headless Chromium: `python -m benchmarks.system.studio`.

Measured in the browser, from the key press to the frame after the picture is on the screen, at a reviewer's pace. Every picture is
another file. Needs Debian's chromium.
"""

import argparse
import io
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.kit.memory import memory_mib
from benchmarks.result_file import write_result
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, ImageKind, ImageRecord, Labels
from flenwheel_core.documents.scores import Screening
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.store import Store

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
DISTINCT = 40
PACE_MS = 220
"""A fast reviewer: four and a half pictures a second."""

WATCH = """
() => {
  window.shownMs = [];
  let pressed = 0;
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  new MutationObserver(() => {
    const began = pressed;
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.shownMs.push(performance.now() - began);
      channel.port2.postMessage(0);
    });
  }).observe(document.getElementById("gate"), { attributes: true, attributeFilter: ["data-shown"] });
}
"""


def main() -> None:
    """Measures, and writes results/studio.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--steps", type=int, default=300, help="pictures looked at, and decisions made")
    parser.add_argument("--workspace", type=Path, help="keep the pictures here and use them again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="studio-benchmark-") as folder:
        settings = Settings(workspace=arguments.workspace or Path(folder), author="benchmark")
        store = Store(settings.store_url)
        shutil.rmtree(settings.root / "store" / "journals", ignore_errors=True)
        shutil.rmtree(settings.root / "cache", ignore_errors=True)
        gate = next(iter(Reviews(store).gates()), None) or fill(store, arguments.pictures, arguments.side)
        rows = measure(settings, gate, arguments.pictures, arguments.side, arguments.steps)
    for row in rows:
        print(row)
    if arguments.pictures == 10_000:
        print(write_result("studio", rows))


def fill(store: Store, count: int, side: int) -> str:
    """A gate with `count` pictures, each a file of its own, beside ten sources."""
    Library(store).create_character(
        Character(name="bench", trigger="ohwx_bench", class_word="person", kind="person", recipe="nano")
    )
    files = [_picture(number, side) for number in range(DISTINCT)]
    sources = [_record(store, files[number], number, side, ()) for number in range(10)]
    edits = [
        _record(store, files[number % DISTINCT], 10 + number, side, (sources[number % 10].digest,))
        for number in range(count)
    ]
    rows = [
        Screening(
            image=edit.digest,
            outcome=("pass", "unsure", "fail")[number % 3],
            verifier="none",
            verifier_version="none",
            similarity=0.3 + 0.6 * ((number * 7919) % count) / count,
            sharpness=float(number % 100),
            nearest_reference=sources[0].digest,
        )
        for number, edit in enumerate(edits)
    ]
    session = ReviewSession(
        gate="bench-t1-gate-a-r1",
        kind="enriched",
        character="bench",
        turn=1,
        round=1,
        images=store.put_images(edits),
        screenings=store.put_screenings(rows),
        references=store.put_images(sources),
        minimum=30,
    )
    return Reviews(store).open(session).gate


def _picture(number: int, side: int) -> bytes:
    """A PNG with the entropy of a photograph: smooth shapes and fine grain."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    grain = random.normal(0, 3, (side, side, 1))
    pixels = np.clip(np.asarray(coarse, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _record(store: Store, png: bytes, number: int, side: int, parents: tuple[str, ...]) -> ImageRecord:
    """Keeps the picture as a file of its own: a text chunk with its number makes it another file."""
    body = b"tEXt" + f"number\0{number}".encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    labels = Labels(angle=ANGLES[number % 5], expression=EXPRESSIONS[number // 5 % 4], pose="portrait")
    return ImageRecord(
        digest=store.put_blob(png[:33] + chunk + png[33:]),
        width=side,
        height=side,
        kind=ImageKind.ENRICHED if parents else ImageKind.SOURCE,
        parents=parents,
        prompt=f"edit number {number}",
        caption=f"photo of ohwx_bench person, number {number}",
        seed=number,
        stage="enrich",
        request="0" * 64,
        item=f"edit-{number:05d}",
        turn=1,
        template=f"template-{number % 12}",
        labels=labels,
    )


def measure(settings: Settings, gate: str, pictures: int, side: int, steps: int) -> list[dict[str, str | int | float]]:
    """Starts a server and a browser and measures all cases."""
    port = _free_port()
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(settings.root), str(port)], env={**os.environ})
    address = f"http://127.0.0.1:{port}"
    size = f"{pictures}"
    try:
        _wait(f"{address}/api/v1/session")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            cold = _open(browser, f"{address}/gates/{gate}")
            warm = [_open(browser, f"{address}/gates/{gate}") for _ in range(8)]
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"{address}/gates/{gate}")
            page.wait_for_selector("#gate[data-ready]", timeout=120_000)
            at_start = memory_mib(process.pid, "VmRSS")
            following = _next_pictures(page, steps)
            decisions = _decisions(page, steps)
            grid = _grid(page)
            bulk = _bulk(page)
            browser.close()
        common: dict[str, str | int | float] = {"side_px": side}
        return [
            {"case": f"first_page_{size}", **common, **_figures(warm), "cold_server_ms": cold},
            {"case": f"next_image_{size}", **common, **_figures(following), "count": len(following)},
            {"case": f"decision_{size}", **common, **_figures(decisions), "count": len(decisions)},
            {"case": f"grid_{size}", **common, **_figures(grid)},
            {"case": f"bulk_{size}", **common, **_figures([bulk])},
            {
                "case": f"server_{size}",
                "server_peak_mib": memory_mib(process.pid, "VmHWM"),
                "server_start_mib": at_start,
                "server_end_mib": memory_mib(process.pid, "VmRSS"),
                "load_average": os.getloadavg()[0],
            },
        ]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


SERVE = """
import sys
from pathlib import Path
import uvicorn
from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings
app = create_app(Settings(workspace=Path(sys.argv[1])), None)
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""


def _open(browser: Browser, address: str) -> float:
    """Milliseconds from the first byte asked for to the first picture on the screen, in a browser with an empty cache."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(address, timeout=120_000)
    page.wait_for_selector("#gate[data-ready]", timeout=120_000)
    shown = float(page.evaluate("performance.getEntriesByName('picture-shown')[0].startTime"))
    context.close()
    return shown


def _next_pictures(page: Page, steps: int) -> list[float]:
    page.evaluate(WATCH)
    for number in range(steps):
        page.keyboard.press("Space")
        _until(page, f"window.shownMs.length > {number}")
        page.wait_for_timeout(PACE_MS)
    return [float(value) for value in page.evaluate("window.shownMs")]


def _decisions(page: Page, steps: int) -> list[float]:
    """Round trips of decisions as the browser times them: asked, on disk, answered."""
    page.evaluate("performance.clearResourceTimings(); performance.setResourceTimingBufferSize(100000)")
    for _ in range(steps):
        page.keyboard.press("g")
        page.wait_for_timeout(PACE_MS)
    _until(page, "document.getElementById('save-state').textContent.includes('saved')")
    script = (
        "performance.getEntriesByType('resource').filter((e) => e.name.includes('/decision')).map((e) => e.duration)"
    )
    return [float(value) for value in page.evaluate(script)]


def _grid(page: Page) -> list[float]:
    """A screen of the grid, far down, until every thumbnail in view is there: the server makes them now."""
    page.keyboard.press("v")
    found = []
    for screen in range(1, 11):
        began = time.perf_counter()
        page.evaluate(f"document.getElementById('grid-scroll').scrollTop = {screen * 9000}")
        _until(
            page,
            "(tiles => tiles.length > 20 && tiles.every((image) => image.complete && image.naturalWidth))"
            "([...document.querySelectorAll('.tile img')])",
        )
        found.append(1000 * (time.perf_counter() - began))
    return found


def _bulk(page: Page) -> float:
    """One bulk decision about every undecided picture, until it is on disk."""
    script = """
    async () => {
      const csrf = document.querySelector('meta[name="csrf-token"]').content;
      const gate = document.getElementById("gate").dataset.gate;
      const rule = { measure: "similarity", at_least: 0, only_undecided: true };
      const began = performance.now();
      const answer = await fetch(`/api/v1/gates/${gate}/bulk?after=1000000`, {
        method: "POST", headers: { "x-csrf-token": csrf, "content-type": "application/json" },
        body: JSON.stringify({ id: "bulk-benchmark", author: "benchmark", rule, verdict: "reject" }),
      });
      if (!answer.ok) throw new Error(await answer.text());
      return performance.now() - began;
    }
    """
    return float(page.evaluate(script))


def _until(page: Page, condition: str) -> None:
    """Waits for a condition; playwright's own wait needs eval, which the studio's content policy forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        if time.monotonic() > end:
            raise TimeoutError(condition)
        time.sleep(0.004)


def _figures(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return {"p50_ms": statistics.median(ordered), "p95_ms": p95}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait(address: str) -> None:
    for _ in range(1500):
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{address} does not answer")


if __name__ == "__main__":
    main()
