"""A process under the limit finds a smaller card: tried on a runtime that is none, by programs that use it as torch does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.speed.card_limit import LimitLog, limited_card
from tests.kit import card as sources

GIB = 2**30
CARD_GIB = 2.0
ROOM = int(CARD_GIB * GIB) - int(0.45 * GIB)
"""Without the driver's own part."""
HERE = Path(sources.__file__).parent
OPENED = (
    "import ctypes, sys\n"
    "orders = [order.encode() for order in sys.argv[2:]]\n"
    "ctypes.CDLL(sys.argv[1]).run(len(orders), (ctypes.c_char_p * len(orders))(*orders))"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runtime, a program that is linked to it, and the same as a library."""
    made = tmp_path_factory.mktemp("card")
    runtime = made / "libcudart.so.13"
    shared, linked = ["-shared", "-fPIC"], [str(runtime), f"-Wl,-rpath,{made}", "-lpthread"]
    compile_c(*shared, "-Wl,-soname,libcudart.so.13", "-o", str(runtime), str(HERE / "fake_cudart.c"))
    compile_c("-o", str(made / "program"), str(HERE / "allocating.c"), *linked)
    compile_c(*shared, "-o", str(made / "library.so"), str(HERE / "allocating.c"), *linked)
    return made


def compile_c(*arguments: str) -> None:
    subprocess.run(["cc", "-O1", *arguments], check=True)


def program(folder: Path, way: str) -> list[str]:
    """By its own link, or opened by a python that does not show the runtime to others, as torch is."""
    return [str(folder / "program")] if way == "linked" else [sys.executable, "-c", OPENED, str(folder / "library.so")]


def answers(folder: Path, *orders: str, way: str = "linked") -> list[str]:
    done = subprocess.run([*program(folder, way), *orders], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("way", ["linked", "opened"])
def test_what_does_not_fit_is_refused_and_what_is_freed_counts_again(folder: Path, way: str) -> None:
    half = f"malloc:{ROOM // 2}"
    orders = (half, half, "malloc:2", "free:0", "malloc:2", half, "info", "size")
    with limited_card(CARD_GIB) as log:
        found = answers(folder, *orders, way=way)
    left = ROOM - ROOM // 2 - 2
    assert found == ["0", "0", "2", "0", "0", "2", f"{left} of {int(CARD_GIB * GIB)}", str(int(CARD_GIB * GIB))]
    assert log.counts() == []  # the log is gone with the limit
    assert answers(folder, half, half, half, "info", way=way)[:3] == ["0", "0", "0"]  # and so is the limit


@pytest.mark.parametrize("way", ["linked", "opened"])
def test_the_drivers_functions_are_limited_whoever_asks_for_them_by_name(folder: Path, way: str) -> None:
    orders = (f"create:{ROOM - 5}", "create:6", f"host:{ROOM}", "old_create:6", "malloc:6", "release:0", "malloc:6")
    with limited_card(CARD_GIB) as log:
        found = answers(folder, *orders, "driver_info", way=way)
        (count,) = log.counts()
    assert found == ["0", "2", "0", "2", "2", "0", "0", f"{ROOM - 6} of {int(CARD_GIB * GIB)}"]
    assert count.refused == 3 and count.peak_gib * GIB == ROOM - 5


def test_failures_of_the_real_functions_change_no_count(folder: Path) -> None:
    with limited_card(CARD_GIB):
        found = answers(folder, "malloc:13", "free_wrong", f"malloc:{ROOM}", "free:0", "info")
    assert found == ["2", "1", "0", "0", f"{ROOM} of {int(CARD_GIB * GIB)}"]


def test_threads_lose_no_count(folder: Path) -> None:
    with limited_card(CARD_GIB) as log:
        found = answers(folder, "threads", "info")
        (count,) = log.counts()
    assert found == ["0", f"{ROOM} of {int(CARD_GIB * GIB)}"]
    assert 0 < count.peak_gib <= 8 / 1024 and count.refused == 0


def test_a_card_that_is_smaller_than_the_limit_stays_as_it_is(folder: Path) -> None:
    with limited_card(200.0):
        assert answers(folder, "info", "size") == [f"{100 * GIB - 1024} of {100 * GIB}", str(100 * GIB)]


def test_the_log_has_a_line_for_each_process_that_allocated(folder: Path) -> None:
    with limited_card(CARD_GIB) as log:
        answers(folder, "malloc:1024", "fork")
        answers(folder, f"malloc:{ROOM + 1}", way="opened")
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        counts = log.counts()
    assert [(count.peak_gib * GIB, count.refused) for count in counts] == [(1024, 0), (0, 1)]
    assert "LD_PRELOAD" not in os.environ


def test_what_was_preloaded_before_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", str(folder / "libcudart.so.13"))
    with limited_card(CARD_GIB):
        assert os.environ["LD_PRELOAD"].endswith(f":{folder / 'libcudart.so.13'}")
        assert answers(folder, f"malloc:{ROOM + 1}") == ["2"]
    assert os.environ["LD_PRELOAD"] == str(folder / "libcudart.so.13")


def test_torch_is_bound_to_the_limit(tmp_path: Path) -> None:
    """The allocator of the installed torch, as far as the loader shows it without a card."""
    library = Path(torch.__file__).parent / "lib" / "libc10_cuda.so"
    command = [sys.executable, "-c", f"import ctypes; ctypes.CDLL({str(library)!r})"]
    with limited_card(CARD_GIB):
        environment = os.environ | {"LD_DEBUG": "bindings", "LD_BIND_NOW": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    bound = [line for line in done.stderr.splitlines() if "libc10_cuda.so" in line and "to /" in line]
    limited = {line.split("`")[1].split("'")[0] for line in bound if "/card_limit.so" in line}
    assert limited == {
        "cudaMalloc",
        "cudaFree",
        "cudaMemGetInfo",
        "cudaGetDeviceProperties",
        "cudaGetDriverEntryPointByVersion",
    }


def test_a_log_that_nobody_wrote_is_empty(tmp_path: Path) -> None:
    assert LimitLog(tmp_path / "log").counts() == []
