"""Which kernel a gradient goes through in modules of others."""

import torch

from flenwheel_core.kernels.attention import learn_through_other_modules


def test_cudnn_is_left_out_of_pytorchs_choice() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        learn_through_other_modules()
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
