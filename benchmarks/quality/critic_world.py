"""Pictures of the nano world whose faults are known, as screening and the embedder see them: what the critic's benchmark reviews.

    python -m benchmarks.quality.critic_world FILE [--pictures 400]     # about a second a picture on a busy core; goes on where it stopped

Each line of FILE is a picture: what the critic may know of it (a screening row, an embedding), and the truth, which only the simulated
reviewers see.
"""

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter

from flenwheel_core.base.ids import Digest, derive_seed, digest_bytes
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.critics import Judgeable
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, Labels
from flenwheel_core.documents.scores import Fingerprint, Screening
from flenwheel_core.identity.fingerprint import make_fingerprint
from flenwheel_core.identity.protocols import Reader, Verifier
from flenwheel_core.identity.readers import open_reader
from flenwheel_core.identity.screening import (
    FingerprintSpace,
    LabelLimits,
    judge_identity,
    judge_labels,
    judge_quality,
    judge_spoiled,
    limits_of,
    outcome_of,
    sorted_reasons,
    subject_sharpness,
)
from flenwheel_core.identity.spoiled import SpoilDetector, open_spoil_detector
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.images.quality import measure
from flenwheel_core.nano.world import HELD_OUT_FROM, Character, make_character, make_view, render, spoil
from flenwheel_core.nano.world.views import BACKGROUNDS
from flenwheel_core.recipes.screening import ScreeningRecipe

FIRST_CHARACTER = HELD_OUT_FROM + 41_100
"""What the critic reads was chosen on four other characters, from 41 000."""
KNOWN_CHARACTERS, CHARACTERS = 4, 8
"""The first ones are reviewed turn after turn; the others the critic meets for the first time."""
REFERENCES = 12
CHUNK = 16
NAMED = ("hair_colour", "eyes", "brows", "glasses", "beard", "face")


@dataclass(frozen=True)
class Known:
    """A picture of the bank."""

    picture: Judgeable
    embedding: tuple[float, ...]
    truth: dict[str, float]
    """Faults by name, 0 where there is none."""


@dataclass(frozen=True)
class Made:
    """A picture that was drawn, before anybody looked at it."""

    image: Image.Image
    asked: Labels
    source: int
    truth: dict[str, float]


def draw(character: Character, seed: int) -> Made:
    """A candidate as editors make them: mostly the character, often not quite, now and then a failure."""
    chance = random.Random(derive_seed(seed, "candidate", character.seed))
    wanted = make_view(derive_seed(seed, "view", character.seed) % 2**31, portrait_share=0.9)
    truth = dict.fromkeys(("angle", "expression", "background", "blur", "exposure", "smeared", "drift"), 0.0)
    shown, who = wanted, character
    if chance.random() < 0.65:
        truth["drift"] = chance.betavariate(1.2, 1.8)
        who = drifted(character, truth["drift"], chance)
    for fault, share, choices in (
        ("expression", 0.25, EXPRESSIONS),
        ("angle", 0.15, ANGLES),
        ("background", 0.1, BACKGROUNDS),
    ):
        if chance.random() < share:
            value = chance.choice([one for one in choices if one != getattr(wanted, fault)])
            shown = replace(shown, **{fault: value})  # type: ignore[arg-type]
            truth[fault] = 1.0
    if chance.random() < 0.12:
        truth["smeared"] = 1.0
        image = spoil("smeared_face", who, shown, seed).image
    else:
        image = render(who, shown)
    if chance.random() < 0.2:
        truth["blur"] = chance.uniform(0.3, 3.0)
        image = image.filter(ImageFilter.GaussianBlur(truth["blur"]))
    if chance.random() < 0.15:
        truth["exposure"] = chance.uniform(0.2, 1.2) * chance.choice((-1, 1))
        image = ImageEnhance.Brightness(image).enhance(2 ** truth["exposure"])
    truth |= {
        "night": float(shown.lighting == "night"),
        "drawn": float(shown.style != "photo"),
        "other_clothes": float(shown.clothing is not None),
        "city": float(shown.background in ("urban", "night city")),
    }
    asked = Labels.model_validate(
        {name: getattr(wanted, name) for name in ("angle", "expression", "pose", "background")}
    )
    return Made(image, asked, chance.randrange(REFERENCES), truth)


def drifted(character: Character, amount: float, chance: random.Random) -> Character:
    """The character on its way to somebody else: proportions and colours by `amount`, named traits now and then."""
    other = make_character(HELD_OUT_FROM + chance.randrange(HELD_OUT_FROM))
    mine, theirs = asdict(character.proportions), asdict(other.proportions)
    moved = {name: mine[name] + amount * (theirs[name] - mine[name]) for name in mine}
    changed: dict[str, object] = {
        "proportions": type(character.proportions)(**moved),
        "skin_rgb": _between(character.skin_rgb, other.skin_rgb, amount),
        "hair_rgb": _between(character.hair_rgb, other.hair_rgb, amount),
    }
    changed |= {name: getattr(other, name) for name in NAMED if chance.random() < amount * 0.5}
    return replace(character, **changed)  # type: ignore[arg-type]


