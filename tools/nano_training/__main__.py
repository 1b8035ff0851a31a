"""`python -m tools.nano_training PART ...` makes the nano weights from nothing.

Parts, in the order in which they need each other (they wait for each other's files, so all may be started at once):
tokenizers · data · vae, qwen-vae, vlm, embedder, reader · flux (after vae), editor (after qwen-vae and vlm).
siblings (FLUX.2 klein and Z-Image) needs only data: it takes the shipped autoencoder and tokenizer.
"""

import argparse
import importlib
import time
from pathlib import Path

from flenwheel_core.nano.world.version import WORLDS, shipped_world

PARTS = {
    "tokenizers": "tools.nano_training.tokenizer_run",
    "vae": "tools.nano_training.vae",
    "qwen-vae": "tools.nano_training.qwen_vae",
    "flux": "tools.nano_training.flux_run",
    "editor": "tools.nano_training.editor_run",
    "vlm": "tools.nano_training.vlm",
    "embedder": "tools.nano_training.embedder",
    "reader": "tools.nano_training.reader",
    "siblings": "tools.nano_training.siblings_run",
}
BATCH = {
    "vae": 16,
    "qwen-vae": 16,
    "flux": 256,
    "editor": 256,
    "vlm": 400,
    "embedder": 512,
    "reader": 400,
    "siblings": 160,
}


def main() -> None:
    """Parses the command line and runs one part; each part's module has a `run`."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m tools.nano_training", description=__doc__)
    parser.add_argument("part", choices=("data", *PARTS))
    parser.add_argument("--data", type=Path, required=True, help="folder of rendered pictures and captions")
    parser.add_argument("--work", type=Path, required=True, help="folder for models, latents, checkpoints")
    parser.add_argument("--seconds", type=float, default=540, help="the process ends after about this time")
    parser.add_argument(
        "--whole-seconds",
        type=float,
        help="of siblings: seconds of learning in all, where they take several calls of --seconds each",
    )
    parser.add_argument("--unguided", action="store_true", help="of siblings: leave guidance to those who draw")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--max-steps", type=int, help="stop after this many steps, whatever the time")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument(
        "--characters", type=int, default=12_000, help="of the part data: how many characters to render"
    )
    parser.add_argument(
        "--init", type=Path, help="start from this finished folder of the part, with a lower learning rate"
    )
    parser.add_argument("--named", type=int, default=256, help="of data and siblings: how many characters have names")
    parser.add_argument(
        "--named-pictures", type=int, default=120, help="of data and siblings: pictures of each of them"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--world", type=int, choices=WORLDS, default=shipped_world(), help="which nano world is learned"
    )
    given = parser.parse_args()

    if given.part == "data":
        from tools.nano_training.data import make_data
        from tools.nano_training.names import FOLDER, make_names

        make_data(given.data, characters=given.characters, workers=given.workers, world=given.world)
        named = min(given.named, given.characters)
        make_names(
            given.data / FOLDER,
            characters=named,
            workers=given.workers,
            pictures=given.named_pictures,
            world=given.world,
        )
        return

    import torch

    from flenwheel_core.kernels.attention import learn_through_other_modules
    from tools.nano_training.workspace import Run

    if given.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        # Its backward pass writes out of bounds when the gradient is a strided slice, as in FLUX's single blocks.
        learn_through_other_modules()
    run = Run(
        data=given.data,
        work=given.work,
        seconds=given.seconds,
        started=started,
        device=torch.device(given.device),
        batch=given.batch or BATCH.get(given.part, 256),
        max_steps=given.max_steps,
        workers=given.workers,
        seed=given.seed,
        init=given.init,
        named=given.named,
        named_pictures=given.named_pictures,
        whole_seconds=given.whole_seconds,
        guides=not given.unguided,
        world=given.world,
    )
    importlib.import_module(PARTS[given.part]).run(run)


if __name__ == "__main__":
    main()
