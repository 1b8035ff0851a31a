"""How often screening is right, on candidates of known truth.

nano: held-out characters; the right one in new views, and every kind of spoiled picture. The stages `ingest` and `screen` run as in
a turn. faces: two people on photographs that ship with scikit-image and matplotlib, with honest variants; two identities show
mechanisms and margins, they validate no error rate.

    python -m benchmarks.quality.screening_truth                        # about five minutes on two cores
    python -m benchmarks.quality.screening_truth --characters 3 --out /tmp/results
"""

import argparse
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from benchmarks.result_file import Row, write_result
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.documents.scores import Screening
from flenwheel_core.identity.calibration import equal_error_rate
from flenwheel_core.identity.writing import writing_finder
from flenwheel_core.nano.world import HELD_OUT_FROM, SPOIL_KINDS, View, make_character, make_view, render, spoil
from flenwheel_core.recipes.screening import IngestRecipe, ScreeningRecipe
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.requests.screen import ScreenRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.ingest import ingest
from flenwheel_core.stages.screen import screen
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png, save_picture

REFERENCES = 14
PER_KIND = 12
FACE_SHARE = {"astronaut": 0.17, "hopper": 0.42}
"""Width of the face in the photograph."""
FIRST_CHARACTER = HELD_OUT_FROM + 500


@dataclass(frozen=True)
class Candidate:
    """A picture of known truth."""

    kind: str
    image: Image.Image
    asked: Labels


@dataclass(frozen=True)
class Subject:
    """References and candidates of one character."""

    name: str
    references: list[Image.Image]
    candidates: list[Candidate]


def nano_subjects(number: int) -> Iterator[Subject]:
    """Held-out characters: references are mostly portraits, candidates are new views; each kind has views of its own."""
    for index in range(number):
        character = make_character(FIRST_CHARACTER + index)
        known = [make_view(1_000 * index + item, portrait_share=0.9) for item in range(REFERENCES)]
        candidates = []
        for row, kind in enumerate((None, *SPOIL_KINDS)):
            for item in range(PER_KIND):
                view = make_view(1_000_000 + 10_000 * index + 100 * row + item)
                if kind == "near_copy":
                    view = known[item % REFERENCES]
                seed = 100 * index + item
                image = spoil(kind, character, view, seed).image if kind is not None else render(character, view)
                candidates.append(Candidate(kind or "right", image, _labels(view)))
        yield Subject(f"nano-{index}", [render(character, view) for view in known], candidates)


def _labels(view: View) -> Labels:
    return Labels.model_validate({"angle": view.angle, "expression": view.expression, "pose": view.pose})


def face_subjects() -> Iterator[Subject]:
    """Each of two people once as the character and once as the stranger."""
    people = list(_photographs())
    front, profile = Labels(angle="front", pose="portrait"), Labels(angle="profile-left", pose="portrait")
    for index, (name, photo) in enumerate(people):
        random = np.random.default_rng(index)
        stranger = people[1 - index][1]
        references = [_variant(photo, random) for _ in range(10)]
        given = [Candidate("right", _variant(photo, random), front) for _ in range(20)]
        given += [Candidate("wrong_identity", _variant(stranger, random), front) for _ in range(20)]
        given += [
            Candidate("blur", _variant(photo, random).filter(ImageFilter.GaussianBlur(8)), front) for _ in range(10)
        ]
        given += [
            Candidate("near_copy", reference.point(lambda value: int(value * 0.97)), front) for reference in references
        ]
        given += [Candidate("near_copy", ImageOps.mirror(reference), front) for reference in references]
        given += [Candidate("small_face", _far(name, photo, random), front) for _ in range(10)]
        given += [Candidate("no_face_front", image, front) for image in _faceless()]
        given += [Candidate("no_face_profile", image.rotate(5), profile) for image in _faceless()]
        yield Subject(name, references, given)


def _photographs() -> Iterator[tuple[str, Image.Image]]:
    import matplotlib.cbook
    from skimage import data

    yield "astronaut", Image.fromarray(data.astronaut())
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(hopper) as image:
        yield "hopper", image.convert("RGB")


def _faceless() -> list[Image.Image]:
    from skimage import data

    return [Image.fromarray(getattr(data, name)()).convert("RGB") for name in ("coffee", "chelsea", "rocket")]


