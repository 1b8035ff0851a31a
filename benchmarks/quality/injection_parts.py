"""Which parts of a described prompt a base knows somebody again by: `python -m benchmarks.quality.injection_parts`.

Parts of a described prompt's embeddings are put behind the same prompt without a description, true ones, nothing is predicted. It tells
what a head has to hit, and what it loses by slots. Nano FLUX draws, characters that no model has seen.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.quality.injection_world import DRAW, FIRST_CHOOSING, MEASURED_VIEWS, prompts
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.base.settings import Settings
from flenwheel_core.injection.phrases import Photo, Phrases
from flenwheel_core.injection.residual import inject, rows_for_others
from flenwheel_core.models.prompt_model import EncodedPrompt, PromptModel
from flenwheel_core.models.registry import open_prompt_model
from flenwheel_core.nano.measure import NanoEmbedder
from flenwheel_core.nano.world import description, make_character, make_view, render
from flenwheel_core.recipes.injection import HeadRecipe

NAME = "injection_parts"
FIRST = FIRST_CHOOSING + 20_000
SEED = 1234
SLOTS = 24
Way = Callable[["Pair"], EncodedPrompt]


@dataclass(frozen=True)
class Pair:
    """A prompt without and with a description of somebody."""

    photo: Photo
    phrases: Phrases

    @property
    def plain(self) -> EncodedPrompt:
        return self.photo.prompt

    @property
    def described(self) -> EncodedPrompt:
        return self.photo.described

    def behind(self, first: int, last: int, *, pooled: bool) -> EncodedPrompt:
        """The plain prompt with the described one's tokens from `first` to before `last` behind it."""
        tokens = torch.cat([self.plain.tokens, self.described.tokens[first:last]])
        return replace(self.plain, tokens=tokens, others=self.described.others if pooled else self.plain.others)


def ways() -> dict[str, Way]:
    """What is drawn from, by the name of its row."""

    def said(pair: Pair, lead: int, *, pooled: bool) -> EncodedPrompt:
        places = pair.photo.description
        return pair.behind(places[0] - lead, places[-1] + 1, pooled=pooled)

    lead = HeadRecipe().leading
    return {
        "plain": lambda pair: pair.plain,
        "described": lambda pair: pair.described,
        "pooled_alone": lambda pair: replace(pair.plain, others=pair.described.others),
        "description": lambda pair: said(pair, 0, pooled=False),
        "description_pooled": lambda pair: said(pair, 0, pooled=True),
        "phrase": lambda pair: said(pair, lead, pooled=False),
        "phrase_pooled": lambda pair: said(pair, lead, pooled=True),
        "phrase_slots": lambda pair: inject(
            pair.plain, pair.phrases.target(pair.photo), 1.0, "phrase", pair.photo.words
        ),
    }


def pairs(model: PromptModel, characters: Sequence[int]) -> dict[int, list[Pair]]:
    """Of each character, a pair a prompt."""
    plain = [one.text for one in prompts()]
    words = {one: " and ".join(description(make_character(one))) for one in characters}
    texts = {one: [text.replace("a person", f"a person with {words[one]}") for text in plain] for one in characters}
    seen = model.encode([*plain, *(text for own in texts.values() for text in own)])
    photos = {
        one: [
            Photo(
                one,
                0,
                torch.zeros(1, 1),
                seen[text],
                model.places(text, "person"),
                seen[more],
                (),
                model.places(more, f"with {words[one]}"),
            )
            for text, more in zip(plain, texts[one], strict=True)
        ]
        for one in characters
    }
    lead = HeadRecipe().leading
    phrases = Phrases.of([photo for own in photos.values() for photo in own], lead + SLOTS, lead)
    assert rows_for_others(seen[plain[0]]), "FLUX is told of a pooled vector"
    return {one: [Pair(photo, phrases) for photo in own] for one, own in photos.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--characters", type=int, default=12)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    embedder, characters = NanoEmbedder(), [FIRST + number for number in range(arguments.characters)]
    found: dict[str, list[float]] = {}
    with TemporaryDirectory() as work, open_prompt_model("nano", Settings(workspace=Path(work), threads=1)) as model:
        for one, own in pairs(model, characters).items():
            views = [
                replace(make_view(one * 100 + number, portrait_share=1.0), clothing=None, style="photo")
                for number in range(MEASURED_VIEWS)
            ]
            centre = embedder.embed([render(make_character(one), view) for view in views]).mean(0)
            centre /= np.linalg.norm(centre)
            for name, way in ways().items():
                drawn = [model.draw(way(pair), DRAW, SEED) for pair in own]
                found.setdefault(name, []).append(float((embedder.embed(drawn) @ centre).mean()))
            print(one, {name: round(values[-1], 2) for name, values in found.items()}, flush=True)
    rows: list[Row] = [
        {"case": name, "characters": len(values), "identity": float(np.mean(values)), "least": min(values)}
        for name, values in found.items()
    ]
    write_result(NAME, rows, folder=arguments.out)


if __name__ == "__main__":
    main()
