import pytest
import torch

from flenwheel_core.memory.quantising import require_unquantised


class Linear4bit(torch.nn.Linear):
    """Named as bitsandbytes names its class."""


def network() -> torch.nn.Module:
    visual = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([torch.nn.Linear(2, 2), Linear4bit(2, 2)])})
    return torch.nn.ModuleDict({"model": torch.nn.ModuleDict({"visual": visual, "visuals": Linear4bit(2, 2)})})


def test_a_quantised_linear_in_a_part_that_must_stay_exact_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"1 linears .* model\.visual\.blocks\.1"):
        require_unquantised(network(), ("model.visual", "lm_head"))


def test_parts_are_whole_names() -> None:
    require_unquantised(network(), ("visual", "model.visual.blocks.0", "model.vis"))
