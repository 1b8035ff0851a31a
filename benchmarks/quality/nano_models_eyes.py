"""The nano models that look at pictures: the embedder, the reader and the vision-language model."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from diffusers import FluxImg2ImgPipeline
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from benchmarks.result_file import Row
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.measure import (
    NanoEmbedder,
    NanoReader,
    Reading,
    facts_of,
    shares_right,
    verification,
    verify_pairs,
)
from flenwheel_core.nano.models.flux import TEXT_TOKENS
from flenwheel_core.nano.models.vlm import CAPTION_QUESTIONS, PICTURE_PX, SAME_QUESTIONS, chat
from flenwheel_core.nano.threshold import SAME_CHARACTER
from flenwheel_core.nano.world import HELD_OUT_FROM, Character, View, make_character, make_view, parse_caption, render
from flenwheel_core.nano.world.characters import SIBLING_EVERY
from tools.nano_training.data import label_values
from tools.nano_training.vlm_data import plain_caption

FIRST_CHARACTER = HELD_OUT_FROM + 200_000
FIRST_VIEW = 10**9
CHARACTERS, VIEWS = 60, 8
SIBLINGS = 30
"""Characters who have one."""
CAPTIONED = 200
JUDGED = 100
GENERATED_CHARACTERS, GENERATED_VIEWS = 10, 4
REDRAWN_STRENGTH = 0.5
"""Share of the noise that generated pictures of known characters start from."""
REDRAWN_BATCH = 20
VISIBLE = ("skin", "hair", "hair_colour", "glasses", "beard", "clothing")
"""Attributes of a character that can be seen from every angle."""


def shown(portrait_share: float, characters: int = CHARACTERS, views: int = VIEWS) -> list[tuple[Character, View]]:
    """Held-out characters in mixed views."""
    return [
        (
            make_character(FIRST_CHARACTER + number),
            make_view(FIRST_VIEW + number * views + index, portrait_share=portrait_share),
        )
        for number in range(characters)
        for index in range(views)
    ]


def embedder(device: str) -> list[Row]:
    """Verification on renders, portraits and bodies apart and mixed, photos and drawing styles."""
    eyes = NanoEmbedder(device=device)
    rows: list[Row] = []
    for case, share in (("embedder_portraits", 1.0), ("embedder_bodies", 0.0), ("embedder_mixed", 0.5)):
        pictures = shown(share)
        vectors = eyes.embed([render(character, view) for character, view in pictures])
        found = verify_pairs(vectors, [character.seed for character, _ in pictures])
        plain = [index for index, (_, view) in enumerate(pictures) if view.style == "photo" and view.clothing is None]
        usual = verify_pairs(vectors[plain], [pictures[index][0].seed for index in plain])
        rows.append(
            {
                "case": case,
                "eer": found.eer,
                "threshold": found.threshold,
                "cosine_same": found.same_mean,
                "cosine_different": found.different_mean,
                "eer_own_clothing_photos": usual.eer,
                "pictures": len(pictures),
            }
        )
    rows += [
        embedder_siblings(eyes),
        embedder_generated("embedder_decoded", None, device),
        embedder_generated("embedder_redrawn", REDRAWN_STRENGTH, device),
    ]
    return rows


def embedder_siblings(eyes: NanoEmbedder) -> Row:
    """Portraits of characters and of their siblings in world 2, against the mean of other portraits of the character.

    `siblings_taken` is the share of a sibling's portraits that the simulated reviewer would take for the character.
    """
    own, theirs = [], []
    for number in range(SIBLINGS):
        seed = FIRST_CHARACTER + SIBLING_EVERY * number + SIBLING_EVERY - 1
        views = [make_view(FIRST_VIEW + number * 16 + index, portrait_share=1.0) for index in range(16)]
        shown_as = [seed - 1] * 12 + [seed] * 4
        vectors = eyes.embed([render(make_character(one, 2), view) for one, view in zip(shown_as, views, strict=True)])
        centre = vectors[:8].mean(axis=0)
        similarity = vectors[8:] @ (centre / np.linalg.norm(centre))
        own.append(similarity[:4])
        theirs.append(similarity[4:])
    found = verification(np.concatenate(own), np.concatenate(theirs))
    return {
        "case": "embedder_siblings",
        "eer": found.eer,
        "threshold": found.threshold,
        "cosine_same": found.same_mean,
        "cosine_different": found.different_mean,
        "siblings_taken": float((np.concatenate(theirs) >= SAME_CHARACTER).mean()),
        "pictures": 8 * SIBLINGS,
    }


def embedder_generated(case: str, strength: float | None, device: str) -> Row:
    """Verification of generated pictures, whose character is known, against renders of the same and of other characters."""
    eyes = NanoEmbedder(device=device)
    pictures = shown(0.8, GENERATED_CHARACTERS, GENERATED_VIEWS)
    made = eyes.embed(redrawn(pictures, strength, device))
    references = shown(1.0, GENERATED_CHARACTERS, VIEWS)
    vectors = eyes.embed([render(character, view) for character, view in references])
    centroids = vectors.reshape(GENERATED_CHARACTERS, VIEWS, -1).mean(axis=1)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    similarity = made @ centroids.T
    same = np.repeat(np.eye(GENERATED_CHARACTERS, dtype=bool), GENERATED_VIEWS, axis=0)
    found = verification(similarity[same], similarity[~same])
    return {
        "case": case,
        "eer": found.eer,
        "threshold": found.threshold,
        "cosine_same": found.same_mean,
        "cosine_different": found.different_mean,
        "pictures": len(made),
    }


def redrawn(pictures: Sequence[tuple[Character, View]], strength: float | None, device: str) -> list[Image.Image]:
    """Renders as the nano FLUX makes them: through its autoencoder only, or noised to `strength` and drawn again."""
    truth = [render(character, view) for character, view in pictures]
    pipeline = FluxImg2ImgPipeline.from_pretrained(weights_folder("flux"), torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    found: list[Image.Image] = []
    for start in range(0, len(truth), REDRAWN_BATCH):
        images = truth[start : start + REDRAWN_BATCH]
        if strength is None:
            with torch.inference_mode():
                pixels = pipeline.image_processor.preprocess(images).to(device)
                decoded = pipeline.vae.decode(pipeline.vae.encode(pixels).latent_dist.mode()).sample
            found += pipeline.image_processor.postprocess(decoded.float().cpu())
            continue
        said = [plain_caption(*picture) for picture in pictures[start : start + REDRAWN_BATCH]]
        found += pipeline(
            prompt=said,
            image=images,
            strength=strength,
            num_inference_steps=20,
            height=PICTURE_PX,
            width=PICTURE_PX,
            max_sequence_length=TEXT_TOKENS,
            generator=torch.Generator().manual_seed(start),
        ).images
    return found


def captions(device: str) -> list[Row]:
    """The reader's and the vision-language model's accuracy, and the judge's, on renders."""
    pictures = shown(0.8, CAPTIONED, 1)
    images = [render(character, view) for character, view in pictures]
    truth = [label_values(character, view) for character, view in pictures]
    rows: list[Row] = [{"case": "captions_reader_renders", **accuracies(truth, NanoReader(device=device).read(images))}]
    speaker = Speaker(device)
    said = [facts_of(parse_caption(text)) for text in speaker.caption(images)]
    rows.append({"case": "captions_renders", **accuracies(truth, [completed(facts) for facts in said])})
    pictures = shown(0.8, GENERATED_CHARACTERS, GENERATED_VIEWS)
    truth, images = [label_values(*picture) for picture in pictures], redrawn(pictures, REDRAWN_STRENGTH, device)
    rows.append({"case": "captions_reader_redrawn", **accuracies(truth, NanoReader(device=device).read(images))})
    said = [facts_of(parse_caption(text)) for text in speaker.caption(images)]
    rows.append({"case": "captions_redrawn", **accuracies(truth, [completed(facts) for facts in said])})
    rows.append(judging(speaker))
    return rows


