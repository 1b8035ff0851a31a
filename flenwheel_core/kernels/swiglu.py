"""SwiGLU: one half of a linear's output, bent by SiLU, gates the other (Shazeer 2020). FLUX.2's MLPs have it where FLUX.1's have GELU.

Plain PyTorch: no kernel quantises in the same pass, as GELU's does. An fp8 linear behind it quantises its input in a second step.
"""

import torch
from torch.nn import functional


def swiglu(gate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """silu(gate) * value, element by element."""
    return functional.silu(gate) * value
