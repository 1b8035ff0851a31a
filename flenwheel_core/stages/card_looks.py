"""Looks at drawn pictures with all that a card is filled from: verifier, reader, and for styles a CLIP where there is one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from flenwheel_core.documents.images import ImageRecord, Labels
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.evaluation.scorecard import Look
from flenwheel_core.identity.people import character_in
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.readers import open_reader
from flenwheel_core.identity.screening import FingerprintSpace
from flenwheel_core.identity.verifiers import open_verifier, separate_reader
from flenwheel_core.images.quality import Measures, measure
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.store.pictures import load_picture

CHUNK = 32
"""Pictures held in memory at once."""


@dataclass(frozen=True)
class Eyes:
    """Which models look."""

    verifier: str
    reader: str | None
    clip: str | None = None
    """Tells how well pictures fit their prompts, in place of the verifier."""
    learned_words: str = ""
    """Words of prompts that mean nothing to a CLIP: trigger and class word."""
    fingerprint: Fingerprint | None = None
    """Whose person is meant, where a picture shows several."""


def look_at(records: Sequence[ImageRecord], eyes: Eyes, context: StageContext) -> list[Look]:
    """Embeds, reads and measures pictures, a chunk at a time."""
    embedded: list[Embedded] = []
    measures: list[Measures] = []
    fidelity: list[float | None] = []
    space = FingerprintSpace(eyes.fingerprint) if eyes.fingerprint is not None else None
    context.progress.loading(f"verifier {eyes.verifier}")
    with open_verifier(eyes.verifier, context.settings) as verifier:
        for images in chunks(records, context):
            found = [one if space is None else character_in(one, space)[0] for one in verifier.embed(images)]
            embedded += found
            measures += [measure(image) for image in images]
            prompts = [record.prompt or "" for record in records[len(fidelity) : len(fidelity) + len(images)]]
            fidelity += verifier.prompt_fidelity(found, prompts)
    reads = [one.labels or Labels() for one in embedded]
    wanted = separate_reader(eyes.reader, eyes.verifier)
    if wanted is not None:
        context.progress.loading(f"reader {wanted}")
        with open_reader(wanted, context.settings) as reader:
            reads = [labels for images in chunks(records, context) for labels in reader.read(images)]
    if eyes.clip is not None:
        fidelity = _fits(records, eyes, eyes.clip, context)
    return [Look(*parts) for parts in zip(records, measures, embedded, reads, fidelity, strict=True)]


def _fits(records: Sequence[ImageRecord], eyes: Eyes, clip: str, context: StageContext) -> list[float | None]:
    """CLIP-T of each picture and its scene, without the words that the LoRA was trained with."""
    scenes = [(record.prompt or "").replace(eyes.learned_words, "").strip(" ,") for record in records]
    found: list[float | None] = []
    context.progress.loading(f"CLIP {clip}")
    with open_verifier(clip, context.settings) as model:
        for images in chunks(records, context):
            found += model.prompt_fidelity(model.embed(images), scenes[len(found) : len(found) + len(images)])
    return found


def chunks(records: Sequence[ImageRecord], context: StageContext) -> Iterator[list[Image.Image]]:
    """The pictures, a few at a time."""
    for start in range(0, len(records), CHUNK):
        context.check_stop()
        yield [load_picture(context.store, record.digest) for record in records[start : start + CHUNK]]