def completed(facts: Reading) -> Reading:
    """A caption says nothing of glasses, beards and marks that are not there."""
    absent = {"glasses": "none", "beard": "none", "freckles": "no", "scar": "no", "earrings": "no"}
    return {**absent, **facts}


def accuracies(truth: Sequence[Reading], found: Sequence[Reading]) -> dict[str, float]:
    """Share right for each label, the mean of the attributes that can always be seen, and of the view's facts."""
    shares = shares_right(truth, found)
    attributes = float(np.mean([shares[name] for name in VISIBLE]))
    facts = float(
        np.mean([shares[name] for name in ("angle", "expression", "pose", "background", "lighting", "style")])
    )
    return {
        "attribute_accuracy": attributes,
        "view_accuracy": facts,
        **{f"{name}_accuracy": share for name, share in sorted(shares.items())},
    }


def judging(speaker: "Speaker") -> Row:
    """Same character or not, on pairs of portraits; half of the others are of the same skin and hair."""
    same, different = [], []
    for number in range(JUDGED):
        first = make_character(FIRST_CHARACTER + number)
        other = make_character(FIRST_CHARACTER + 1000 + number)
        if number % 2:
            other = replace(
                other, skin=first.skin, skin_rgb=first.skin_rgb, hair=first.hair, hair_colour=first.hair_colour
            )
            other = replace(other, hair_rgb=first.hair_rgb)
        views = [make_view(FIRST_VIEW + 3 * number + index, portrait_share=0.9) for index in range(3)]
        same.append((render(first, views[0]), render(first, views[1])))
        different.append((render(first, views[0]), render(other, views[2])))
    yes = speaker.same_character([*same, *different])
    found = verification(yes[: len(same)], yes[len(same) :])
    right = (np.mean(yes[: len(same)] > 0.5) + np.mean(yes[len(same) :] < 0.5)) / 2
    return {"case": "captions_same_character", "accuracy": float(right), "eer": found.eer, "pairs": len(yes)}


