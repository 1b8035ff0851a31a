"""The subject verifier: image embeddings for every character that is no human face.

Any transformers vision folder works: DINOv2, CLIP, ViT, or a model trained for identity. The whole picture is embedded, so a
general model also rewards a copied background: keep the backgrounds of the references varied. Runs on the CPU.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.ids import digest_json
from flenwheel_core.identity.face_weights import file_sha256
from flenwheel_core.identity.fingerprint import ThresholdRule
from flenwheel_core.identity.protocols import Embedded

BATCH = 16
GENERAL_RULE = ThresholdRule(distance="cosine", margin=0.12, floor=0.25, cap=0.55, unsure_margin=0.10)
"""For models that were not trained for identity: DreamBooth's tables put made pictures about 0.1 below real ones in DINO."""
IDENTITY_RULE = ThresholdRule(distance="cosine", margin=0.12, floor=0.25, cap=0.55, unsure_margin=0.10)
"""For models with a head trained to tell characters apart, such as the nano embedder."""


class SubjectVerifier:
    """Embeds whole pictures with a transformers vision model."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self._torch, self._processor, self._model = _load(folder, threads)
        self._folder = folder
        self._tokenizer: Any = None
        self._trained_for_identity = _is_classifier(folder)
        files = sorted((*folder.glob("*.safetensors"), folder / "config.json", folder / "preprocessor_config.json"))
        facts = {path.name: file_sha256(path) for path in files}
        self._version = digest_json({"files": facts, "framing": "square, padded"})
        self._name = f"subject-{type(self._model).__name__.lower()}"

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return self._version

    @property
    def threshold_rule(self) -> ThresholdRule:
        return IDENTITY_RULE if self._trained_for_identity else GENERAL_RULE

    @property
    def sees_whole_picture(self) -> bool:
        return not self._trained_for_identity

    def embed(self, images: Sequence[Image.Image]) -> list[Embedded]:
        """One unit vector a picture, in order."""
        found: list[Embedded] = []
        for start in range(0, len(images), BATCH):
            batch = [_square(image) for image in images[start : start + BATCH]]
            inputs = self._processor(images=batch, return_tensors="pt")
            with self._torch.inference_mode():
                vectors = _vectors(self._model, inputs["pixel_values"])
            vectors = vectors.float().numpy().astype(np.float64)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            found += [Embedded(tuple(row)) for row in vectors.tolist()]
        return found

    def prompt_fidelity(self, embedded: Sequence[Embedded], prompts: Sequence[str]) -> list[float | None]:
        """CLIP-T: the cosine of each picture's and its prompt's embedding; None for models without a text side."""
        if type(self._model).__name__ != "CLIPModel":
            return [None] * len(prompts)
        if self._tokenizer is None:
            import transformers

            self._tokenizer = transformers.AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
        most = self._model.config.text_config.max_position_embeddings  # which not every tokenizer knows of its model
        inputs = self._tokenizer(list(prompts), padding=True, truncation=True, max_length=most, return_tensors="pt")
        with self._torch.inference_mode():
            output = self._model.text_model(**inputs)
            texts = self._model.text_projection(output.pooler_output).float().numpy().astype(np.float64)
        texts /= np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-12)
        return [
            round(float(np.dot(text, one.embedding)), 5) if one.embedding is not None else None
            for text, one in zip(texts, embedded, strict=True)
        ]


def _load(folder: Path, threads: int | None) -> tuple[Any, Any, Any]:
    """torch, the image processor and the model in evaluation mode."""
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise MissingWeightsError(
                f"{folder} cannot be used as subject verifier.",
                why=f"it has no {name}.",
                remedy="Give a folder of a transformers vision model, such as DINOv2 or CLIP, or `nano`.",
            )
    import torch
    import transformers

    # Bars of a second on stderr only disturb the worker's own progress.
    transformers.utils.logging.disable_progress_bar()
    if threads is not None:
        torch.set_num_threads(threads)
    architecture = (json.loads((folder / "config.json").read_text()).get("architectures") or ["AutoModel"])[0]
    kind = getattr(transformers, architecture, transformers.AutoModel)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True).float().eval()
    return torch, processor, model


def _vectors(model: Any, pixel_values: Any) -> Any:
    """The pictures' vectors (batch, dimensions): projected, classified or pooled, whichever is most specific."""
    if type(model).__name__ == "CLIPModel":
        return model.visual_projection(model.vision_model(pixel_values=pixel_values).pooler_output)
    output = model(pixel_values=pixel_values)
    for name in ("image_embeds", "logits", "pooler_output"):
        value = getattr(output, name, None)
        if value is not None:
            return value
    return output.last_hidden_state[:, 0]


def _is_classifier(folder: Path) -> bool:
    """True for models with a trained head: their outputs know who, not what else the picture shows."""
    architectures = json.loads((folder / "config.json").read_text()).get("architectures") or [""]
    return str(architectures[0]).endswith("ForImageClassification")


def _square(image: Image.Image) -> Image.Image:
    """The picture padded to a square with its mean colour: processors crop to the middle and would cut off heads."""
    if image.width == image.height:
        return image
    side = max(image.size)
    colour = tuple(int(value) for value in np.asarray(image.resize((1, 1), Image.Resampling.BOX)).reshape(-1)[:3])
    return ImageOps.pad(image, (side, side), color=colour)


@contextmanager
def open_subject_verifier(folder: Path, threads: int | None) -> Iterator[SubjectVerifier]:
    """A context that holds the subject verifier of a model folder."""
    yield SubjectVerifier(folder, threads)
