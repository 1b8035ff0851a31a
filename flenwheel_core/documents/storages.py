"""How the weights of a model are kept on the card."""

from typing import Literal

EditorStorage = Literal["bf16", "fp8", "int8", "nf4"]
"""How an editor's weights are kept on the card."""
