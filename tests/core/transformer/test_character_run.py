"""Sample pictures of a step: which transformer draws them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.documents.images import Sampler
from flenwheel_core.transformer.character_run import samples_of
from tests.kit.character_runs import character_job, hooks


def test_the_first_pictures_are_drawn_without_the_new_adapter_and_the_later_ones_with_it(tmp_path: Path) -> None:
    worn = [True]
    drawn: list[bool] = []

    @contextmanager
    def without_adapter() -> Iterator[None]:
        worn[0] = False
        yield
        worn[0] = True

    def draw(text: str, sampler: Sampler, seed: int) -> Image.Image:
        drawn.append(worn[0])
        assert not transformer.training
        return Image.new("RGB", (8, 8))

    transformer = torch.nn.Linear(2, 2)
    adapted = AdaptedTransformer(transformer, {}, {}, {}, without_adapter)
    job = character_job(tmp_path, Sampler(steps=1, width=64, height=64), "photo of ohwx person", "ohwx")
    sample = samples_of(job, hooks(), adapted, draw)
    sample(0)
    sample(4)
    assert drawn == [False, True] and transformer.training
