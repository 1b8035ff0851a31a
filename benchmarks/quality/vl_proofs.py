"""The proofs of `flenwheel vl prove` at full size, on a folder with random weights: a row a proof and model.

python -m benchmarks.quality.vl_proofs --model qwen2.5-vl-7b --folder /tmp/vl7b       # about two minutes on an H200
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.result_file import RESULTS, Row, write_part
from benchmarks.speed.vl_folder import vl_folder
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.models.qwen_vl.proofs import prove
from flenwheel_core.models.qwen_vl.trainer import VlModel


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="qwen2.5-vl-7b", help="written into the folder where it is not there yet")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--weights", choices=("nf4", "int8", "bf16"), default="nf4")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f}] {text}", flush=True)

    folder = vl_folder(arguments.folder, arguments.model)
    say(f"{folder} is there")
    model = VlModel.find(folder, str(folder), Settings())
    hooks = TrainHooks(lambda: False, lambda step, loss: say(f"step {step}: {loss:.4f}"), say, say)
    with tempfile.TemporaryDirectory() as work:
        for proof in prove(model, Path(work), arguments.weights, hooks):
            row: Row = {
                "case": f"{arguments.model}_{arguments.weights}_{proof.name}",
                "model": arguments.model,
                "weights": arguments.weights if torch.cuda.is_available() else "float32",
                "proof": proof.name,
                "holds": proof.holds,
                "said": proof.said,
            }
            say(str(row))
            write_part("vl_proofs", [row], folder=arguments.out)


if __name__ == "__main__":
    main()
