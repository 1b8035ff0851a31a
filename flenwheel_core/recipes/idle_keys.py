"""Keys that a recipe may not name because nothing reads them there: a choice that changes nothing is refused, with what to do instead.

Recipes of finished turns still hold them, so the documents keep the fields; only recipe files are refused.
"""

from collections.abc import Mapping

from flenwheel_core.base.ids import Json
from flenwheel_core.recipes.model import EARLIER_FAMILY

_FACES = "the face finder's limits are fixed, as a character's fingerprint rests on them; leave it out"
_ONE_SHAPE = "lessons keep their target's shape; leave it out"
IDLE_KEYS: dict[str, str] = {
    "screening.minimum_face_score": _FACES,
    "screening.extra_face_share": _FACES,
    "editor.train.weight_format": "editor.storage says how the editor's weights are stored",
    "editor.train.text_encoder_format": "it follows editor.storage; leave it out",
    "editor.train.deterministic": "the editor's training has no such mode; leave it out",
    "editor.train.mask_floor": "editor.kept_weight weighs what an edit must leave as it is",
    "editor.train.text_tokens": "prompts are read whole; leave it out",
    "editor.train.guidance": "editor.distilled_guidance is the editor's own",
    "editor.train.prior": "editor.anchor keeps what the bare editor did right",
    "editor.train.aspect_buckets": _ONE_SHAPE,
    "editor.train.bucket_step": _ONE_SHAPE,
    "editor.train.bodies_from": "lessons are learned in any order; leave it out",
    "editor.train.min_images": "editor.minimum_triplets is the limit",
    "editor.train.options": "only [train] has options of a family; leave it out",
    "editor.train.sampling": "the editor is compared on held-out edits and draws no samples while it trains; leave it out",
}
_SAYS_NOTHING: dict[str, Json] = {"editor.train.sampling": {"every_steps": 0}}
"""Values that ask for nothing, as the shipped recipes write them."""


def idle_keys(content: Mapping[str, Json]) -> list[str]:
    """A sentence for each key of a recipe file that nothing reads."""
    found = []
    if content.get("family") == EARLIER_FAMILY:
        found.append(f"family: {EARLIER_FAMILY} is the name of no family; write FLUX.1, or leave it out")
    for key, instead in IDLE_KEYS.items():
        value: Json = content
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None and value != _SAYS_NOTHING.get(key):
            found.append(f"{key}: nothing reads this key here; {instead}")
    return found


def is_idle(key: str) -> bool:
    """True for a key that a recipe file may not name, or one below it."""
    return any(key == idle or key.startswith(f"{idle}.") for idle in IDLE_KEYS)
