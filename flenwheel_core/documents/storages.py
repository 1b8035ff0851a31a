"""How the weights of a model are kept on the card: the words that recipes, requests and families share."""

from typing import Literal

EditorStorage = Literal["bf16", "fp8", "int8", "nf4"]
"""An editor's weights."""
WeightFormat = Literal["auto", "float32", "bf16", "fp8", "nf4"]
"""The weights that a character LoRA is trained on; auto: what fits the card."""
TextFormat = Literal["bf16", "int8", "nf4"]
"""A text encoder's weights, as a recipe may ask for them."""
