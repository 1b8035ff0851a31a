"""Which files make up a model: those that `model_index.json` or `config.json` stand for, and no others.

Repositories also hold single-file copies of all weights, other precisions and pickles: these are neither fetched, hashed nor loaded.
Weights are safetensors only.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flenwheel_core.base.errors import InputError, MissingWeightsError

PIPELINE_INDEX = "model_index.json"
CONFIGURATION = frozenset({".json", ".txt", ".model", ".jinja"})
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
_WEIGHTLESS = re.compile(r"Tokenizer|Processor|Scheduler|FeatureExtractor")
_ELSEWHERE = "Address"
"""How class names of models end that run on other machines: their folder holds an index and no weights."""
_LARGEST_INDEX = 64 * 2**20


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model."""

    names: tuple[str, ...]
    """In a fixed order, relative to the model's folder."""
    missing: tuple[str, ...]
    """Weights that are named or needed and not there."""
    pickled: tuple[str, ...]
    """Parts whose only weights are pickles, `.` for the model itself."""


def model_files(present: Collection[str], read: Callable[[str], bytes]) -> ModelFiles:
    """The files of the model in a listing; `read` gives the content of one of its JSON files.

    Raises InputError where an index is no JSON or names files outside of the model.
    """
    listing = frozenset(present)
    parts = list(_parts(listing, read))
    names = {PIPELINE_INDEX} & listing
    missing: list[str] = []
    pickled: list[str] = []
    for folder, needs_weights in parts:
        inside = {name for name in listing if _folder(name) == folder}
        names |= {name for name in inside if _is_configuration(name)}
        weights = _weights(folder, inside, read)
        names |= weights & listing
        if weights:
            missing += sorted(weights - listing)
        elif needs_weights and any(PurePosixPath(name).suffix in PICKLES for name in inside):
            pickled.append(folder or ".")
        elif needs_weights:
            missing.append(f"{folder}/*.safetensors" if folder else "*.safetensors")
    ordered = sorted(names, key=lambda name: PurePosixPath(name).parts)
    return ModelFiles(tuple(ordered), tuple(missing), tuple(pickled))


def folder_files(folder: Path) -> ModelFiles:
    """The files of a model in a folder of this machine, or of one part of a pipeline."""
    present = [
        path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_file()
    ]
    return model_files(present, lambda name: (folder / name).read_bytes())


def require_loadable(folder: Path, name: str) -> None:
    """Raises MissingWeightsError or InputError for a model that cannot be loaded; nothing is loaded to find out."""
    if not any((folder / index).is_file() for index in (PIPELINE_INDEX, "config.json")):
        raise InputError(
            f"{folder} is not a model folder.",
            why=f"it has neither {PIPELINE_INDEX} nor config.json.",
            remedy="Give a folder in diffusers or transformers format, or hub-id@revision.",
        )
    files = folder_files(folder)
    if files.pickled:
        raise MissingWeightsError(
            f"The model {name} has weights as pickle only, in {', '.join(files.pickled)}.",
            why="a pickle can run code; only safetensors are loaded.",
            remedy="Take a revision with .safetensors files, or convert them once with `save_pretrained`.",
        )
    if files.missing:
        raise MissingWeightsError(
            f"The model {name} is incomplete: {', '.join(files.missing[:3])} {'is' if len(files.missing) == 1 else 'are'} missing.",
            why=f"there is nothing of that name in {folder}.",
            remedy="Fetch it again (flenwheel models fetch RECIPE), or copy the whole folder.",
        )
    for damaged in (file for file in files.names if file.endswith(".safetensors") and not is_whole(folder / file)):
        raise MissingWeightsError(
            f"The model {name} is damaged: {damaged} is no whole safetensors file.",
            why="the copy broke off, or it is a Git LFS pointer instead of the weights.",
            remedy="Copy or fetch that file again.",
        )


def is_whole(path: Path) -> bool:
    """True if a safetensors file is as long as its header says; only the header is read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False
    return 8 + length + max(ends, default=0) == size


def _parts(listing: frozenset[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, bool]]:
    """Each part's folder and whether it must hold weights: the components of a pipeline, or the model itself."""
    if PIPELINE_INDEX not in listing:
        yield "", "config.json" in listing
        return
    index = _json(PIPELINE_INDEX, read)
    if str(index.get("_class_name")).endswith(_ELSEWHERE):
        return
    for part, value in index.items():
        if part.startswith("_") or not isinstance(value, list) or len(value) != 2 or not all(value):
            continue
        _require_plain(part, PIPELINE_INDEX)
        yield part, not _WEIGHTLESS.search(str(value[1]))


def _weights(folder: str, inside: Collection[str], read: Callable[[str], bytes]) -> set[str]:
    """The safetensors that from_pretrained takes: transformers prefers one file, diffusers the index of several."""
    stem = f"{folder}/" if folder else ""
    for name, one_file_first in (("model", True), ("diffusion_pytorch_model", False)):
        one, index = f"{stem}{name}.safetensors", f"{stem}{name}.safetensors.index.json"
        if one in inside and (one_file_first or index not in inside):
            return {one}
        if index in inside:
            table = _json(index, read).get("weight_map")
            if not isinstance(table, dict) or not table or not all(isinstance(file, str) for file in table.values()):
                raise InputError(f"{index} names no weights.", remedy="Fetch or copy the model again.")
            for file in set(table.values()):
                _require_plain(file, index)
            return {stem + file for file in table.values()}
    return set()


def _is_configuration(name: str) -> bool:
    path = PurePosixPath(name)
    if ".index." in path.name:
        return path.name in ("model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json")
    return path.suffix in CONFIGURATION


def _folder(name: str) -> str:
    folder = str(PurePosixPath(name).parent)
    return "" if folder == "." else folder


def _require_plain(name: str, where: str) -> None:
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise InputError(f"{where} names {name!r}, which is no file beside it.", remedy="Do not use this model.")


def _json(name: str, read: Callable[[str], bytes]) -> dict[str, object]:
    data = read(name)
    try:
        content = json.loads(data) if len(data) <= _LARGEST_INDEX else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{name} of the model is no JSON table.", remedy="Fetch or copy the model again.")
    return content
