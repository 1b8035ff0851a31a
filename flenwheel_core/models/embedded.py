"""The folders of the small models that are shipped with the program."""

from pathlib import Path
from typing import Literal

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.unpacking import is_packed, unpacked

NanoPart = Literal["flux", "editor", "vlm", "embedder", "reader", "klein", "zimage"]

SHIPPED = Path(__file__).parents[1] / "nano" / "weights"


_FOLDERS: dict[NanoPart, str] = {
    "flux": "flux",
    "editor": "editor",
    # One copy serves both: the editor reads the hidden states of the same model that captions and judges.
    "vlm": "editor/text_encoder",
    "embedder": "embedder",
    "reader": "reader",
    "klein": "klein",
    "zimage": "zimage",
}


def is_shipped_here(part: NanoPart) -> bool:
    """True if the weights of a nano model came with this copy of the program."""
    return (SHIPPED / _FOLDERS[part]).is_dir()


def weights_folder(part: NanoPart, models: Path | None = None) -> Path:
    """The folder of a shipped nano model, in diffusers or transformers format.

    Packed ones are unpacked once, into `models`: the folder of weights of the settings at hand, or of this machine's.
    Raises MissingWeightsError for a model that this copy of the program came without, ResourceError if the folder cannot be written.
    """
    if not is_shipped_here(part):
        raise MissingWeightsError(
            f"This copy of FLENwheel holds no weights of the nano model {part}.",
            why=f"there is no folder {SHIPPED / _FOLDERS[part]}.",
            remedy="Use the recipe nano; in a checkout: train them (docs/nano.md, Training the siblings).",
        )
    pipeline, _, inside = _FOLDERS[part].partition("/")
    if not is_packed(SHIPPED / pipeline):
        return SHIPPED / _FOLDERS[part]
    return unpacked(SHIPPED, pipeline, models or Settings().models) / inside
