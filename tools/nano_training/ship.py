"""`python -m tools.nano_training.ship TRAINED` puts trained weights into the shipped ones: whatever TRAINED holds of `flux`, `editor`,
`embedder`, `reader` and `siblings` (the layout that `parcels` unpacks) takes the place of what is there.

What is large is packed without loss (`flenwheel_core/models/packed_weights.py`). nano klein and nano Z-Image share what they can: the
autoencoder of nano FLUX, the tokenizer of the vision-language model, and one text encoder.
"""

import argparse
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.models.embedded import SHIPPED
from flenwheel_core.models.packed_weights import PLAIN, pack_weights, packed_name, unpack_weights
from flenwheel_core.models.unpacking import ADDED, BORROWED, DIGESTS, with_added

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
    """Puts what is in `trained` into `weights`; returns the names of the folders that changed.

    Raises InputError, before anything is replaced, if there is nothing, or if siblings would borrow other files than those that
    they were trained with.
    """
    done = [name for name in (*PACKED_FOLDERS, *PLAIN_FOLDERS) if (trained / name).is_dir()]
    siblings = trained / "siblings"
    added: dict[str, NDArray[Any]] = {}
    if siblings.is_dir():
        lent = trained / "flux" / _VAE if "flux" in done else weights / "flux" / _VAE
        if _beside(siblings / "z_image" / _VAE, lent):
            raise InputError("Z-Image's autoencoder has more than FLUX's.", remedy="Train the siblings again.")
        added = _beside(siblings / "klein" / _VAE, lent)
        if not added:
            raise InputError("klein's autoencoder has no mean and variance.", remedy="Train the siblings again.")
    else:
        _require_same_lent(trained, weights, done)
    if not done and not added:
        raise InputError(f"{trained} holds no trained weights.", remedy="Give the folder that `parcels` unpacked into.")
    for name in done:
        _replace(trained / name, weights / name, packs=name in PACKED_FOLDERS)
    if added:
        _replace(siblings / "klein", weights / "klein", borrowed=_KLEIN, added=added)
        _replace(siblings / "z_image", weights / "zimage", borrowed=_Z_IMAGE)
        done += ["klein", "zimage"]
    for name in RECORDS:
        if (trained / name).exists():
            old = json.loads((weights / name).read_text()) if (weights / name).exists() else {}
            (weights / name).write_text(json.dumps(old | json.loads((trained / name).read_text()), indent=1) + "\n")
    return done


def _replace(
    source: Path,
    target: Path,
    *,
    packs: bool = True,
    borrowed: dict[str, str] | None = None,
    added: dict[str, NDArray[Any]] | None = None,
) -> None:
    """The folder `source` in the place of `target`, but for the files that are borrowed from other shipped models.

    `added` is what its autoencoder has beside the borrowed one.
    """
    borrowed, digests = borrowed or {}, {}
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source).as_posix()
        if not path.is_file() or inside in borrowed:
            continue
        (part / inside).parent.mkdir(parents=True, exist_ok=True)
        if packs and path.suffix == PLAIN:
            _pack(path, part / packed_name(inside))
            digests[inside] = digest_bytes(path.read_bytes())
        elif path.suffix == ".json" and borrowed:
            (part / inside).write_text(_without_places(path))
        else:
            shutil.copyfile(path, part / inside)
    if borrowed:
        lent = {
            inside: {"from": file, "sha256": _lent_digest(target.parent / file)} for inside, file in borrowed.items()
        }
        _write_table(part / BORROWED, lent)
    if added:
        plain = with_added(_content(target.parent / borrowed[_VAE]), added)
        (part / _VAE).with_name(f"{WEIGHTS}{ADDED}").write_bytes(save(added))
        digests[_VAE] = digest_bytes(plain)
    if digests:
        _write_table(part / DIGESTS, digests)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def _write_table(file: Path, table: Mapping[str, object]) -> None:
    file.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


def _require_same_lent(trained: Path, weights: Path, replaced: Collection[str]) -> None:
    """The siblings that stay know the files that they borrow: without a training of their own they must not get others."""
    for sibling in ("klein", "zimage"):
        table = weights / sibling / BORROWED
        for inside, lent in (json.loads(table.read_text()) if table.exists() else {}).items():
            file = trained / lent["from"]
            lost = lent["from"].partition("/")[0] in replaced and not file.exists()
            if lost or (file.exists() and digest_bytes(file.read_bytes()) != lent["sha256"]):
                raise InputError(
                    f"{sibling} borrows {inside} from {lent['from']}, and {trained} holds another one.",
                    why="it was trained with the one that is shipped, and would draw badly with any other.",
                    remedy="Ship siblings that were trained with the new one along, or take the klein and zimage folders away first.",
                )


def _pack(plain: Path, packed: Path) -> None:
    content = plain.read_bytes()
    packed.write_bytes(pack_weights(content))
    if unpack_weights(packed) != content:
        raise InputError(
            f"{plain} does not come back from its packed form.", remedy="Report this: it is a fault of the program."
        )


def _beside(vae: Path, flux: Path) -> dict[str, NDArray[Any]]:
    """The tensors of an autoencoder that FLUX's lacks, as they are shipped; all others must be the same."""
    lent, own = load(_content(flux)), load(vae.read_bytes())
    if any(name not in own or not np.array_equal(own[name], tensor) for name, tensor in lent.items()):
        raise InputError(
            "The siblings were trained with another autoencoder than the shipped one.",
            remedy="Ship the FLUX that they were trained with along, or train them again.",
        )
    return {name: own[name].astype(np.float32 if own[name].ndim else np.int64) for name in sorted(set(own) - set(lent))}


def _lent_digest(plain: Path) -> str:
    return digest_bytes(_content(plain))


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
