"""Builds the tokenizers of nano FLUX from sample captions of the world."""

import shutil

from flenwheel_core.nano.models.tokenizers import build_clip_tokenizer, build_t5_tokenizer
from tools.nano_training.corpus import sample_captions, syllables
from tools.nano_training.workspace import Run


def run(run: Run) -> None:
    """Writes `tokenizers/tokenizer` and `tokenizers/tokenizer_2` into the work folder."""
    captions = sample_captions()
    part = run.work / "tokenizers.part"
    shutil.rmtree(part, ignore_errors=True)
    build_clip_tokenizer(captions).save_pretrained(part / "tokenizer")
    build_t5_tokenizer(captions, syllables()).save_pretrained(part / "tokenizer_2")
    shutil.rmtree(run.work / "tokenizers", ignore_errors=True)
    part.rename(run.work / "tokenizers")