def _between(first: tuple[int, int, int], second: tuple[int, int, int], amount: float) -> tuple[int, int, int]:
    red, green, blue = (round(a + amount * (b - a)) for a, b in zip(first, second, strict=True))
    return red, green, blue


def look(
    made: list[Made],
    name: str,
    start: int,
    fingerprint: Fingerprint,
    verifier: Verifier,
    reader: Reader,
    spoils: SpoilDetector,
) -> Iterator[Known]:
    """What screening says of candidates, by its own functions, and their embeddings."""
    recipe = ScreeningRecipe()
    space, limits = FingerprintSpace(fingerprint), limits_of(recipe, fingerprint, strict=False)
    images = [one.image for one in made]
    embedded = verifier.embed(images)
    looks = zip(made, embedded, reader.look(images), spoils.chances(images, embedded), strict=True)
    for index, (one, seen, (read, beliefs), spoiled) in enumerate(looks):
        measures = measure(one.image)
        identity = space.locate(seen.embedding) if seen.embedding is not None else None
        findings = judge_identity(seen, identity, one.asked, limits) + judge_quality(measures, seen, limits)
        findings += judge_spoiled(spoiled, limits)
        findings += judge_labels(one.asked, read, beliefs, LabelLimits(recipe, person=False, strict=False))
        digest = digest_bytes(f"{name}/{start + index}".encode())
        row = Screening(
            image=digest,
            outcome=outcome_of(findings),
            reasons=sorted_reasons(findings),
            verifier=fingerprint.verifier,
            verifier_version=fingerprint.verifier_version,
            distance=identity.distance if identity else None,
            similarity=identity.similarity if identity else None,
            nearest_reference=identity.nearest if identity else None,
            nearest_distance=identity.nearest_distance if identity else None,
            sharpness=subject_sharpness(measures, seen),
            brightness=measures.brightness,
            read=read,
            spoiled=spoiled,
        )
        picture = Judgeable(
            image=digest,
            character=name,
            kind="enriched",
            editor="nano",
            source=fingerprint.images[one.source % len(fingerprint.images)],
            asked=one.asked,
            screening=row,
            threshold=fingerprint.threshold,
        )
        yield Known(picture, tuple(round(value, 5) for value in seen.embedding or ()), one.truth)


def read_bank(file: Path) -> list[Known]:
    """The pictures of a bank, as far as it was made."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else ():
        row = json.loads(line)
        found.append(Known(Judgeable.model_validate(row["picture"]), tuple(row["embedding"]), row["truth"]))
    return found


def make_bank(file: Path, pictures: int) -> None:
    """Draws and screens so many pictures of each character, the characters in turns; what the file holds already stays."""
    done = len(read_bank(file)) // CHUNK
    settings = Settings()
    with (
        open_verifier("nano", settings) as verifier,
        open_reader("nano", settings) as reader,
        open_spoil_detector("nano", "nano", settings) as spoils,
    ):
        assert spoils is not None
        fingerprints: dict[int, Fingerprint] = {}
        for chunk in range(done, CHARACTERS * pictures // CHUNK):
            number, start = chunk % CHARACTERS, chunk // CHARACTERS * CHUNK
            character = make_character(FIRST_CHARACTER + number)
            if number not in fingerprints:
                fingerprints[number] = _fingerprint(number, verifier)
            made = [draw(character, start + index) for index in range(CHUNK)]
            with file.open("a") as lines:
                for known in look(made, f"nano-{number}", start, fingerprints[number], verifier, reader, spoils):
                    row = {"picture": known.picture.model_dump(mode="json"), "embedding": known.embedding}
                    lines.write(json.dumps({**row, "truth": known.truth}) + "\n")


def candidate(place: int) -> tuple[int, Image.Image]:
    """The number of the character at a place of the bank, and the picture there, drawn anew."""
    chunk, index = divmod(place, CHUNK)
    number, start = chunk % CHARACTERS, chunk // CHARACTERS * CHUNK
    return number, draw(make_character(FIRST_CHARACTER + number), start + index).image


def references(number: int) -> list[Image.Image]:
    """The real sources of a character."""
    character = make_character(FIRST_CHARACTER + number)
    return [render(character, make_view(1000 + index, portrait_share=0.9)) for index in range(REFERENCES)]


def reference_names(number: int) -> list[Digest]:
    """What the bank calls them."""
    seed = make_character(FIRST_CHARACTER + number).seed
    return [digest_bytes(f"{seed}/{index}".encode()) for index in range(REFERENCES)]


def _fingerprint(number: int, verifier: Verifier) -> Fingerprint:
    images = references(number)
    embedded = verifier.embed(images)
    return make_fingerprint(
        reference_names(number),
        [one.embedding or () for one in embedded],
        verifier.threshold_rule,
        verifier=verifier.name,
        verifier_version=verifier.version,
        sharpness=[subject_sharpness(measure(image), one) for image, one in zip(images, embedded, strict=True)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--pictures", type=int, default=400, help="of each character")
    chosen = parser.parse_args()
    make_bank(chosen.file, chosen.pictures)


if __name__ == "__main__":
    main()
