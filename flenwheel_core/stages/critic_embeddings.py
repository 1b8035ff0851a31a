"""Embeddings of pictures for the critic, each worked out once and kept beside the thumbnails."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flenwheel_core.base.errors import CorruptBlobError, NotFoundError
from flenwheel_core.base.ids import Digest, digest_bytes, short
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture

if TYPE_CHECKING:
    from PIL.Image import Image

CHUNK = 32


def embeddings_of(
    images: Sequence[Digest], verifier: str, context: StageContext
) -> tuple[dict[Digest, tuple[float, ...]], tuple[str, str]]:
    """The embedding of every picture that has one, and the verifier's name and version.

    Raises MissingWeightsError if the verifier is not available. A picture that cannot be read has none.
    """
    from flenwheel_core.identity.verifiers import open_verifier

    context.progress.loading(f"verifier {verifier}")
    found: dict[Digest, tuple[float, ...]] = {}
    with open_verifier(verifier, context.settings) as opened:
        folder = context.settings.root / "cache" / "embeddings" / short(digest_bytes(opened.version.encode()))
        folder.mkdir(parents=True, exist_ok=True)
        left = []
        for image in dict.fromkeys(images):
            file = folder / f"{image}.float32"
            if file.exists():
                found[image] = tuple(np.frombuffer(file.read_bytes(), dtype="<f4").tolist())
            else:
                left.append(image)
        for start in range(0, len(left), CHUNK):
            context.check_stop()
            names, pictures = [], []
            for image in left[start : start + CHUNK]:
                picture = _picture(context.store, image)
                if picture is not None:
                    pictures.append(picture)
                    names.append(image)
            for image, embedded in zip(names, opened.embed(pictures), strict=True):
                vector = np.asarray(embedded.embedding or (), dtype="<f4")
                found[image] = tuple(vector.tolist())  # as it is read back, so that a second run gives the same
                temporary = folder / f".{image}-{os.getpid()}"
                temporary.write_bytes(vector.tobytes())
                temporary.replace(folder / f"{image}.float32")
            context.progress.step(min(start + CHUNK, len(left)), len(left), "pictures")
        return {image: vector for image, vector in found.items() if vector}, (opened.name, opened.version)


def _picture(store: Store, image: Digest) -> "Image | None":
    """The picture; None if it is gone or damaged. A store that does not answer raises: what is learned is kept for good."""
    try:
        return load_picture(store, image)
    except (NotFoundError, CorruptBlobError, OSError, SyntaxError, ValueError):  # the last three are Pillow's
        return None
