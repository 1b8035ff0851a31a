"""Pictures of several people: is the character found, and is everybody else left out of what is trained?

composed: a photograph of a known person beside one of somebody else, who is up to twice as large, in every order; the person is known
from other photographs only. together: real photographs of two people, each of them the character in turn, read by the stage `ingest`.
largest: what taking the largest face would choose. The photographs stay outside the repository (benchmarks/kit/photographs.py).

    python -m benchmarks.quality.people_several --photographs FOLDER         # about five minutes on two cores
"""

import argparse
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.kit.photographs import TOGETHER, Photographs
from benchmarks.result_file import Row, write_result
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.framings import Framing, SourceFraming
from flenwheel_core.identity.beside import framing_for
from flenwheel_core.identity.people import as_character, common_person, people_in
from flenwheel_core.identity.protocols import Embedded, Verifier
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.ingest import ingest
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

HEIGHT_PX = 640
LEAST_SIDE_PX = 256
TIMES = (0.7, 1.0, 1.4, 2.0)
"""How large the other face is, in sizes of the character's."""


@dataclass(frozen=True)
class Composed:
    """A picture of two people whose truth is known."""

    image: Image.Image
    character_left: bool
    line: int
    """Where one photograph ends and the other begins, in pixels from the left."""


def composed(
    own: Image.Image, other: Image.Image, faces: tuple[Embedded, Embedded], times: float, *, left: bool
) -> Composed:
    """Two photographs side by side, scaled so that the other face is `times` as high as the character's."""
    size = 130 / times**0.5
    first, second = _scaled(own, faces[0], size), _scaled(other, faces[1], size * times)
    pair = (first, second) if left else (second, first)
    canvas = Image.new("RGB", (sum(image.width for image in pair), HEIGHT_PX), (90, 94, 100))
    canvas.paste(pair[0], (0, 0))
    canvas.paste(pair[1], (pair[0].width, 0))
    return Composed(canvas, left, pair[0].width)


def _scaled(image: Image.Image, face: Embedded, height: float) -> Image.Image:
    """The photograph around its face, the face `height` px high and at a fixed height of the picture."""
    assert face.box is not None
    scale = height / (face.box[3] - face.box[1])
    x, y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
    wide, high = 2.1 * height / scale, HEIGHT_PX / scale
    top = y - high * 0.36
    part = image.crop((round(x - wide / 2), round(top), round(x + wide / 2), round(top + high)))
    return part.resize((round(wide * scale), HEIGHT_PX), Image.Resampling.BICUBIC)


@dataclass
class Tally:
    """What was found in pictures of known truth."""

    pictures: int = 0
    right: int = 0
    unknown: int = 0
    largest_right: int = 0
    left_out: int = 0
    kept_face: int = 0
    others_seen: list[float] = field(default_factory=list)
    """Of each right picture, the share of the other's half that training still sees; where the halves meet is known of composed ones."""
    own_lost: list[float] = field(default_factory=list)
    """Likewise the share of the own half that it does not see."""

    def row(self, case: str) -> Row:
        rate = wilson(self.right, self.pictures)
        return {
            "case": case,
            "pictures": self.pictures,
            "right_share": rate.value,
            "right_low": rate.low,
            "right_high": rate.high,
            "unknown_share": self.unknown / self.pictures,
            "largest_right_share": self.largest_right / self.pictures,
            "others_left_out_share": self.left_out / self.pictures,
            "own_face_kept_share": self.kept_face / self.pictures,
            "others_half_seen_share": float(np.mean(self.others_seen)) if self.others_seen else None,
            "others_half_seen_most": max(self.others_seen, default=None),
            "own_half_lost_share": float(np.mean(self.own_lost)) if self.own_lost else None,
        }


def covered(framing: Framing, box: tuple[float, float, float, float], size: tuple[int, int]) -> float:
    """The share of a rectangle that training does not see, because it is cut away or hidden."""
    grid = np.linspace(0.02, 0.98, 25)
    xs = (box[0] + grid * (box[2] - box[0])) / size[0]
    ys = (box[1] + grid * (box[3] - box[1])) / size[1]
    gone = [
        (framing.crop is not None and not framing.crop.holds(x, y)) or any(one.holds(x, y) for one in framing.hidden)
        for x in xs
        for y in ys
    ]
    return float(np.mean(gone))


