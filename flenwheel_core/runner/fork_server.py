"""Starts stages by forking a process that has imported their libraries: `python -m flenwheel_core.runner.fork_server`.

A stage spends most of its first seconds on imports (torch, diffusers, transformers); a fork has them at once. Every stage still has a
process of its own, with its own CUDA context, and a crash takes nothing else down. The server computes nothing and never touches the card,
because neither CUDA's state nor threads survive a fork; if importing started either, it says why and serves nothing.

It speaks over the socket that is its standard input. A request is one message: a JSON object {"argv", "environment", "folder"}, and with it
three file descriptors: of standard output, of standard error, and of a pipe into which the process id goes and, after the end, the exit
code. The server ends when the other end is closed, or after `IDLE_SECONDS` without a stage.
"""

import ctypes
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from flenwheel_core.runner import worker
from flenwheel_core.runner.forked import LARGEST_REQUEST, PADDING, READY
from flenwheel_core.runner.stage import STAGES

IDLE_SECONDS = 120.0
CHECK_BY_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"
_NOT_INITIALIZED = 3
"""CUDA_ERROR_NOT_INITIALIZED: nobody called cuInit in this process yet."""
_COMMON = (
    "torch._inductor.compile_fx",
    "torch.distributed.fsdp",
    "torchvision.transforms.v2",
    "scipy.fftpack",
    "scipy.optimize",
    "accelerate",
    "peft",
    "sentencepiece",
    "transformers.generation",
    "transformers.models.clip.modeling_clip",
    "transformers.models.t5.modeling_t5",
    "transformers.models.qwen2_vl.image_processing_qwen2_vl",
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
    "diffusers.loaders.peft",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.autoencoders.autoencoder_kl_qwenimage",
    "diffusers.models.transformers.transformer_flux",
    "diffusers.models.transformers.transformer_qwenimage",
    "diffusers.pipelines.flux.pipeline_flux",
    "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus",
    "diffusers.schedulers.scheduling_flow_match_euler_discrete",
)
"""What stages import when they open models. One that this version of a library lacks is passed over."""


def import_libraries(*, card: bool) -> None:
    """Imports what stages need, without initializing CUDA."""
    if not card:
        cast("dict[str, object]", sys.modules).setdefault("bitsandbytes", None)  # as the worker does off a card
    else:
        _import_bitsandbytes()
    for stage in STAGES.values():
        stage.load_body()
    for name in _COMMON:
        try:
            importlib.import_module(name)
        except ImportError:
            continue


def _import_bitsandbytes() -> None:
    """bitsandbytes asks PyTorch for the card's capability, which would initialize CUDA: it is answered by the driver's library instead."""
    import torch

    ask = torch.cuda.get_device_capability
    torch.cuda.get_device_capability = lambda device=None: _capability()
    try:
        importlib.import_module("bitsandbytes")
    except ImportError:
        return
    finally:
        torch.cuda.get_device_capability = ask


def _capability() -> tuple[int, int]:
    """The compute capability of the first card, from NVML, which needs no CUDA; (8, 0) where it cannot be read."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 8, 0
    card, major, minor = ctypes.c_void_p(), ctypes.c_int(8), ctypes.c_int(0)
    nvml.nvmlInit_v2()
    if nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(card)) == 0:
        nvml.nvmlDeviceGetCudaComputeCapability(card, ctypes.byref(major), ctypes.byref(minor))
    nvml.nvmlShutdown()
    return major.value, minor.value


def why_unfit() -> str:
    """Why this process must not be forked; empty if it may."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        return f"{threads - 1} threads run beside the first one"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA is initialized"
    try:
        driver = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return ""
    count = ctypes.c_int()
    return "" if driver.cuDeviceGetCount(ctypes.byref(count)) == _NOT_INITIALIZED else "the CUDA driver is initialized"


def serve(requests: socket.socket) -> Callable[[], int] | None:
    """Forks a stage for every request until the other end closes. Returns None then, and in a fork what that fork has to run."""
    running: dict[int, int] = {}
    ended, end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    last = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while running or time.monotonic() - last < IDLE_SECONDS:
            for key, _ in selector.select(timeout=IDLE_SECONDS):
                if key.fileobj == ended:
                    os.read(ended, 4096)
                    _tell_ends(running)
                    last = time.monotonic()
                    continue
                message, descriptors, _flags, _address = socket.recv_fds(requests, LARGEST_REQUEST, 3)
                if not message:
                    return None
                output, errors, status = descriptors
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for other in (*running.values(), ended, end, status):
                        os.close(other)
                    requests.close()
                    return lambda: _stage(json.loads(message), output, errors)
                os.close(output)
                os.close(errors)
                running[pid] = status
                os.write(status, f"{pid}\n".encode())
    return None


def _tell_ends(running: dict[int, int]) -> None:
    """Writes the exit code of every stage that ended to whoever asked for it."""
    for pid in tuple(running):
        done, state = os.waitpid(pid, os.WNOHANG)
        if done:
            status = running.pop(pid)
            with suppress(BrokenPipeError):  # who asked is gone
                os.write(status, f"{os.waitstatus_to_exitcode(state)}\n".encode())
            os.close(status)


def _stage(request: dict[str, object], output: int, errors: int) -> int:
    """Runs a stage in a fork: its own standard streams, environment and command line."""
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (errors, 2)):
        os.dup2(source, target)
        os.close(source)
    argv = cast("list[str]", request["argv"])
    environment = cast("dict[str, str]", request["environment"])
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    folder = cast(str, request["folder"])
    if sys.path[0] == str(Path.cwd()):
        sys.path[0] = folder  # where `python -m` looks first
    os.chdir(folder)
    sys.argv[1:] = argv
    _show_command(["python", "-m", "flenwheel_core.runner.worker", *argv])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return worker.main(argv)


def _show_command(argv: list[str]) -> None:
    """Writes a command line over this process's own, for `ps`; shortened to the room that there is."""
    if PADDING not in sys.orig_argv:
        return
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = (
        int(fields[45]),
        int(fields[46]),
    )  # arg_start and arg_end are fields 48 and 49, and 2 stand before the bracket
    room = end - start
    text = b"\0".join(part.encode() for part in argv)[: room - 1]
    ctypes.memmove(start, text + bytes(room - len(text)), room)


def main() -> int:
    """Imports, says whether stages can be forked from here, and forks them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the stages too, and they know what to do
    requests = socket.socket(fileno=0)
    card = "cpu" not in sys.argv[1:]
    os.environ.setdefault(CHECK_BY_NVML, "1")
    import_libraries(card=card)
    unfit = why_unfit()
    requests.send((unfit or READY).encode())
    if unfit:
        return 1
    run = serve(requests)
    return 0 if run is None else run()


if __name__ == "__main__":
    sys.exit(main())
