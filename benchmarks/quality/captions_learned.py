"""What the captioner learns from captions that a person wrote: right labels, the character's name, nothing that never changes.

    python -m benchmarks.quality.captions_learned        # minutes on a CPU

A simulated reviewer writes the caption of each lesson from what the renderer knows. The stages that a turn of the captioner runs train on
the lessons and compare on pictures of the same characters that were held out: renders, and pictures that nano FLUX drew again.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.quality.nano_models_eyes import REDRAWN_STRENGTH, redrawn
from benchmarks.result_file import Row, write_part
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Labels, LoraUse
from flenwheel_core.documents.wording import fill
from flenwheel_core.nano.world import HELD_OUT_FROM, View, make_character, make_view, render
from flenwheel_core.nano.world.captions import rare_name
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.caption_compare import CaptionCompareRequest, CaptionScorecard, ComparedCaption
from flenwheel_core.requests.vl_train import VlItem, VlTrainRequest
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import CAPTION_COMPARE, VL_TRAIN
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

FIRST_CHARACTER = HELD_OUT_FROM + 300_000
FIRST_VIEW = 2 * 10**9
PORTRAITS = 0.8


def pictures_of(store: Store, characters: int, first: int, views: int, *, generated: bool) -> list[ComparedCaption]:
    """Views of each character, with the caption that a person would write."""
    recipe = load_recipe("nano")
    found = []
    for number in range(characters):
        trigger = rare_name(make_character(FIRST_CHARACTER + number))
        shown = make_character(FIRST_CHARACTER + number)
        seen = [
            make_view(FIRST_VIEW + number * 10_000 + first + index, portrait_share=PORTRAITS) for index in range(views)
        ]
        images = (
            redrawn([(shown, view) for view in seen], REDRAWN_STRENGTH, "cpu")
            if generated
            else [render(shown, view) for view in seen]
        )
        who = CharacterRef(name=f"c{number}", trigger=trigger, class_word="person", kind="person")
        for view, image in zip(seen, images, strict=True):
            caption = fill(recipe.caption_template, labels_of(view), recipe.phrases, who)
            digest = store.put_blob(encode_png(image, {}))
            found.append(ComparedCaption(image=digest, caption=caption, trigger=trigger, corrected=True))
    return found


def labels_of(view: View) -> Labels:
    """What a caption states of a view."""
    return Labels(
        angle=view.angle,
        expression=view.expression,
        pose=view.pose,
        background=view.background,
        lighting=view.lighting,
    )


def row(case: str, score: CaptionScorecard) -> Row:
    return {
        "case": case,
        "pictures": len(score.captions),
        "labels_right": score.labels_right,
        "named_share": score.named,
        "traits_share": score.with_traits,
        "word_f1": score.words,
    }


def measure(lessons: int, characters: int, held: int, work: Path) -> list[Row]:
    """Both captioners on renders and on generated pictures, after so many lessons a character, half of either kind."""
    settings = Settings(workspace=work, gpu="cpu")
    store, recipe = Store(settings.store_url), load_recipe("nano").captioner
    learned = [
        one
        for generated in (False, True)
        for one in pictures_of(store, characters, 0, lessons // 2, generated=generated)
    ]
    request = VlTrainRequest(
        name="captioner",
        model="nano",
        items=tuple(VlItem(kind="caption", images=(one.image,), answer=one.caption) for one in learned),
        recipe=recipe.train.for_pictures(len(learned)),
        most_pixels=recipe.most_pixels,
        seed=recipe.seed,
    )
    began = time.monotonic()
    trained = run_in_child(VL_TRAIN, request, settings, _say)
    seconds = time.monotonic() - began
    rows: list[Row] = [
        {
            "case": "training",
            "lessons": len(learned),
            "characters": characters,
            "steps": trained.lora.steps,
            "seconds": seconds,
        }
    ]
    for name, generated in (("renders", False), ("generated", True)):
        asked = CaptionCompareRequest(
            items=tuple(pictures_of(store, characters, 5_000, held, generated=generated)),
            captioner="nano",
            challenger=(LoraUse(digest=trained.lora.digest),),
            significance=recipe.significance,
        )
        found = run_in_child(CAPTION_COMPARE, asked, settings, _say)
        rows += [row(f"{name}, as shipped", found.champion), row(f"{name}, after its lessons", found.challenger)]
        for reason in found.comparison.reasons:
            print(f"  {reason}", flush=True)
    return rows


def _say(event: ProgressEvent) -> None:
    if event.kind == "note" or (event.done or 0) % 50 == 0:
        print(event.text or event.done, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lessons", type=int, default=40, help="lessons a character")
    parser.add_argument("--characters", type=int, default=6)
    parser.add_argument("--held", type=int, default=20, help="held-out pictures a character and kind")
    parser.add_argument("--out", type=Path, help="folder for the result file")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work:
        rows = measure(arguments.lessons, arguments.characters, arguments.held, Path(work))
    for one in rows:
        print(one, flush=True)
    options = {} if arguments.out is None else {"folder": arguments.out}
    write_part("captions_learned", rows, **options)


if __name__ == "__main__":
    main()
