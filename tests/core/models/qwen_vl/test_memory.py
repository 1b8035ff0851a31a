"""The plan of asking: counted bytes against those that live while a model answers, and against what a card said."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from flenwheel_core.base.errors import NoTighterPlanError, ResourceError
from flenwheel_core.memory.card import GIB
from flenwheel_core.models.qwen_vl.memory import (
    LIBRARIES_GIB,
    MOST_PIXELS,
    WORDS,
    ModelSizes,
    plan_asking,
    sizes_of,
)

RELEASED = ModelSizes(
    weights_gib=15.445,
    nf4_gib=6.709,
    vision={
        "hidden_size": 1280,
        "num_heads": 16,
        "patch_size": 14,
        "in_channels": 3,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
    },
    text={
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
)
"""Qwen2.5-VL-7B."""


class LiveBytes(TorchDispatchMode):
    """The most bytes that tensors made within, and `given` ones, held at once."""

    def __init__(self, weights: Sequence[torch.Tensor], given: torch.Tensor) -> None:
        super().__init__()
        self.peak = 0
        self._weights = {weight.untyped_storage()._cdata for weight in weights}
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}
        self._note(given)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        self._held = {key: held for key, held in self._held.items() if not held[0].expired()}
        for value in tree_leaves(made):
            if isinstance(value, torch.Tensor):
                self._note(value)
        self.peak = max(self.peak, sum(size for _, size in self._held.values()))
        return made

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._held and storage._cdata not in self._weights:
            self._held[storage._cdata] = StorageWeakRef(storage), storage.nbytes()


def small_model(width: int, vision_heads: int) -> Qwen2_5_VLForConditionalGeneration:
    """With the released model's proportions, except that the two parts are as wide as a test wants them."""
    vision = {
        "depth": 2,
        "hidden_size": 80 * vision_heads,
        "intermediate_size": 214 * vision_heads,
        "num_heads": vision_heads,
        "out_hidden_size": width,
        "fullatt_block_indexes": [1],
    }
    text = {
        "vocab_size": 64,
        "hidden_size": width,
        "intermediate_size": 5 * width,
        "num_hidden_layers": 4,
        "num_attention_heads": width // 128,
        "num_key_value_heads": 1,
        "layer_types": ["full_attention"] * 4,
        "rope_parameters": {"mrope_section": [16, 24, 24], "rope_theta": 1e6, "rope_type": "default"},
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=3,
        video_token_id=4,
        vision_start_token_id=5,
        vision_end_token_id=6,
    )
    return Qwen2_5_VLForConditionalGeneration(config).to(torch.bfloat16).eval()


@pytest.mark.parametrize(
    ("width", "vision_heads", "side", "pictures"),
    [(256, 4, 448, 1), (640, 1, 336, 2)],
    ids=["seeing takes most", "reading takes most"],
)
def test_what_lives_while_a_model_answers_is_what_was_counted(
    tmp_path: Path, width: int, vision_heads: int, side: int, pictures: int
) -> None:
    model = small_model(width, vision_heads)
    model.save_pretrained(tmp_path)
    grid = side // 14
    shown = [5, *[3] * (grid**2 // 4), 6] * pictures
    ids = torch.tensor([[*shown, *[7] * (WORDS - 2 * pictures)]])
    values = torch.randn(pictures * grid**2, 3 * 2 * 14**2)
    with torch.no_grad(), LiveBytes([*model.parameters(), *model.buffers()], values) as live:
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=values,
            image_grid_thw=torch.tensor([[1, grid, grid]] * pictures),
            mm_token_type_ids=(ids == 3).int(),
            max_new_tokens=1,
            do_sample=False,
        )
    counted = (sizes_of(tmp_path).working_gib(side**2, pictures) - LIBRARIES_GIB) * GIB
    assert counted == pytest.approx(live.peak, rel=0.03)


def test_a_card_said_the_same() -> None:
    """Ingest of the dress rehearsal: pictures up to the limit, 16.193 GiB reserved at the peak, within 23.5."""
    assert plan_asking(RELEASED, 23.5).predicted_gib == pytest.approx(16.193, rel=0.01)


def test_sizes_are_read_from_the_folder(tmp_path: Path) -> None:
    model = small_model(256, 1)
    model.save_pretrained(tmp_path)
    linear = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith("model.language_model.")
    )
    sizes = sizes_of(tmp_path)
    assert sizes.weights_gib * GIB == pytest.approx(2 * sum(weight.numel() for weight in model.parameters()), rel=0.01)
    assert (sizes.weights_gib - sizes.nf4_gib) * GIB == pytest.approx(linear * (2 - 0.5625))


def test_asking_is_planned_before_anything_loads() -> None:
    assert not plan_asking(RELEASED, 23.5).quantised
    small = plan_asking(RELEASED, 15.5)
    assert small.quantised and small.most_pixels == MOST_PIXELS[0] and small.predicted_gib < 8
    second = plan_asking(RELEASED, 23.5, memory_level=1)
    assert second.predicted_gib <= 0.95 * plan_asking(RELEASED, 23.5).predicted_gib
    assert plan_asking(RELEASED, 23.5, pictures=2).predicted_gib > plan_asking(RELEASED, 23.5).predicted_gib + 0.4
    with pytest.raises(ResourceError, match="even in 4 bits"):
        plan_asking(RELEASED, 6.0)
    with pytest.raises(NoTighterPlanError):
        plan_asking(RELEASED, 23.5, memory_level=9)
