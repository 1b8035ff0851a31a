"""The items of a run: a picture's mask goes wherever the picture goes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import TrainJob, TrainPicture
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import fit
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.character_items import CharacterItems
from tests.kit.character_runs import hooks

SIDE = 16
PROMPT = "photo of ohwx person"


def drawn(size: tuple[int, int]) -> Image.Image:
    """A white ellipse, off the centre."""
    x, y = np.meshgrid(np.arange(size[0]) / size[0], np.arange(size[1]) / size[1])
    return Image.fromarray(np.where((x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.06, 255, 0).astype(np.uint8))


def grey_of_tokens(pictures: Sequence[PlacedPicture]) -> list[torch.Tensor]:
    """In place of latents: the mean grey of each token's pixels."""
    found = []
    for one in pictures:
        grey = np.asarray(fit(one.load(), one.placement).convert("L"), dtype=np.float32) / 255
        rows, columns = grey.shape[0] // SIDE, grey.shape[1] // SIDE
        found.append(torch.from_numpy(grey.reshape(rows, SIDE, columns, SIDE).mean((1, 3)).reshape(-1, 1)))
    return found


@pytest.mark.parametrize("size", [(300, 200), (150, 420), (640, 128), (128, 128)])
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_a_mask_is_scaled_and_cut_as_its_picture_and_averaged_over_each_tokens_pixels(
    tmp_path: Path, size: tuple[int, int], floor: float
) -> None:
    recipe = TrainingRecipe(resolution=128, bucket_step=16, mask_floor=floor)
    pictures = (
        TrainPicture("a" * 64, PROMPT, lambda: drawn(size).convert("RGB"), lambda: drawn(size)),
        TrainPicture("b" * 64, PROMPT, lambda: drawn(size).convert("RGB")),
    )
    job = TrainJob("run", "mira-v1", pictures, None, None, recipe, 1, Sampler(), (), tmp_path)
    masked, whole = CharacterItems(job, hooks(), {PROMPT: ""}, grey_of_tokens, TensorCache(tmp_path)).own(SIDE)
    assert whole.mask is None and masked.mask is not None
    assert torch.allclose(masked.mask, floor + (1 - floor) * masked.latents, atol=0.005)
    assert float(((masked.mask > floor) & (masked.mask < 1)).float().mean()) > 0.1, "the rim falls into tokens"
