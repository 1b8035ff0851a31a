"""Injection on Modal's machines, thin over what the command `flenwheel inject` calls. It was never tried on that cloud.

    modal run -m deployments.injection.modal_runner::injection_poc --seed-dirs /mnt/dataset/seed_1,/mnt/dataset/seed_2 --train

The volumes `flenwheel-dataset`, `flenwheel-output` and `flenwheel-models`, and the secret `huggingface` with HUGGINGFACE_TOKEN, are yours
to make. Without the package `modal` this module still holds `injection_poc` as an ordinary function.
"""

import importlib.util
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deployments.injection.run import BASE_PROMPT, NEGATIVE_PROMPT, OUT_DIR, FolderInjection, inject_folders, use_token
from flenwheel_core.base.document import impossible
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.plans.injection import strengths, whole_seeds

GPU = "L40S"
HOURS = 6
PLACES = {"/mnt/dataset": "flenwheel-dataset", "/mnt/output": "flenwheel-output", "/mnt/models": "flenwheel-models"}
SECRET = "huggingface"  # noqa: S105 - the name of a secret on Modal


def injection_poc(
    seed_dirs: str,
    train: bool = False,
    epochs: int = 3,
    batch_size: int = 2,
    lr: float = 1e-3,
    alphas: str = "0.5,1.0,1.5",
    gen_seeds: str = "1234,5678,9999",
    steps: int = 28,
    guidance: float = 4.5,
    height: int = 768,
    width: int = 512,
    base_prompt: str = BASE_PROMPT,
    negative_prompt: str = NEGATIVE_PROMPT,
    out_dir: str = str(OUT_DIR),
    models: str = "",
) -> str:
    """Trains the head if asked, draws a grid of each folder's person, and returns the sentence about it; a mistake is a sentence too.

    `models` are two references by a comma, what sees and what draws; Qwen3-VL-8B and Qwen-Image if empty.
    """
    use_token(None)
    try:
        named = dict(zip(("qwen3_vl_model", "qwen_image_model"), models.split(","), strict=False)) if models else {}
        asked = FolderInjection(
            seed_dirs=tuple(part for part in seed_dirs.replace(",", " ").split()),
            out_dir=Path(out_dir),
            train=train,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            alphas=strengths([alphas]),
            gen_seeds=whole_seeds([gen_seeds]),
            steps=steps,
            guidance=guidance,
            height=height,
            width=width,
            base_prompt=base_prompt,
            negative_prompt=negative_prompt,
            **named,
        )
        return inject_folders(asked, Settings(), _say, print).verdict
    except FlenwheelError as error:
        message = error.message
    except ValidationError as error:
        message = impossible(error)
    print(message)
    return message


def _say(event: ProgressEvent) -> None:
    print(event.line(), flush=True)


def on_modal(modal: Any) -> Any:
    """The Modal app whose function `injection_poc` runs on a card."""
    project = Path(__file__).parents[2]
    image = modal.Image.debian_slim(python_version="3.12").pip_install_from_pyproject(str(project / "pyproject.toml"))
    image = image.env({"FLENWHEEL_WORKSPACE": "/mnt/output/workspace", "FLENWHEEL_MODELS": "/mnt/models"})
    image = image.add_local_python_source("flenwheel_core", "deployments", "flows", "tasks")
    volumes = {place: modal.Volume.from_name(name, create_if_missing=True) for place, name in PLACES.items()}
    app = modal.App("flenwheel-injection")
    secrets = [modal.Secret.from_name(SECRET)]
    function = app.function(image=image, gpu=GPU, timeout=HOURS * 3600, volumes=volumes, secrets=secrets)
    return app, function(injection_poc)


if importlib.util.find_spec("modal") is not None:
    app, injection_poc = on_modal(importlib.import_module("modal"))
