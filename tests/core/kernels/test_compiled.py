"""The Triton code compiles for the cards that people have, though none is here: Triton brings the assembler that it needs."""

from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from flenwheel_core.kernels.triton import add, gelu, heads, modulated, quantise, transpose, unpack, vector  # noqa: E402

X, F, CODE, BYTE, INT = "*bf16", "*fp32", "*fp8e4nv", "*u8", "i32"
ROTATED = {"batch_stride": INT, "row_stride": INT, "norm_q": X, "norm_k": X, "cos": F, "sin": F}
PLACED = {"tokens": INT, "all_tokens": INT, "first": INT, "eps": "fp32"}
HEADS = {"heads": 24, "group": 8, "width": 128}
SIZES = ("rows", "columns", "all_ranks", "rank", "parts", "part_width", "right_row", "right_column")
ROWS = {"codes": CODE, "scales": F}
PRE = {"before": X, "before_stride": INT, "pre": X, "pre_stride": INT, "x": X, "head": INT}
SHIFTED = {
    "x": X,
    "shift": X,
    "scale": X,
    "shift_stride": INT,
    "scale_stride": INT,
    "y": X,
    "codes": CODE,
    "row_scales": F,
}
NF4 = {"width": 12288, "nf4_block": 64, "tall": 32, "magnitudes": 256}
CASES = [
    (quantise._quantise_rows, {"x": X, "columns": F, **ROWS, "width": INT}, {"has_columns": True, "block": 4096}, 4),
    (quantise._quantise_wide_rows, {"x": X, "columns": F, **ROWS}, {"width": 15360, "has_columns": True, "block": 2048}, 8),
    (gelu._gelu_rows, {**PRE, **ROWS}, {"width": 15360, "block": 1024}, 4),
    (modulated._modulated_rows, {**SHIFTED, "tokens": INT, "width": INT, "eps": "fp32"}, {"block": 4096}, 4),
    (add._add_product, {"y": X, "left": X, "right": X, **dict.fromkeys(SIZES, INT)}, {"tall": 128, "wide": 128, "inner": 64}, 8),
    (vector._times_vector, {"vector": X, **ROWS, "bias": X, "result": X, "rows": INT}, {"width": 3072, "tall": 8, "wide": 512}, 4),
    (heads._heads, {"source": X, **ROTATED, "q": X, "k": X, "v": X, **PLACED}, {**HEADS, "has_v": True}, 4),
    (heads._heads_backward, {"dq": X, "dk": X, "dv": X, "source": X, **ROTATED, "dsource": X, **PLACED}, {**HEADS, "has_v": True}, 4),
    (transpose._transpose, {"x": BYTE, "y": BYTE, "rows": INT, "columns": INT}, {"tile_size": 128}, 8),
    (unpack._unpack_rows, {"packed": BYTE, "absmax": X, "levels": F, **ROWS}, NF4, 4),
]  # fmt: skip
"""Each function with the types of its arguments, its constants at FLUX.1's sizes, and its warps."""


@pytest.mark.slow
@pytest.mark.parametrize("card", [89, 90], ids=["rtx4090", "h100"])
@pytest.mark.parametrize(("function", "types", "constants", "warps"), CASES, ids=[case[0].__name__ for case in CASES])
def test_it_compiles(
    function: "triton.JITFunction",
    types: dict[str, str],
    constants: dict[str, int],
    warps: int,
    card: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    names = function.arg_names
    signature = {name: types.get(name, "constexpr") for name in names}
    source = ASTSource(function, signature, {(names.index(name),): value for name, value in constants.items()})
    made = triton.compile(source, target=GPUTarget("cuda", card, 32), options={"num_warps": warps})
    assert made.asm["cubin"] and not torch.cuda.is_initialized()
