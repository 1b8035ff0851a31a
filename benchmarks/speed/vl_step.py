"""One training step of a LoRA on a Qwen-VL's language layers at full size: seconds and memory, ours and the usual way.

Weights are random in the real shapes: neither speed nor memory depends on their values. NF4, rank 64, one picture of 256 tokens with 476
tokens of text a sample, of which 60 are the answer. A step is forward, backward, clipping and optimizer. Ours recomputes every layer
(`kept`: none), has pictures' features from its cache, and logits of the answers alone; the usual way is `vl_world.UsualWay`.

    python -m benchmarks.speed.vl_step --model qwen2.5-vl-7b              # about two minutes on an H200
    python -m benchmarks.speed.vl_step --model tiny-qwen2.5 --out /tmp/results    # try the code on a CPU
"""

import argparse
import gc
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.result_file import RESULTS, Row, write_part
from benchmarks.speed.edit_world import profile
from benchmarks.speed.vl_world import CONFIGS, UsualWay, random_lab
from flenwheel_core.models.qwen_vl.batch_memory import USUAL, MemoryCase, MemoryLab

OURS = {
    "ours_b1": USUAL,
    "ours_b4": replace(USUAL, batch=4),
    "ours_b1_kept": replace(USUAL, recomputed=0.0),
    "ours_b4_kept": replace(USUAL, batch=4, recomputed=0.0),
}
USUAL_WAY = {"usual_b1": USUAL, "usual_b4": replace(USUAL, batch=4)}
TINY = {"picture_tokens": 16, "text_tokens": 110, "rank": 4}
_PREFIX = {"qwen3-vl-8b": "qwen3_", "tiny-qwen3": "qwen3_"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", choices=CONFIGS, default="qwen2.5-vl-7b")
    parser.add_argument("--cases", nargs="*", default=[*OURS, *USUAL_WAY])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--profile", action="store_true", help="also write where the time of ours_b1 goes")
    arguments = parser.parse_args()
    began = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = arguments.model.startswith("tiny")

    def sized(case: MemoryCase) -> MemoryCase:
        return replace(case, **TINY) if small else case  # type: ignore[arg-type]

    def keep(case: str, row: Row) -> None:
        facts = {key: value for key, value in row.items() if key != "case"}
        made: Row = {"case": _PREFIX.get(arguments.model, "") + case, "model": arguments.model, **facts}
        print(f"[{time.monotonic() - began:6.1f}] {made}", flush=True)
        write_part("vl_step", [made], folder=arguments.out)

    ours = [case for case in OURS if case in arguments.cases]
    if ours:
        lab: MemoryLab | None = random_lab(arguments.model, device, "nf4")
        assert lab is not None
        for case in ours:
            keep(case, lab.row(sized(OURS[case])))
        if arguments.profile:
            profile(lab.stepper(sized(USUAL)), arguments.out / f"vl_step_{arguments.model}.txt")
        lab = None
        gc.collect()
    usual = [case for case in USUAL_WAY if case in arguments.cases]
    if usual:
        way = UsualWay(arguments.model, device, sized(USUAL).rank)
        for case in usual:
            keep(case, way.row(sized(USUAL_WAY[case])))


if __name__ == "__main__":
    main()
