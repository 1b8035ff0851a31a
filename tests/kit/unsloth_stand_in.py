"""Stands in for Unsloth where it is not installed: the same two calls, by transformers and PEFT. What it trains is trained in earnest."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class FastVisionModel:
    """Loads and adapts as Unsloth does, without its kernels."""

    @staticmethod
    def from_pretrained(name: str, *, dtype: Any, random_state: int, **_: Any) -> tuple[Any, Any]:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        network = AutoModelForImageTextToText.from_pretrained(
            name, local_files_only=True, use_safetensors=True, dtype=dtype
        )
        return network, AutoProcessor.from_pretrained(name, local_files_only=True)

    @staticmethod
    def get_peft_model(
        network: Any, *, r: int, lora_alpha: float, target_modules: str, random_state: int, **_: Any
    ) -> Any:
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(random_state)
        return get_peft_model(network, LoraConfig(r=r, lora_alpha=lora_alpha, target_modules=target_modules))

    @staticmethod
    def for_training(network: Any) -> Any:
        return network


def main() -> None:
    """As an interpreter that is asked to run `-I WORKER JOB`."""
    worker, job = sys.argv[-2:]
    module: Any = ModuleType("unsloth")
    module.FastVisionModel, module.__version__ = FastVisionModel, "stand-in"
    sys.modules["unsloth"] = module
    sys.argv = [worker, job]
    exec(compile(Path(worker).read_text(), worker, "exec"), {"__name__": "__main__", "__file__": worker})


def write_interpreter(path: Path) -> Path:
    """A file that can be named as the interpreter with Unsloth."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "$@"\n')
    path.chmod(0o755)
    return path


if __name__ == "__main__":
    main()