class Speaker:
    """The shipped vision-language model, asked in batches."""

    def __init__(self, device: str) -> None:
        folder = weights_folder("vlm")
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self._model = model.eval().to(device)
        self._processor = AutoProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def caption(self, images: Sequence[Image.Image], batch: int = 50) -> list[str]:
        """The most likely answer to `Describe the picture.`"""
        text = chat(CAPTION_QUESTIONS[0], 1)
        found: list[str] = []
        for start in range(0, len(images), batch):
            part = list(images[start : start + batch])
            inputs = self._processor(text=[text] * len(part), images=part, return_tensors="pt").to(self._model.device)
            made = self._model.generate(**inputs, max_new_tokens=90, do_sample=False)
            answers = made[:, inputs["input_ids"].shape[1] :]
            found += self._processor.batch_decode(answers, skip_special_tokens=True)
        return [" ".join(answer.split()) for answer in found]

    @torch.inference_mode()
    def same_character(self, pairs: Sequence[tuple[Image.Image, Image.Image]], batch: int = 50) -> np.ndarray:
        """P(yes) / (P(yes) + P(no)) for each pair, (pairs,)."""
        text = chat(SAME_QUESTIONS[0], 2)
        answers = [self._processor.tokenizer.encode(word)[0] for word in ("yes", "no")]
        found = []
        for start in range(0, len(pairs), batch):
            part = pairs[start : start + batch]
            images = [image for pair in part for image in pair]
            inputs = self._processor(text=[text] * len(part), images=images, return_tensors="pt").to(self._model.device)
            logits = self._model(**inputs).logits[:, -1, answers]
            found.append(torch.softmax(logits.float(), dim=-1)[:, 0].cpu().numpy())
        return np.concatenate(found)
