"""A small world to review: a character drawn with simple shapes, sources, edits of them, screenings, and an open gate."""

from datetime import UTC, datetime
from pathlib import Path

from PIL import Image, ImageDraw

from flenwheel_core.base.ids import derive_seed, digest_bytes
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, ImageKind, ImageRecord, Labels
from flenwheel_core.documents.scores import Screening, ScreenReason
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Character, Library, PoolEntry
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture

CHARACTER = Character(name="mira", trigger="ohwx_mira", class_word="person", kind="person", recipe="nano")
REQUEST = digest_bytes(b"request")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHIFT = {"front": 0, "half-left": -3, "half-right": 3, "profile-left": -6, "profile-right": 6}
MOUTH = {"neutral": 0, "smiling": 5, "angry": -2, "sad": -5}


def settings_in(folder: Path, **more: object) -> Settings:
    """Settings of a workspace in `folder`, whatever the environment says."""
    return Settings.model_validate({"workspace": folder, "models": folder / "models", "author": "ana", **more})


def draw(labels: Labels, seed: int, side: int = 192) -> Image.Image:
    """A face on a background: the angle moves the features, the expression bends the mouth."""
    shade = derive_seed(seed, "shade") % 90
    image = Image.new("RGB", (side, side), (40 + shade, 60 + shade // 2, 120 - shade // 3))
    pen = ImageDraw.Draw(image)
    unit = side / 96
    for stripe in range(4):
        x = derive_seed(seed, "stripe", stripe) % side
        pen.line([(x, 0), (x, side)], fill=(60 + shade, 70 + shade // 2, 130 - shade // 3), width=2)
    left, top = 30 * unit, 18 * unit
    pen.ellipse([left, top, left + 36 * unit, top + 46 * unit], fill=(214, 170, 138))
    pen.rectangle([left + 8 * unit, top + 44 * unit, left + 28 * unit, side], fill=(70, 110, 90))
    pen.pieslice([left - 2 * unit, top - 6 * unit, left + 38 * unit, top + 36 * unit], 180, 360, fill=(70, 40, 30))
    dx = SHIFT[labels.angle or "front"] * unit
    for eye in (10, 24):
        pen.ellipse(
            [left + eye * unit + dx, top + 18 * unit, left + (eye + 4) * unit + dx, top + 23 * unit], fill="black"
        )
    bend = MOUTH[labels.expression or "neutral"] * unit
    mouth = [
        (left + 10 * unit + dx, top + 34 * unit),
        (left + 18 * unit + dx, top + 34 * unit + bend),
        (left + 27 * unit + dx, top + 34 * unit),
    ]
    pen.line(mouth, fill=(120, 40, 40), width=max(1, round(2 * unit)))
    return image


def fill_library(store: Store, sources: int = 4, side: int = 192) -> list[ImageRecord]:
    """The character with its sources in the pool."""
    library = Library(store)
    library.create_character(CHARACTER)
    records = []
    for number in range(sources):
        labels = Labels(angle=ANGLES[number % 5], expression=EXPRESSIONS[number % 4], pose="portrait")
        record = ImageRecord(
            digest="0" * 64, width=1, height=1, kind=ImageKind.SOURCE, caption=f"photo of ohwx_mira person, source {number}",
            stage="ingest", request=REQUEST, item=f"photo-{number}.png", labels=labels,
        )  # fmt: skip
        records.append(save_picture(store, draw(labels, number, side), record))
    entries = [PoolEntry(image=r, caption=r.caption or "", real=True, turn=0, gate=None) for r in records]
    library.add_to_pool("mira", entries)
    return records


def make_edits(store: Store, sources: list[ImageRecord], count: int, side: int = 192) -> list[ImageRecord]:
    """Edits of the sources, one cell after the other."""
    edits = []
    for number in range(count):
        source = sources[number % len(sources)]
        labels = Labels(angle=ANGLES[number % 5], expression=EXPRESSIONS[(number // 5) % 4], pose="portrait")
        record = ImageRecord(
            digest="0" * 64, width=1, height=1, kind=ImageKind.ENRICHED, parents=(source.digest,),
            prompt=f"Turn the head to {labels.angle}, make the person look {labels.expression}",
            caption=f"photo of ohwx_mira person, {labels.angle}, {labels.expression}", seed=1000 + number, model="nano",
            stage="enrich", request=REQUEST, item=f"edit-{number:04d}", turn=1, template=f"angle-{number % 3}",
            cell=f"{labels.angle}-{labels.expression}", labels=labels,
        )  # fmt: skip
        edits.append(save_picture(store, draw(labels, 100 + number, side), record))
    return edits


def screen(edits: list[ImageRecord], references: list[ImageRecord]) -> list[Screening]:
    """A screening of each: similarity falls from 0.95 to 0.35 over the set."""
    rows = []
    for number, edit in enumerate(edits):
        similarity = 0.95 - 0.6 * number / max(1, len(edits) - 1)
        outcome = "pass" if similarity > 0.75 else "unsure" if similarity > 0.5 else "fail"
        code = {"pass": "identity_ok", "unsure": "borderline_identity", "fail": "wrong_identity"}[outcome]
        rows.append(
            Screening.model_validate({
                "image": edit.digest, "outcome": outcome, "verifier": "subject", "verifier_version": "test",
                "reasons": (ScreenReason.model_validate({"code": code, "value": 1 - similarity, "limit": 0.25}),),
                "distance": 1 - similarity, "similarity": similarity, "nearest_reference": references[0].digest,
                "nearest_distance": 1 - similarity, "sharpness": 100 - number / 10, "brightness": 120.0,
            })
        )  # fmt: skip
    return rows


def open_gate(store: Store, pictures: int = 12, *, gate: str = "mira-t1-gate-a-r1", minimum: int = 5, side: int = 192,
              flow_run: str | None = None) -> ReviewSession:  # fmt: skip
    """A gate with edits to review, in a store that holds nothing else."""
    sources = fill_library(store, side=side)
    edits = make_edits(store, sources, pictures, side)
    session = ReviewSession(
        gate=gate, kind="enriched", character="mira", turn=1, round=1, images=store.put_images(edits),
        screenings=store.put_screenings(screen(edits, sources)), references=store.put_images(sources),
        minimum=minimum, flow_run=flow_run,
    )  # fmt: skip
    return Reviews(store).open(session)
