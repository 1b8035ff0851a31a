"""What an injection leaves in a folder: the head, a grid of each identity, and what is known of it."""

import json
from collections.abc import Iterator
from pathlib import Path

from flenwheel_core.base.disk import disk_error
from flenwheel_core.base.errors import InputError
from flenwheel_core.requests.inject import InjectRequest, InjectResult
from flenwheel_core.store import Store

HEADS, PICTURES = "checkpoints", "generations"


def prepare(folder: Path) -> None:
    """Makes the output folder, before anything is trained or drawn for it. Raises InputError if it cannot be written to."""
    try:
        for part in (HEADS, PICTURES):
            (folder / part).mkdir(parents=True, exist_ok=True)
        probe = folder / HEADS / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise disk_error(error, str(folder)) or InputError(
            f"Nothing can be written to {folder}.",
            why=error.strerror or "",
            remedy="Name another folder: --out-dir results.",
        ) from error


def write_results(folder: Path, store: Store, request: InjectRequest, result: InjectResult) -> Iterator[str]:
    """Writes `checkpoints/linear_head.safetensors`, and `NAME_alpha_grid.png` with `NAME_meta.json` in `generations/`; a line for each.

    Raises InputError for a folder that cannot be written to.
    """
    prepare(folder)
    head, pictures = folder / HEADS / "linear_head.safetensors", folder / PICTURES
    head.write_bytes(store.get_blob(request.head))
    yield str(head)
    for grid in result.grids:
        file = pictures / f"{grid.identity}_alpha_grid.png"
        file.write_bytes(store.get_blob(grid.picture))
        (pictures / f"{grid.identity}_meta.json").write_text(_facts(grid.identity, request, result))
        yield str(file)


def _facts(name: str, request: InjectRequest, result: InjectResult) -> str:
    own = next(one for one in request.identities if one.name == name)
    facts = {
        "identity": name,
        "models": {"qwen3_vl": request.features, "qwen_image": request.base},
        "head": request.head,
        "request": request.key(),
        "photos": [photo.image for photo in own.photos],
        "held_out": list(own.held_out),
        "alphas": sorted({cell.alpha for cell in result.cells if cell.method == "injection"}),
        "gen_seeds": list(request.seeds),
        "prompts": [prompt.text for prompt in request.prompts],
        "negative_prompt": request.negative,
        "sampler": request.sampler.model_dump(mode="json"),
        "cells": [cell.model_dump(mode="json") for cell in result.cells if cell.identity == name],
        "figures": [row.model_dump(mode="json") for row in result.figures],
        "verdict": result.verdict,
    }
    return json.dumps(facts, indent=1, sort_keys=True) + "\n"