def _variant(photo: Image.Image, random: np.random.Generator) -> Image.Image:
    """The same photograph cut, turned, toned, mirrored, softened: as different as one photograph gets."""
    width, height = photo.size
    share = float(random.uniform(0.72, 0.9))
    left = int(random.uniform(0.0, 1 - share) * width)
    top = int(random.uniform(0.0, 0.12) * height)
    side = int(min(width, height) * share)
    view = photo.crop((left, top, min(width, left + side), min(height, top + side)))
    view = view.rotate(float(random.uniform(-15, 15)), Image.Resampling.BICUBIC).resize((512, 512))
    tone = float(random.uniform(0.6, 1.3))
    view = view.point(lambda value: min(255, int(value * tone)))
    if random.random() < 0.5:
        view = ImageOps.mirror(view)
    return view.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 1.0))))


def _far(name: str, photo: Image.Image, random: np.random.Generator) -> Image.Image:
    """The person so far away that the face is 40 to 58 px high."""
    width = random.uniform(40, 58) / FACE_SHARE[name]
    size = (int(width), int(width * photo.height / photo.width))
    canvas = Image.new("RGB", (512, 512), (120, 130, 140))
    canvas.paste(photo.resize(size), (int(random.uniform(0, 512 - size[0])), 120))
    return canvas


def screened(subject: Subject, kind: str, verifier: str, reader: str | None) -> list[tuple[Candidate, Screening]]:
    """What the stages say of every candidate."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(workspace=Path(folder), gpu="cpu")
        store = Store(settings.store_url)
        context = StageContext(store, settings, Path(folder), Progress("screen", lambda _: None), 0, threading.Event())
        character = CharacterRef(name="hero", trigger="ohwx_char", class_word="person", kind=kind)
        files = tuple(
            SourceFile(name=f"{index}.png", digest=store.put_blob(encode_png(image, {})))
            for index, image in enumerate(subject.references)
        )
        recipe = IngestRecipe(duplicate_bits=0)
        known = ingest(IngestRequest(character=character, files=files, recipe=recipe, verifier=verifier), context)
        assert known.fingerprint is not None, known
        records = [_record(store, candidate, index) for index, candidate in enumerate(subject.candidates)]
        request = ScreenRequest(
            character=character,
            images=store.put_images(records),
            references=known.sources,
            fingerprint=known.fingerprint,
            verifier=verifier,
            reader=reader,
            writing_finder=writing_finder(verifier, ScreeningRecipe().writing_unsure_above),
            recipe=ScreeningRecipe(),
        )
        rows = store.get_screenings(screen(request, context).screenings)
    return list(zip(subject.candidates, rows, strict=True))


def _record(store: Store, candidate: Candidate, index: int) -> ImageRecord:
    record = ImageRecord(
        digest="0" * 64,
        width=candidate.image.width,
        height=candidate.image.height,
        kind=ImageKind.ENRICHED,
        stage="enrich",
        request="0" * 64,
        item=str(index),
        labels=candidate.asked,
    )
    return save_picture(store, candidate.image, record)


def figures(world: str, found: list[tuple[Candidate, Screening]], subjects: int) -> list[Row]:
    """One row a kind; right ones lost, and the equal error rate of identity, stand in every row of a world."""
    by_kind: dict[str, list[Screening]] = defaultdict(list)
    for candidate, row in found:
        by_kind[candidate.kind].append(row)
    lost = wilson(sum(row.outcome == "fail" for row in by_kind["right"]), len(by_kind["right"]))
    same = [row.distance for row in by_kind["right"] if row.distance is not None]
    others = [row.distance for row in by_kind["wrong_identity"] if row.distance is not None]
    eer, _ = equal_error_rate(same, others)
    rows: list[Row] = []
    for kind, screenings in by_kind.items():
        removed = wilson(sum(row.outcome == "fail" for row in screenings), len(screenings))
        rows.append(
            {
                "case": f"{world}_{kind}",
                "pictures": len(screenings),
                "characters": subjects,
                "removed_share": removed.value,
                "removed_low": removed.low,
                "removed_high": removed.high,
                "unsure_share": sum(row.outcome == "unsure" for row in screenings) / len(screenings),
                "good_lost_share": lost.value,
                "good_lost_high": lost.high,
                "eer": eer,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--characters", type=int, default=20)
    parser.add_argument("--verifier", default="nano")
    parser.add_argument("--reader", default="nano")
    parser.add_argument("--only", choices=("nano", "faces"))
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    rows: list[Row] = []
    if given.only != "nano":
        found = [pair for subject in face_subjects() for pair in screened(subject, "person", "face", None)]
        rows += figures("faces", found, 2)
    if given.only != "faces":
        found = []
        for subject in nano_subjects(given.characters):
            found += screened(subject, "subject", given.verifier, given.reader or None)
        rows += figures("nano", found, given.characters)
    for row in rows:
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
    write_result("screening_truth", rows, **({"folder": given.out} if given.out else {}))


if __name__ == "__main__":
    main()
