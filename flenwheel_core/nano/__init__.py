"""The embedded default: a world of drawn characters with known truth, and small models of the real classes that live in it.

Everything here works on a CPU with the network off. The weights are ordinary model folders, loaded with `from_pretrained`.
"""

from pathlib import Path
from typing import Literal

NanoPart = Literal["flux", "editor", "vlm", "embedder", "reader"]

SAME_CHARACTER = 0.75
"""Cosine to the mean embedding of true renders from which on a picture shows the character."""

_WEIGHTS = Path(__file__).parent / "weights"
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
