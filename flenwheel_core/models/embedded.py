"""The folders of the small models that are shipped with the program."""

from pathlib import Path
from typing import Literal

NanoPart = Literal["flux", "editor", "vlm", "embedder", "reader"]


_WEIGHTS = Path(__file__).parents[1] / "nano" / "weights"


_FOLDERS: dict[NanoPart, str] = {
    "flux": "flux",
    "editor": "editor",
    # One copy serves both: the editor reads the hidden states of the same model that captions and judges.
    "vlm": "editor/text_encoder",
    "embedder": "embedder",
    "reader": "reader",
}


def weights_folder(part: NanoPart) -> Path:
    """The folder of a shipped nano model, in diffusers or transformers format."""
    return _WEIGHTS / _FOLDERS[part]
