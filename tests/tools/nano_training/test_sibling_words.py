"""Prompts become token ids once, in a process of their own, and again when the data is another."""

from pathlib import Path

import numpy as np
import pytest

from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.models import qwen3
from tools.nano_training.data import CAPTIONS
from tools.nano_training.names import FOLDER
from tools.nano_training.sibling_words import Words, make, prompt_ids


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures, one of a character with a name, and one edit."""
    for folder, text in ((tmp_path / "data", "photo of a person"), (tmp_path / "data" / FOLDER, "photo of mira")):
        folder.mkdir()
        (folder / "captions.txt").write_text("".join(f"{text} {number}\n" for number in range(CAPTIONS)))
        (folder / "done").write_text("1\n")
    (tmp_path / "data" / "edits.txt").write_text("same person, sad\n")
    np.save(tmp_path / "data" / "edits.npy", np.zeros((1, 2), np.int32))
    return tmp_path / "data"


def test_all_prompts_are_there_and_made_once(data: Path, tmp_path: Path) -> None:
    words = weights_folder("editor") / "tokenizer"
    captions, edits = Words(data, tmp_path, words, workers=1).ready()
    tokenizer = qwen3.load_tokenizer(words)
    assert captions.shape == (2, CAPTIONS, qwen3.TEXT_TOKENS) and edits.shape == (1, qwen3.TEXT_TOKENS)
    assert np.array_equal(captions[1, 2], prompt_ids(tokenizer, ["photo of mira 2"])[0])
    assert np.array_equal(edits, prompt_ids(tokenizer, ["same person, sad"]))
    assert not make(data, tmp_path, words, workers=1)
    (data / "done").write_text("another rendering\n")
    assert make(data, tmp_path, words, workers=1)


def test_a_failure_is_told_and_not_waited_for(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="could not be turned into tokens"):
        Words(data, tmp_path, tmp_path / "no-words", workers=1).ready()
