"""How good nano klein and nano Z-Image are, through the program, on the captions and edits that `nano_models` asks nano's own models for.

    python -m benchmarks.quality.nano_siblings [CASE ...] [--count 200] [--device cuda]

Cases: klein_draws, zimage_draws, klein_edits, klein_edits_with_two_references. Without a case all are run; rows of other cases are kept.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.quality.nano_models_flux import FIRST, accuracies, embedder, named_changes, reader
from benchmarks.result_file import RESULTS, Row, write_part
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.protocols import EditJob, GenerateJob
from flenwheel_core.models.registry import open_editor, open_generator
from flenwheel_core.nano.measure import facts_of, shares_right
from flenwheel_core.nano.threshold import SAME_CHARACTER
from flenwheel_core.nano.world import (
    caption,
    instruction,
    make_character,
    make_edit,
    make_view,
    parse_caption,
    render,
)
from flenwheel_core.recipes.loading import load_recipe

NAME = "nano_siblings"
COUNT = 200
THREADS = 2


def draws(case: str, reference: str, settings: Settings, count: int, device: str) -> Row:
    """How well pictures follow full captions, drawn as the model's own recipe draws."""
    sampler = load_recipe(reference).generate.sampler
    asked = [caption(make_character(FIRST + i), make_view(FIRST + i)) for i in range(count)]
    with open_generator(reference, settings) as generator:
        jobs = [GenerateJob(str(i), text, i + 1, sampler) for i, text in enumerate(asked)]
        drawn = {made.key: made.image for made in generator.generate(jobs)}
    images = [drawn[str(i)] for i in range(count)]
    wanted = [facts_of(parse_caption(text)) for text in asked]
    return {"case": case, "captions": count, **accuracies(wanted, images, device)}


def edits(case: str, references: int, settings: Settings, count: int, device: str) -> Row:
    """Is every named change made, and is it still the same character (cosine to the true result)?"""
    sampler = load_recipe("nano_klein").enrich.sampler
    pairs = [(make_character(FIRST + 5_000 + i), make_view(FIRST + 5_000 + i)) for i in range(count)]
    targets = [make_edit(view, FIRST + i) for i, (_, view) in enumerate(pairs)]
    asked = [instruction(view, target) for (_, view), target in zip(pairs, targets, strict=True)]

    def given(number: int) -> tuple[Image.Image, ...]:
        character, view = pairs[number]
        others = [make_view(FIRST + 9_000 + count * further + number) for further in range(references - 1)]
        return tuple(render(character, one) for one in (view, *others))

    with open_editor("nano_klein", settings) as editor:
        jobs = [EditJob(str(i), text, i, sampler, given(i)) for i, text in enumerate(asked)]
        made = {edit.key: edit.image for edit in editor.edit(jobs)}
    images = [made[str(i)] for i in range(count)]
    truth = [render(character, target) for (character, _), target in zip(pairs, targets, strict=True)]
    alike = (embedder(device).embed(images) * embedder(device).embed(truth)).sum(1)
    wanted, seen = [named_changes(text) for text in asked], reader(device).read(images)
    followed = [all(one[k] == v for k, v in facts.items()) for facts, one in zip(wanted, seen, strict=True)]
    return {
        "case": case,
        "edits": count,
        "instruction_followed": float(np.mean(followed)),
        "identity_kept": float((alike >= SAME_CHARACTER).mean()),
        "identity_cosine": float(alike.mean()),
        "first_try": float(np.mean([ok and same >= SAME_CHARACTER for ok, same in zip(followed, alike, strict=True)])),
        **{f"{name}_accuracy": share for name, share in shares_right(wanted, seen).items()},
    }


CASES: dict[str, Callable[[str, Settings, int, str], Row]] = {
    "klein_draws": lambda case, *given: draws(case, "nano_klein", *given),
    "zimage_draws": lambda case, *given: draws(case, "nano_zimage", *given),
    "klein_edits": lambda case, *given: edits(case, 1, *given),
    "klein_edits_with_two_references": lambda case, *given: edits(case, 2, *given),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.nano_siblings", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="what to measure; everything if none is given")
    parser.add_argument("--count", type=int, default=COUNT, help="pictures of a case")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.cases) - CASES.keys()):
        parser.error(f"unknown case {unknown[0]}; known are {', '.join(CASES)}")
    torch.set_num_threads(THREADS)
    for case in given.cases or CASES:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(gpu="cpu" if given.device == "cpu" else "auto", workspace=Path(folder))
            row = CASES[case](case, settings, given.count, given.device)
        print(f"{case}: {time.perf_counter() - start:.0f} s, {write_part(NAME, [row], folder=given.out)}")


if __name__ == "__main__":
    main()
