"""Trained weights as a few files of limited size, carried from the machine that trained them without what is there already.

`python -m tools.nano_training.parcels --pack WORK OUT` packs what trainings left in WORK; `together` does it by itself.
`python -m tools.nano_training.parcels OUT TARGET` unpacks it, in the layout of the shipped weights, for `ship`.
"""

import argparse
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from flenwheel_core.base.errors import InputError
from flenwheel_core.models.digests import folder_digest
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.world.version import WORLDS, shipped_world

NAME = "weights.tar.gz"
PART_BYTES = 15 * 2**20
SHIPPED = ("flux/vae", "editor/vae")
"""Parts that training from finished weights leaves as they are."""
TWICE = ("siblings/z_image/vae", "siblings/z_image/text_encoder")
"""Parts of Z-Image that are FLUX's and klein's: written anew when they are unpacked."""
FOLDERS = ("flux", "editor", "embedder", "reader", "siblings")
RECORDS = ("flux", "vlm", "editor", "embedder", "reader", "siblings", "siblings_check")


def collect(work: Path, out: Path, world: int) -> list[str]:
    """Copies what is finished so far into `out`, in the layout of the shipped weights; returns the folders."""
    found = []
    for name in FOLDERS:
        source, target = work / name, out / name
        if name == "siblings" and not source.is_dir():  # guidance comes last, and not in short runs
            source = work / "siblings_base"
        if not source.is_dir():
            continue
        part = target.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            shutil.copytree(source, part)
        except (OSError, shutil.Error):  # it is being written; the next round finds it whole
            shutil.rmtree(part, ignore_errors=True)
            continue
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        found.append(name)
    records = {
        name: json.loads((work / f"{name}.json").read_text()) for name in RECORDS if (work / f"{name}.json").exists()
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "training.json").write_text(json.dumps(records, indent=1) + "\n")
    (out / "world.json").write_text(json.dumps({"world": world}) + "\n")
    return found


def pack(folder: Path, out: Path, *, fresh: bool, part_bytes: int = PART_BYTES) -> list[Path]:
    """Writes `folder` into numbered parts of an archive in `out`, replacing older ones; `fresh` weights hold new autoencoders too."""
    left_out = (*TWICE, *(() if fresh else SHIPPED))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not any(name.startswith(f"{part}/") for part in left_out):
                archive.add(path, name)
    content = buffer.getvalue()
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, start in enumerate(range(0, len(content), part_bytes)):
        part = out / f"{NAME}.{number:02d}"
        whole = part.with_suffix(".writing")
        whole.write_bytes(content[start : start + part_bytes])
        whole.replace(part)
        parts.append(part)
    for stale in set(out.glob(f"{NAME}.??")) - set(parts):
        stale.unlink()
    return parts


def has_new_autoencoders(folder: Path) -> bool:
    """True if an autoencoder in `folder` is not the shipped one: whoever unpacks would get the shipped one in its place."""
    for name in SHIPPED:
        part, _, vae = name.partition("/")
        if (folder / name).is_dir() and folder_digest(folder / name) != folder_digest(weights_folder(part) / vae):  # type: ignore[arg-type]
            return True
    return False


def unpack(folder: Path, target: Path) -> None:
    """Joins the parts in `folder` and completes what was left out, into `target`."""
    content = b"".join(part.read_bytes() for part in sorted(folder.glob(f"{NAME}.??")))
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive.getmembers():
            path = target / member.name
            file = archive.extractfile(member)
            if file is None or not path.resolve().is_relative_to(target.resolve()):
                raise InputError(f"{member.name} in {folder} is no file of weights.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read())
    for name in SHIPPED:
        part, _, vae = name.partition("/")
        if (target / part).is_dir() and not (target / name).exists():
            shutil.copytree(weights_folder(part) / vae, target / name)  # type: ignore[arg-type]
    klein, z_image = (target / "siblings" / name for name in ("klein", "z_image"))
    if klein.is_dir():
        own = target / "flux" / "vae"
        shutil.copytree(own if own.is_dir() else weights_folder("flux") / "vae", z_image / "vae", dirs_exist_ok=True)
        _write_encoder(klein / "text_encoder", z_image / "text_encoder")


def _write_encoder(klein: Path, z_image: Path) -> None:
    """klein's text encoder as Z-Image holds it: the body without a head for words."""
    import torch
    from transformers import Qwen3ForCausalLM

    encoder = Qwen3ForCausalLM.from_pretrained(klein, dtype=torch.bfloat16, use_safetensors=True)
    encoder.model.save_pretrained(z_image)


def main(arguments: Sequence[str] | None = None) -> None:
    """Packs or unpacks."""
    parser = argparse.ArgumentParser(prog="python -m tools.nano_training.parcels", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--pack", action="store_true", help="pack what trainings left in FOLDER, into TARGET")
    parser.add_argument(
        "--world", type=int, choices=WORLDS, default=shipped_world(), help="of --pack: the world learned"
    )
    given = parser.parse_args(arguments)
    if not given.pack:
        unpack(given.folder, given.target)
        return
    made = collect(given.folder, given.folder / "kept", given.world)
    kept = given.folder / "kept"
    fresh = has_new_autoencoders(kept)
    parts = pack(kept, given.target, fresh=fresh)
    taken = "their new autoencoders" if fresh else "no autoencoders: those are the shipped ones"
    print(f"packed {', '.join(made)} into {len(parts)} files, with {taken}")  # noqa: T201


if __name__ == "__main__":
    main()
