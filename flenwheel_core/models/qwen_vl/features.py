"""What Qwen-VL sees of pictures, as features for injection: the tower's merged tokens, or the language model's states at their places.

Both are kept by content: a picture is looked at once for each model, kind and size.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flenwheel_core.base.ids import Json, digest_json
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.placed_pictures import picture_digest
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.digests import folder_digest
from flenwheel_core.models.prompt_model import FeatureKind
from flenwheel_core.models.protocols import PLAIN_SETUP, ModelSetup
from flenwheel_core.models.qwen_vl.eyes import Eyes, open_processor
from flenwheel_core.models.qwen_vl.geometry import geometry_of
from flenwheel_core.models.qwen_vl.loading import open_model
from flenwheel_core.models.qwen_vl.trainer import VlModel
from flenwheel_core.models.references import digest_memory

if TYPE_CHECKING:
    from PIL.Image import Image

QUESTION = "Describe the person's face, hair and body."
"""Asked for the kind `hidden`: the states at the picture's places come before it in the text, so it is put in front of them."""


class QwenFeatures:
    """Features of one kind; what looks is loaded for the first picture that is not kept yet."""

    def __init__(self, model: VlModel, settings: Settings, setup: ModelSetup, kind: FeatureKind) -> None:
        self._model, self._settings, self._setup, self._kind = model, settings, setup, kind
        self._geometry = geometry_of(model.folder)
        self._cache = TensorCache(settings.scratch / "cache" / "qwen_vl", ahead=setup.make_room)
        self._processor = open_processor(model.folder, self._geometry)
        self._eyes = Eyes(model.folder, self._geometry, self._processor, model.device, model.dtype, self._cache)
        self._stack = ExitStack()
        self._asked: Any = None

    @property
    def model(self) -> str:
        return self._model.reference

    @property
    def version(self) -> str:
        return digest_json(self._facts())

    @property
    def width(self) -> int:
        return self._geometry.width

    def features(self, images: "Sequence[Image]") -> list[Tensor]:
        shown = [image.convert("RGB") for image in images]
        if self._kind == "eyes":
            return [seen.features[0].float() for seen in self._eyes.see(shown)]
        return [self._hidden(image) for image in shown]

    def close(self) -> None:
        self._asked = None
        self._stack.close()

    def opened(self) -> None:
        """The tower may stay until `close`."""
        self._stack.enter_context(self._eyes.opened())

    def _facts(self) -> dict[str, Json]:
        size: dict[str, Json] = {name: int(value) for name, value in dict(self._processor.image_processor.size).items()}
        weights = folder_digest(self._model.folder, digest_memory(self._settings))
        asked = QUESTION if self._kind == "hidden" else ""
        return {"weights": weights, "kind": self._kind, "size": size, "question": asked}

    def _hidden(self, image: "Image") -> Tensor:
        key: Json = {"kind": "qwen_vl hidden", "image": picture_digest(image), **self._facts()}
        kept = self._cache.get(key)
        if kept is None:
            if self._asked is None:
                opened = open_model(self._model.folder, self._model.reference, self._settings, self._setup)
                self._asked = self._stack.enter_context(opened)
            kept = self._cache.put(key, {"hidden": self._look(image)})
        return kept["hidden"]

    @torch.no_grad()
    def _look(self, image: "Image") -> Tensor:
        """(tokens, width) at the picture's places, the question before it."""
        content = [{"type": "text", "text": QUESTION}, {"type": "image"}]
        text = self._processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        inputs = self._processor(text=[text], images=[image], return_tensors="pt").to(self._asked.network.device)
        hidden = self._asked.network.model(**inputs).last_hidden_state[0]
        return hidden[inputs["input_ids"][0] == self._geometry.picture_token].float().cpu()


@contextmanager
def open_features(
    folder: Path,
    reference: str,
    settings: Settings,
    setup: ModelSetup = PLAIN_SETUP,
    *,
    kind: FeatureKind = "eyes",
) -> Iterator[QwenFeatures]:
    """The model in `folder`; its memory is free again afterwards."""
    made = QwenFeatures(VlModel.find(folder, reference, settings), settings, setup, kind)
    made.opened()
    try:
        yield made
    finally:
        made.close()
