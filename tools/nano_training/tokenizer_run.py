"""Builds the tokenizers of nano FLUX from sample captions of the world, and that of the vision-language model and the siblings."""

import shutil

from flenwheel_core.nano.models.tokenizers import build_clip_tokenizer, build_t5_tokenizer
from flenwheel_core.nano.models.vlm import build_tokenizer
from tools.nano_training.corpus import sample_captions, syllables, texts_for_tokenizer
from tools.nano_training.workspace import Run


def run(run: Run) -> None:
    """Writes `tokenizers/tokenizer`, `tokenizers/tokenizer_2` and `tokenizers/qwen` into the work folder."""
    captions = sample_captions(run.world)
    part = run.work / "tokenizers.part"
    shutil.rmtree(part, ignore_errors=True)
    build_clip_tokenizer(captions).save_pretrained(part / "tokenizer")
    build_t5_tokenizer(captions, syllables()).save_pretrained(part / "tokenizer_2")
    build_tokenizer(texts_for_tokenizer(run.world)).save_pretrained(part / "qwen")
    shutil.rmtree(run.work / "tokenizers", ignore_errors=True)
    part.rename(run.work / "tokenizers")
