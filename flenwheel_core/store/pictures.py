"""Pictures in the store: PNG files that carry their own provenance in text chunks."""

import io
from typing import TYPE_CHECKING

from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.images import ImageRecord

if TYPE_CHECKING:
    from PIL.Image import Image

    from flenwheel_core.store.store import Store


def encode_png(image: "Image", facts: dict[str, str]) -> bytes:
    """The picture as PNG bytes; the same picture and facts always give the same bytes."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key in sorted(facts):
        info.add_itxt(key, facts[key])
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", pnginfo=info, compress_level=6)
    return buffer.getvalue()


def save_picture(store: "Store", image: "Image", record: ImageRecord) -> ImageRecord:
    """Keeps a picture with its facts and returns the record with digest and size filled in.

    The digest in the given record is ignored; give "0" * 64.
    """
    data = encode_png(image, picture_facts(record))
    digest = store.put_blob(data)
    return record.model_copy(update={"digest": digest, "width": image.width, "height": image.height})


def load_picture(store: "Store", digest: str) -> "Image":
    """The picture of a digest, RGB."""
    from PIL import Image

    with Image.open(io.BytesIO(store.get_blob(digest))) as image:
        return image.convert("RGB")


def picture_content(store: "Store", digest: str) -> str:
    """What a stored picture shows, as a digest: its size and pixels, whatever its text chunks say."""
    image = load_picture(store, digest)
    return digest_bytes(f"{image.width}x{image.height} ".encode() + image.tobytes())


def carries_facts(data: bytes) -> bool:
    """True for a picture that `save_picture` wrote."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return "flenwheel.request" in image.info
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def picture_facts(record: ImageRecord) -> dict[str, str]:
    """The facts that go into the PNG's text chunks."""
    facts = {"flenwheel.request": record.request, "flenwheel.item": record.item, "flenwheel.stage": record.stage}
    facts["flenwheel.kind"] = record.kind.value
    if record.prompt is not None:
        facts["parameters"] = _parameters(record)
        facts["flenwheel.prompt"] = record.prompt
    if record.model is not None:
        facts["flenwheel.model"] = record.model
    if record.seed is not None:
        facts["flenwheel.seed"] = str(record.seed)
    if record.parents:
        facts["flenwheel.parents"] = " ".join(record.parents)
    if record.loras:
        facts["flenwheel.loras"] = " ".join(f"{use.digest}:{use.weight:g}" for use in record.loras)
    return facts


def _parameters(record: ImageRecord) -> str:
    """The `parameters` chunk that image UIs read."""
    parts = [f"Seed: {record.seed}"]
    if record.sampler is not None:
        sampler = record.sampler
        parts.append(
            f"Steps: {sampler.steps}, CFG scale: {sampler.true_cfg:g}, Distilled CFG Scale: {sampler.guidance:g}"
        )
        parts.append(f"Size: {sampler.width}x{sampler.height}")
    if record.model is not None:
        parts.append(f"Model: {record.model}")
    return f"{record.prompt}\n{', '.join(parts)}"
