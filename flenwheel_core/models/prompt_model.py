"""What injection asks of models: a base that draws from prompt embeddings, and a vision-language model that says what it sees.

A family implements what it has: entries `prompts` and `features` of `Family`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from flenwheel_core.documents.wording import require_mention

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from flenwheel_core.documents.images import Sampler

Size = tuple[int, int]
"""Width and height in pixels."""
FeatureKind = Literal["eyes", "hidden"]
"""What the vision tower hands to the language model, or that model's own last states at the picture's places, under a question."""


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as a transformer reads it."""

    tokens: "torch.Tensor"
    """(tokens, channels): what a residual is added to."""
    others: "Mapping[str, torch.Tensor]" = field(default_factory=dict)
    """What else the transformer is told of the text, such as CLIP's pooled vector. Injection leaves it alone, but for a phrase, which says
    that somebody is described."""

    def with_tokens(self, tokens: "torch.Tensor") -> "EncodedPrompt":
        return replace(self, tokens=tokens)


class PromptModel(Protocol):
    """Prompt embeddings in, picture out. Frozen: gradients reach the embeddings and nothing else."""

    @property
    def model(self) -> str:
        """The resolved reference."""
        ...

    @property
    def space(self) -> str:
        """Digest of the text encoders: whose embeddings a head's residuals are added to."""
        ...

    @property
    def width(self) -> int:
        """Channels of an embedding."""
        ...

    @property
    def device(self) -> "torch.device": ...

    @property
    def no_prompt(self) -> str:
        """The negative prompt where nobody gave one."""
        ...

    def encode(self, texts: Iterable[str]) -> dict[str, EncodedPrompt]:
        """The embeddings of every distinct text, float32, on the CPU. On a card the transformer leaves it for that."""
        ...

    def places(self, text: str, words: str) -> tuple[int, ...]:
        """Which of a text's tokens stand for these words of it. Raises InputError if they are not in it."""
        ...

    def latents(self, pictures: "Sequence[Image]", size: Size) -> "list[torch.Tensor]":
        """Clean packed latents (tokens, channels) of pictures at a size, float32, on the CPU."""
        ...

    def velocity(
        self, prompts: Sequence[EncodedPrompt], noisy: "torch.Tensor", sigma: "torch.Tensor", size: Size
    ) -> "torch.Tensor":
        """What the transformer predicts (batch, tokens, channels) for noisy latents at noise levels sigma (batch,)."""
        ...

    def shift(self, size: Size) -> float:
        """The factor by which noise levels are shifted for pictures of this size."""
        ...

    def draw(
        self, prompt: EncodedPrompt, sampler: "Sampler", seed: int, negative: EncodedPrompt | None = None
    ) -> "Image":
        """The picture of a prompt: without injection, the one that the family's generator draws."""
        ...


class PictureFeatures(Protocol):
    """What a vision-language model sees of pictures."""

    @property
    def model(self) -> str: ...

    @property
    def version(self) -> str:
        """Digest of weights, kind and size of pictures: heads are for features of one version only."""
        ...

    @property
    def width(self) -> int: ...

    def features(self, images: "Sequence[Image]") -> "list[torch.Tensor]":
        """(tokens, width) of each picture, float32, on the CPU; each is looked at alone."""
        ...


def words_in(text: str, words: str, offsets: Sequence[tuple[int, int]], *, begins: int = 0) -> tuple[int, ...]:
    """Tokens that cover the first mention of `words`, as whole words, in `text`, which begins at `begins`.

    `offsets` are each token's characters. Raises InputError if the words are not in it.
    """
    first_character, end_character = require_mention(text, words)
    start, end = begins + first_character, begins + end_character
    return tuple(index for index, (first, last) in enumerate(offsets) if first < end and last > start and last > first)
