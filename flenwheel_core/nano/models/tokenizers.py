"""The two tokenizers of nano FLUX, built from sample captions of the world.

CLIP's is a byte-pair tokenizer trained on them. T5's is a unigram vocabulary with scores set by hand: words by their log
frequency, then syllables, then letters. (A trained unigram model splits rare names into letters, and a trigger spelled in
letters hardly reaches the picture.)
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5TokenizerFast

from flenwheel_core.nano.models.flux import TEXT_TOKENS

CLIP_MERGED_TOKENS = 900
T5_WORDS = 420
SYLLABLE_SCORE, ENDING_SCORE, LETTER_SCORE = -11.0, -12.0, -14.0
VOWELS = "aeiou"
CONSONANTS = "bcdfghjklmnpqrstvwxyz"
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,'!?:;()/&\""


def build_clip_tokenizer(captions: Sequence[str]) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges come from `captions`; every byte is known, so nothing is out of vocabulary."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=end))
    trained.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=CLIP_MERGED_TOKENS,
        min_frequency=30,
        special_tokens=[start, end],
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
    )
    trained.train_from_iterator([caption.lower() for caption in captions], trainer)
    model = json.loads(trained.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    for byte in alphabet:
        vocabulary.setdefault(byte + "</w>", len(vocabulary))
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TEXT_TOKENS)


def t5_vocabulary(captions: Iterable[str], syllables: Iterable[str]) -> list[tuple[str, float]]:
    """Pieces with their log scores; the order gives the ids."""
    counts: Counter[str] = Counter()
    for caption in captions:
        for word in caption.split():
            stem, comma = re.fullmatch(r"(.*?)(,?)", word).groups()  # type: ignore[union-attr]
            counts["\u2581" + stem] += 1
            counts[","] += bool(comma)
    total = sum(counts.values())
    pieces: dict[str, float] = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0}
    for word, count in counts.most_common(T5_WORDS):
        if count >= 20:
            pieces.setdefault(word, math.log(count / total))
    pairs = [a + b for a in CONSONANTS for b in VOWELS] + [b + a for a in CONSONANTS for b in VOWELS]
    for group, score in ((list(syllables), SYLLABLE_SCORE), (pairs, ENDING_SCORE), (list(CHARACTERS), LETTER_SCORE)):
        for piece in group:
            pieces.setdefault("\u2581" + piece, score)
            pieces.setdefault(piece, score - 0.5)
    pieces.setdefault("\u2581", -15.0)
    return list(pieces.items())


def build_t5_tokenizer(captions: Iterable[str], syllables: Iterable[str]) -> T5TokenizerFast:
    """A T5 tokenizer over `t5_vocabulary`."""
    return T5TokenizerFast(vocab=t5_vocabulary(captions, syllables), extra_ids=0, model_max_length=TEXT_TOKENS)
