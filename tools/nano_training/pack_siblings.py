"""`python -m tools.nano_training.pack_siblings WORK/siblings` makes the shipped folders of nano klein and nano Z-Image from trained ones.

They share what they can: the autoencoder of nano FLUX, the tokenizer of the vision-language model, and one text encoder. What is their
own is rounded to `--most` whole numbers on either side of zero, row by row.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from flenwheel_core.models.packed_weights import HALVES, ROWS, halves_of, pack_halves, pack_rows
from flenwheel_core.models.unpacking import ADDED, BORROWED

MOST = 31
WEIGHTS = Path(__file__).parents[2] / "flenwheel_core" / "nano" / "weights"
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model.safetensors", "model.safetensors"
_TOKENIZER = {f"tokenizer/{name}": f"editor/tokenizer/{name}" for name in ("tokenizer.json", "tokenizer_config.json")}
_VAE = {f"vae/{DIFFUSERS}": f"flux/vae/{DIFFUSERS}"}
_ENCODER = ("config.json", "generation_config.json", ROWS)


def pack(trained: Path, weights: Path, *, most: int) -> None:
    """Writes `klein` and `zimage` into the folder of shipped weights, over what is there."""
    for source, target, borrowed in (
        (trained / "klein", weights / "klein", {**_TOKENIZER, **_VAE}),
        (
            trained / "z_image",
            weights / "zimage",
            {
                **_TOKENIZER,
                **_VAE,
                "tokenizer/chat_template.jinja": "klein/tokenizer/chat_template.jinja",
                "vae/config.json": "flux/vae/config.json",
                **{f"text_encoder/{file}": f"klein/text_encoder/{file}" for file in _ENCODER},
            },
        ),
    ):
        shutil.rmtree(target, ignore_errors=True)
        for path in sorted(source.rglob("*")):
            inside = path.relative_to(source).as_posix()
            rows = inside.rpartition("/")[0] + f"/{ROWS}"
            if not path.is_file() or inside in borrowed or rows in borrowed:
                continue
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".safetensors":
                pack_rows(load_file(path), target / rows, most=most)
            elif path.suffix == ".json":
                (target / inside).write_text(_without_places(path))
            else:
                shutil.copyfile(path, target / inside)
        (target / BORROWED).write_text(json.dumps(borrowed, indent=1, sort_keys=True) + "\n")
    lent = set(load_file(weights / "flux" / "vae" / DIFFUSERS))
    own = load_file(trained / "klein" / "vae" / DIFFUSERS)
    added = {name: tensor.astype(np.float32 if tensor.ndim else np.int64) for name, tensor in own.items()}
    save_file({name: added[name] for name in sorted(set(own) - lent)}, weights / "klein" / "vae" / ADDED)


def pack_exactly(weights: Path, *, part: str) -> None:
    """Puts the weights of a shipped part, such as `flux/transformer`, into fewer bytes, from which they come back byte for byte."""
    plain = weights / part / DIFFUSERS
    packed = plain.with_name(HALVES)
    pack_halves(plain.read_bytes(), packed)
    assert halves_of(packed) == plain.read_bytes()
    plain.unlink()


def _without_places(config: Path) -> str:
    """A configuration without the paths of the machine that wrote it."""
    content = json.loads(config.read_text())
    content.pop("_name_or_path", None)
    return json.dumps(content, indent=2) + "\n"


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.nano_training.pack_siblings", description=__doc__)
    parser.add_argument(
        "trained", type=Path, nargs="?", help="folder of `klein` and `z_image`; none: leave them as they are"
    )
    parser.add_argument(
        "--exactly", metavar="PART", help="a shipped part to pack without loss, such as editor/transformer"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--most", type=int, default=MOST)
    given = parser.parse_args()
    if given.trained is not None:
        pack(given.trained, given.weights, most=given.most)
    if given.exactly:
        pack_exactly(given.weights, part=given.exactly)


if __name__ == "__main__":
    main()