def compose_all(photographs: Photographs, verifier: Verifier, number: int) -> Tally:
    """Every person's every photograph beside somebody else's; the person is known from one to three other photographs."""
    people = {name: files for name, files in photographs.people.items() if len(files) > 1}
    alone: dict[str, Embedded] = {}
    for files in people.values():
        for file in files:
            one = verifier.embed([photographs.open(file)])[0]
            if one.embedding is not None and not one.others:
                alone[file] = one
    random, tally = np.random.default_rng(11), Tally()
    usable = {name: [file for file in files if file in alone] for name, files in people.items()}
    usable = {name: files for name, files in usable.items() if len(files) > 1}
    places = [(name, file) for name, files in usable.items() for file in files]
    for index in range(number):
        name, file = places[index % len(places)]
        others = [one for one in places if one[0] != name]
        known = [one for one in usable[name] if one != file][:3]
        # Two such pictures beside the known ones, each with somebody else, as a user would give them.
        pairs = [others[int(at)] for at in random.choice(len(others), 2, replace=False)]
        made = [
            composed(
                photographs.open(file),
                photographs.open(other),
                (alone[file], alone[other]),
                TIMES[(index + at) % len(TIMES)],
                left=bool(random.integers(2)),
            )
            for at, (_, other) in enumerate(pairs)
        ]
        seen = verifier.embed([one.image for one in made])
        sources = [*(alone[one] for one in known), *seen]
        faces = [[one.embedding or () for one in people_in(source)] for source in sources]
        rule = verifier.threshold_rule
        common = common_person(faces, rule.distance, rule.cap)
        for at, (picture, found) in enumerate(zip(made, seen, strict=True)):
            if len(people_in(found)) < 2:
                continue  # the detector saw one face only: nothing to choose
            chosen = common.chosen[len(known) + at] if common is not None else None
            _count(tally, picture, found, chosen)
    return tally


def _count(tally: Tally, picture: Composed, found: Embedded, chosen: int | None) -> None:
    def is_own(one: Embedded) -> bool:
        assert one.box is not None
        return ((one.box[0] + one.box[2]) / 2 < picture.line) == picture.character_left

    tally.pictures += 1
    tally.largest_right += is_own(found)
    if chosen is None:
        tally.unknown += 1
        return
    one = as_character(found, chosen)
    if not is_own(one) or one.box is None:
        return
    tally.right += 1
    rest = [other.box for other in one.others if other.box is not None]
    framing = framing_for(picture.image.size, one.box, rest, LEAST_SIDE_PX)
    tally.left_out += all(covered(framing, box, picture.image.size) >= 0.98 for box in rest)
    tally.kept_face += covered(framing, one.box, picture.image.size) == 0
    halves = (0.0, picture.line), (picture.line, picture.image.width)
    own, other = halves if picture.character_left else halves[::-1]
    tally.others_seen.append(1 - covered(framing, (other[0], 0, other[1], HEIGHT_PX), picture.image.size))
    tally.own_lost.append(covered(framing, (own[0], 0, own[1], HEIGHT_PX), picture.image.size))


def together(photographs: Photographs) -> Tally:
    """Real photographs of two people through the stage `ingest`, once for each of the two."""
    tally = Tally()
    for picture, pair in TOGETHER.items():
        for at, name in enumerate(pair):
            framing = ingested(photographs, name, picture)
            image = photographs.open(picture)
            tally.pictures += 1
            centres = [(face, (face.box.left + face.box.right) / 2) for face in framing.faces]
            by_size = sorted(centres, key=lambda one: one[0].box.top - one[0].box.bottom)
            largest, second = by_size[0], by_size[1]
            middle = (largest[1] + second[1]) / 2  # smaller faces are bystanders
            tally.largest_right += (largest[1] < middle) == (at == 0)
            chosen = next((one for one in centres if one[0].chosen), None)
            tally.unknown += chosen is None
            if chosen is None or (chosen[1] < middle) != (at == 0):
                continue
            tally.right += 1
            boxes = [(face, tuple(float(value) for value in face.box.pixels(image.size))) for face in framing.faces]
            tally.left_out += all(
                covered(framing.framing, (b[0], b[1], b[2], b[3]), image.size) >= 0.98
                for face, b in boxes
                if not face.chosen
            )
            tally.kept_face += all(
                covered(framing.framing, (b[0], b[1], b[2], b[3]), image.size) == 0 for face, b in boxes if face.chosen
            )
    return tally


def ingested(photographs: Photographs, name: str, picture: str) -> SourceFraming:
    """How the stage frames a picture beside the person's own photographs."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(workspace=Path(folder), gpu="cpu")
        store = Store(settings.store_url)
        context = StageContext(store, settings, Path(folder), Progress("ingest", lambda _: None), 0, threading.Event())
        files = tuple(
            SourceFile(name=file, digest=store.put_blob(encode_png(photographs.open(file), {})))
            for file in (*photographs.people[name], picture)
        )
        character = CharacterRef(name="hero", trigger="ohwx_char", class_word="person", kind="person")
        recipe = IngestRecipe(minimum_side_px=96)
        found = ingest(IngestRequest(character=character, files=files, recipe=recipe, verifier="face"), context)
        return next(framing for framing in found.framings if framing.file == picture)


def rows(photographs: Photographs, number: int) -> Iterator[Row]:
    """One row a case."""
    with tempfile.TemporaryDirectory() as folder, open_verifier("face", Settings(workspace=Path(folder))) as verifier:
        yield compose_all(photographs, verifier, number).row("composed")
    yield together(photographs).row("together")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photographs", type=Path, required=True, help="folder of the public photographs")
    parser.add_argument("--number", type=int, default=150, help="rounds, of two composed pictures each")
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    found = []
    for row in rows(Photographs(given.photographs), given.number):
        print(row, flush=True)
        found.append(row)
    write_result("people_several", found, **({"folder": given.out} if given.out else {}))


if __name__ == "__main__":
    main()
