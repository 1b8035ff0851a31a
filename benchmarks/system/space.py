"""Runs the demo that `flenwheel publish --space` makes, in an environment of its own, and draws with it in a real browser.

    python -m benchmarks.system.space [--python PATH]

Without `--python` a virtual environment is made from the demo's own requirements.txt (torch among them, 3 GB). `--python` names an
interpreter of one that has them. The picture that the browser shows is compared with what the app's own functions draw here for the same
prompt and seed.
"""

import argparse
import base64
import importlib.util
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.kit.exported_lora import exported
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.publishing.space import space_files

NAME = "space"
START_SECONDS = 900.0
PROMPT = "photo of ohwx_mira person, smiling"


def lora_on_nano() -> bytes:
    """A LoRA that nano's transformer takes, with weights that change what is drawn."""
    import torch

    config = json.loads((weights_folder("flux") / "transformer" / "config.json").read_text())
    width = config["num_attention_heads"] * config["attention_head_dim"]
    random = torch.Generator().manual_seed(1)
    tensors = {}
    for index in range(config["num_layers"]):
        stem = f"transformer.transformer_blocks.{index}.attn.to_q"
        tensors[f"{stem}.lora_A.weight"] = torch.randn(4, width, generator=random) / width**0.5
        tensors[f"{stem}.lora_B.weight"] = torch.randn(width, 4, generator=random) * 0.3
    return tensor_bytes(tensors, {"format": "pt"})


def write_space(folder: Path) -> Path:
    """The demo's folder."""
    _, request, _ = exported(folder / "workspace", kilobytes=1)
    place = folder / "space"
    for name, data in space_files(request, lora_on_nano()).items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return place


def environment_of_its_own(space: Path, folder: Path) -> Path:
    """The interpreter of a new environment with the demo's requirements."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(space / "requirements.txt")], check=True)
    return python


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def draw_in_a_browser(address: str) -> bytes:
    """Types the prompt, presses the button, and returns the picture that is shown."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address, timeout=300_000)
        box = page.get_by_label("Prompt")
        box.wait_for(timeout=300_000)
        box.fill(PROMPT)
        page.get_by_label("Seed").fill("7")
        page.get_by_role("button", name="Draw").click()
        kinds = ("png", "webp", "jpeg")  # its icons are data of another kind
        picture = page.locator(
            ", ".join(["img[src*='/file=']", *(f"img[src^='data:image/{one}']" for one in kinds)])
        ).first
        picture.wait_for(timeout=600_000)
        source = str(picture.get_attribute("src"))
        browser.close()
    if source.startswith("data:"):
        return base64.b64decode(source.partition(",")[2])
    return httpx.get(source if source.startswith("http") else address + source, timeout=60).content


def expected(space: Path) -> Any:
    """What the app's own functions draw in this process, with this program's packages."""
    spec = importlib.util.spec_from_file_location("space_app_of_the_demo", space / "app.py")
    assert spec is not None and spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    facts = json.loads((space / "space.json").read_text())
    return app.drawer(app.load(facts), facts)


def try_space(folder: Path, python: Path | None) -> Row:
    """Starts it, draws with it, compares."""
    from PIL import Image

    space = write_space(folder)
    interpreter = python or environment_of_its_own(space, folder)
    port = free_port()
    variables = {
        **os.environ,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
    }
    variables.pop("PYTHONPATH", None)
    log = (folder / "app.log").open("wb")
    began = time.monotonic()
    process = subprocess.Popen([str(interpreter), "app.py"], cwd=space, env=variables, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        while not _answers(address):
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise SystemExit((folder / "app.log").read_text()[-3000:])
            time.sleep(1)
        start_seconds = time.monotonic() - began
        shown = draw_in_a_browser(address)
        draw_seconds = time.monotonic() - began - start_seconds
    finally:
        process.terminate()
        process.wait(30)
    draw = expected(space)
    wanted, plain = (np.asarray(draw(PROMPT, 7, strength).convert("RGB")).astype(int) for strength in (1.0, 0.0))
    with Image.open(io.BytesIO(shown)) as image:
        found = np.asarray(image.convert("RGB")).astype(int)
    same_size = found.shape == wanted.shape
    return {
        "case": "space",
        "drawn_in_a_browser": same_size,
        "levels_from_expected": float(np.abs(found - wanted).max()) if same_size else None,
        "levels_the_lora_changes": float(np.abs(wanted - plain).mean()),
        "start_seconds": start_seconds,
        "draw_seconds": draw_seconds,
    }


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=20).status_code == 200
    except httpx.TransportError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--python", type=Path, help="an interpreter that has the demo's requirements")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flenwheel-space-") as place:
        row = try_space(Path(place), arguments.python)
    print(row)
    print(write_result(NAME, [row], folder=arguments.out))


if __name__ == "__main__":
    main()
