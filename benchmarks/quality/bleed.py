"""Does a trained LoRA give its character's face to somebody else? Drawn for every LoRA of a workspace, and for the base without one.

named: the trigger and the class word, as a check that the LoRA draws its character at all. other: a person beside somebody else, or,
where the verifier sees whole pictures (the nano world), another of the class without the trigger. The workspace is only read; a turn of
`flenwheel demo` makes one. A workspace of real people needs their base model, so a card; the command is the same.

    python -m benchmarks.quality.bleed --workspace WORKSPACE --pictures 16
"""

import argparse
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks.result_file import Row, write_result
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.documents.scores import BleedScore
from flenwheel_core.evaluation.bleed import bleed_items, bleed_score
from flenwheel_core.identity.screening import FingerprintSpace, limits_of
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.screening import ScreeningRecipe
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.generate import draw_once
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture


def trained(store: Store) -> Iterator[tuple[TrainRequest, TrainResult]]:
    """Every LoRA of a workspace that was trained with a fingerprint."""
    for path in store.files.list("stages/train"):
        if path.endswith("/manifest.json"):
            request = store.get_request(TrainRequest, path.split("/")[2])
            if request is not None and request.fingerprint is not None and request.verifier is not None:
                yield request, TrainResult.from_bytes(store.files.read(path), where=path)


def measure(
    request: TrainRequest, items: tuple[GenerateItem, ...], lora: str | None, recipe: Recipe, context: StageContext
) -> BleedScore:
    """How many of the drawn pictures hold somebody within the character's limit."""
    assert request.fingerprint is not None and request.verifier is not None
    drawing = GenerateRequest(
        character=request.character,
        items=items,
        # The nano weights of this version: their tokenizers were written anew since, which changes no picture.
        base="nano" if request.base.startswith("nano@") else request.base,
        loras=() if lora is None else (LoraUse(digest=lora, weight=recipe.generate.lora_weight),),
        sampler=recipe.generate.sampler,
        turn=0,
    )
    records = draw_once(drawing, context)
    with open_verifier(request.verifier, context.settings) as verifier:
        seen = verifier.embed([load_picture(context.store, record.digest) for record in records])
    limits = limits_of(ScreeningRecipe(), request.fingerprint, strict=False)
    beside = request.character.kind == "person" and items[0].cell == "beside-another"
    return bleed_score(seen, FingerprintSpace(request.fingerprint), limits, beside=beside)


def row(case: str, score: BleedScore) -> Row:
    return {
        "case": case,
        "pictures": score.pictures,
        "measured": score.measured,
        "is_character_share": score.rate,
        "low": score.low,
        "high": score.high,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workspace", type=Path, required=True, help="of which the LoRAs are; only read")
    parser.add_argument("--recipe", default="nano", help="words, sampler and strength")
    parser.add_argument("--pictures", type=int, default=16, help="drawn for each case")
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    plain = load_recipe(given.recipe)
    recipe = plain.model_copy(
        update={"benchmark": plain.benchmark.model_copy(update={"bleed_pictures": given.pictures})}
    )
    theirs = Store(Settings(workspace=given.workspace).store_url)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(workspace=Path(folder))
        store = Store(settings.store_url)
        progress = Progress("bleed", lambda _: None)
        context = StageContext(store, settings, Path(folder), progress, 0, threading.Event())
        for request, result in trained(theirs):
            store.put_blob(theirs.get_blob(result.lora.digest))
            other = bleed_items(request.character, recipe)
            named = tuple(
                item.model_copy(
                    update={
                        "key": f"named-{at}",
                        "cell": "named",
                        "prompt": item.prompt.replace(request.character.class_word, request.character.words, 1),
                    }
                )
                for at, item in enumerate(other)
            )
            name = result.lora.name
            for case, items, lora in (
                (f"{name}_named", named, result.lora.digest),
                (f"{name}_other", other, result.lora.digest),
                (f"{name}_other_without_lora", other, None),
            ):
                if request.character.kind == "person" and case.endswith("_named"):
                    continue  # the words are in the prompt of the pair already
                rows.append(row(case, measure(request, items, lora, recipe, context)))
                print(rows[-1], flush=True)
    write_result("bleed", rows, **({"folder": given.out} if given.out else {}))


if __name__ == "__main__":
    main()
