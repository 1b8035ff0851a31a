"""Prompts of the siblings as token ids, made by processes of their own while the training compiles its steps, and kept in the work folder.

`python -m tools.nano_training.sibling_words --data D --work W --words FOLDER` writes them; `Words` begins it and reads them.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from flenwheel_core.nano.models import qwen3
from tools.nano_training.data import CAPTIONS
from tools.nano_training.names import FOLDER
from tools.nano_training.processes import processes
from tools.nano_training.workspace import wait_for, write_array, write_json

CAPTION_IDS, EDIT_IDS, MADE_FROM = "siblings_captions.npy", "siblings_edits.npy", "siblings_words.json"
_CHUNK = 20_000

Ids = NDArray[np.int16]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Ids:
    """(texts, TEXT_TOKENS): what both families make of prompts."""
    ids = tokenizer(
        [qwen3.chat(text) for text in texts],
        padding="max_length",
        max_length=qwen3.TEXT_TOKENS,
        truncation=True,
        return_tensors="np",
    ).input_ids
    return np.asarray(ids, dtype=np.int16)


def state_of(data: Path) -> list[object]:
    """Tells one rendering of the training data from another. Waits until it is complete."""
    done = [wait_for(folder / "done") for folder in (data, data / FOLDER)]
    return [[path.read_text(), path.stat().st_mtime_ns] for path in done]


class Words:
    """Token ids of a training's prompts, being made elsewhere."""

    def __init__(self, data: Path, work: Path, words: Path, workers: int) -> None:
        self._work = work
        folders = ["--data", str(data), "--work", str(work), "--words", str(words), "--workers", str(workers)]
        self._process = subprocess.Popen([sys.executable, "-m", "tools.nano_training.sibling_words", *folders])

    def ready(self) -> tuple[Ids, Ids]:
        """Captions (pictures, CAPTIONS, tokens), those of named characters last, and edits (edits, tokens)."""
        if self._process.wait() != 0:
            raise RuntimeError("the prompts could not be turned into tokens; the log above says why")
        return np.load(self._work / CAPTION_IDS, mmap_mode="r"), np.load(self._work / EDIT_IDS, mmap_mode="r")


def make(data: Path, work: Path, words: Path, workers: int) -> bool:
    """Writes both files, unless they are there from the same data; returns whether it did."""
    made_from = [state_of(data), str(words)]
    note = work / MADE_FROM
    if note.exists() and json.loads(note.read_text()) == made_from:
        return False
    captions = [line for folder in (data, data / FOLDER) for line in (folder / "captions.txt").read_text().splitlines()]
    edits = (data / "edits.txt").read_text().split("\n")[: len(np.load(data / "edits.npy", mmap_mode="r"))]
    found = _all_ids(words, captions + edits, workers)
    write_array(work / CAPTION_IDS, found[: len(captions)].reshape(-1, CAPTIONS, found.shape[1]))
    write_array(work / EDIT_IDS, found[len(captions) :])
    write_json(note, made_from)
    return True


def _chunk_ids(words: Path, texts: list[str]) -> Ids:
    return prompt_ids(qwen3.load_tokenizer(words), texts)


def _all_ids(words: Path, texts: list[str], workers: int) -> Ids:
    chunks = [texts[i : i + _CHUNK] for i in range(0, len(texts), _CHUNK)]
    if workers < 2:
        return np.concatenate([_chunk_ids(words, chunk) for chunk in chunks])
    with processes(workers) as pool:
        return np.concatenate(list(pool.map(_chunk_ids, [words] * len(chunks), chunks)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Waits for the data and makes the ids."""
    parser = argparse.ArgumentParser(prog="python -m tools.nano_training.sibling_words", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the part `data`")
    parser.add_argument("--work", type=Path, required=True, help="folder the ids are written to")
    parser.add_argument("--words", type=Path, required=True, help="folder of the tokenizer")
    parser.add_argument("--workers", type=int, default=8)
    given = parser.parse_args(arguments)
    made = make(given.data, given.work, given.words, given.workers)
    print("prompts are tokens" + ("" if made else ", as before"), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
