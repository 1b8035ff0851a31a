"""The folders of the small models that are shipped with the program."""

from pathlib import Path
from typing import Literal

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.unpacking import unpacked

NanoPart = Literal["flux", "editor", "vlm", "embedder", "reader", "klein", "zimage"]


_WEIGHTS = Path(__file__).parents[1] / "nano" / "weights"


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
_PACKED: frozenset[NanoPart] = frozenset({"klein", "zimage"})


def weights_folder(part: NanoPart, models: Path | None = None) -> Path:
    """The folder of a shipped nano model, in diffusers or transformers format.

    Some are packed, and unpacked once into `models`, the settings' folder of weights if it is not given. Raises ResourceError if that
    cannot be written.
    """
    if part in _PACKED:
        return unpacked(_WEIGHTS, _FOLDERS[part], models or Settings().models)
    return _WEIGHTS / _FOLDERS[part]
