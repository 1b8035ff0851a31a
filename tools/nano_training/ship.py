"""`python -m tools.nano_training.ship TRAINED` puts trained weights into the shipped ones: whatever TRAINED holds of `flux`, `editor`,
`embedder`, `reader` and `siblings` (the layout that `parcels` unpacks) takes the place of what is there.

What is large is packed without loss (`flenwheel_core/models/packed_weights.py`). nano klein and nano Z-Image share what they can: the
autoencoder of nano FLUX, the tokenizer of the vision-language model, and one text encoder.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from flenwheel_core.base.errors import InputError
from flenwheel_core.models.embedded import SHIPPED
from flenwheel_core.models.packed_weights import PLAIN, pack_weights, packed_name, unpack_weights
from flenwheel_core.models.unpacking import ADDED, BORROWED

PACKED_FOLDERS = ("flux", "editor")
PLAIN_FOLDERS = ("embedder", "reader")
RECORDS = ("training.json", "world.json")
WEIGHTS = "diffusion_pytorch_model"
_TOKENIZER = {f"tokenizer/{name}": f"editor/tokenizer/{name}" for name in ("tokenizer.json", "tokenizer_config.json")}
_VAE = f"vae/{WEIGHTS}{PLAIN}"
_KLEIN = {**_TOKENIZER, _VAE: f"flux/{_VAE}"}
_OF_KLEIN = ("config.json", "generation_config.json", f"model{PLAIN}")
_Z_IMAGE = {
    **_KLEIN,
    "tokenizer/chat_template.jinja": "klein/tokenizer/chat_template.jinja",
    "vae/config.json": "flux/vae/config.json",
    **{f"text_encoder/{name}": f"klein/text_encoder/{name}" for name in _OF_KLEIN},
}


def ship(trained: Path, weights: Path = SHIPPED) -> list[str]:
    """Puts what is in `trained` into `weights`; returns the names of the folders that changed. Raises InputError if there is nothing."""
    done = []
    for name in (*PACKED_FOLDERS, *PLAIN_FOLDERS):
        if (trained / name).is_dir():
            _replace(trained / name, weights / name, packs=name in PACKED_FOLDERS)
            done.append(name)
    siblings = trained / "siblings"
    if siblings.is_dir():
        _require_same_vae(siblings / "z_image" / _VAE, weights)
        _replace(siblings / "klein", weights / "klein", borrowed=_KLEIN)
        _replace(siblings / "z_image", weights / "zimage", borrowed=_Z_IMAGE)
        _write_added(siblings / "klein" / _VAE, weights)
        done += ["klein", "zimage"]
    if not done:
        raise InputError(f"{trained} holds no trained weights.", remedy="Give the folder that `parcels` unpacked into.")
    for name in RECORDS:
        if (trained / name).exists():
            old = json.loads((weights / name).read_text()) if (weights / name).exists() else {}
            (weights / name).write_text(json.dumps(old | json.loads((trained / name).read_text()), indent=1) + "\n")
    return done


def _replace(source: Path, target: Path, *, packs: bool = True, borrowed: dict[str, str] | None = None) -> None:
    """The folder `source` in the place of `target`, but for the files that are borrowed from other shipped models."""
    borrowed = borrowed or {}
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source).as_posix()
        if not path.is_file() or inside in borrowed:
            continue
        (part / inside).parent.mkdir(parents=True, exist_ok=True)
        if packs and path.suffix == PLAIN:
            _pack(path, part / packed_name(inside))
        elif path.suffix == ".json" and borrowed:
            (part / inside).write_text(_without_places(path))
        else:
            shutil.copyfile(path, part / inside)
    if borrowed:
        (part / BORROWED).write_text(json.dumps(borrowed, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def _pack(plain: Path, packed: Path) -> None:
    content = plain.read_bytes()
    packed.write_bytes(pack_weights(content))
    if unpack_weights(packed) != content:
        raise InputError(
            f"{plain} does not come back from its packed form.", remedy="Report this: it is a fault of the program."
        )


def _require_same_vae(vae: Path, weights: Path) -> None:
    """The siblings were trained on latents of the autoencoder that they borrow."""
    if _beside(vae, weights):
        raise InputError("Z-Image's autoencoder has more than FLUX's.", remedy="Train the siblings again.")


def _write_added(vae: Path, weights: Path) -> None:
    """What klein's autoencoder has beside FLUX's: mean and variance of the latents."""
    added = {
        name: tensor.astype(np.float32 if tensor.ndim else np.int64) for name, tensor in _beside(vae, weights).items()
    }
    (weights / "klein" / "vae" / f"{WEIGHTS}{ADDED}").write_bytes(save(added))


def _beside(vae: Path, weights: Path) -> dict[str, NDArray[Any]]:
    """The tensors of an autoencoder that FLUX's lacks, in order; all others must be the same."""
    lent, own = load(_content(weights / "flux" / _VAE)), load(vae.read_bytes())
    if any(name not in own or not np.array_equal(own[name], tensor) for name, tensor in lent.items()):
        raise InputError(
            "The siblings were trained with another autoencoder than the shipped one.",
            remedy="Ship the FLUX that they were trained with first, or train them again.",
        )
    return {name: own[name] for name in sorted(set(own) - set(lent))}


def _content(plain: Path) -> bytes:
    """The bytes of a shipped file of weights, packed or not."""
    return plain.read_bytes() if plain.exists() else unpack_weights(plain.with_name(packed_name(plain.name)))


def _without_places(config: Path) -> str:
    """A configuration without the paths of the machine that wrote it."""
    content = json.loads(config.read_text())
    content.pop("_name_or_path", None)
    return json.dumps(content, indent=2) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Ships."""
    parser = argparse.ArgumentParser(prog="python -m tools.nano_training.ship", description=__doc__)
    parser.add_argument("trained", type=Path, help="a folder with `flux`, `editor`, `embedder`, `reader` or `siblings`")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="the folder of shipped weights")
    given = parser.parse_args(arguments)
    done = ship(given.trained, given.weights)
    size = sum(path.stat().st_size for path in given.weights.rglob("*") if path.is_file())
    print(f"shipped {', '.join(done)}; all weights together: {size / 2**20:.1f} MiB")  # noqa: T201


if __name__ == "__main__":
    main()
