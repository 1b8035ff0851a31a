"""What kernels share that quantise rows to e4m3: the scale of a row, and its codes."""

import triton
import triton.language as tl


@triton.jit
def row_scale(largest):  # type: ignore[no-untyped-def]
    """The scale of a row whose largest magnitude is given: 448 is e4m3's largest number."""
    return tl.maximum(largest, 1e-12) / 448.0


@triton.jit
def store_codes(codes, row, width, offsets, values, scale, inside):  # type: ignore[no-untyped-def]
    """Writes the e4m3 codes of a row's `values` to its `offsets`, as far as they lie `inside`."""
    kept = tl.minimum(tl.maximum(values / scale, -448.0), 448.0)
    tl.store(codes + row * width + offsets, kept.to(tl.float8e4nv), mask=inside)
