import pytest

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.memory.encoding import NF4_SHARE, TEXT_GIB, choose_encoder, encoding_gib

T5_GIB = 9.1


def test_bfloat16_where_it_fits_and_nf4_where_it_does_not() -> None:
    assert choose_encoder(T5_GIB, T5_GIB + TEXT_GIB) == "bf16"
    assert choose_encoder(T5_GIB, T5_GIB + TEXT_GIB - 0.01) == "nf4"
    assert (
        choose_encoder(15.4, 16.5, working_gib=1.5) == "nf4" and choose_encoder(15.4, 17.0, working_gib=1.5) == "bf16"
    )


def test_nf4_after_memory_ran_out() -> None:
    assert choose_encoder(T5_GIB, 23.5, memory_level=1) == "nf4"


def test_what_fits_in_no_way_is_refused() -> None:
    least = encoding_gib(T5_GIB, "nf4")
    assert least == pytest.approx(T5_GIB * NF4_SHARE + TEXT_GIB)
    with pytest.raises(ResourceError, match=f"needs {least:.1f} GiB"):
        choose_encoder(T5_GIB, least - 0.01)


def test_a_small_encoder_works_with_less_memory() -> None:
    assert encoding_gib(0.08, "bf16") == pytest.approx(0.09)
