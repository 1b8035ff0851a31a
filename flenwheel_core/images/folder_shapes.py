"""Folders as other trainers lay them out: what in them is the character, and what is not.

Class pictures show others of the class, masks say what of a picture is learned, control pictures show no character at all,
and caches are numbers.
Each is told by the name of its folder or file; a picture that nothing speaks against is a picture of the character.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal

from flenwheel_core.images.names import same_letters

Role = Literal["class picture", "mask", "control picture", "sample", "thumbnail"]
_GUIDES = r"depth|canny|openpose|dwpose|line[_-]?art|soft[_-]?edge|hed|normal[_-]?maps?|seg|segmentation|scribble"
"""What pictures that guide a drawing are called after."""

_FOLDERS: tuple[tuple[str, Role], ...] = (
    (
        r"(?:.*[ _-])?(?:regs?|regulari[sz]ation)|(?:regs?|regulari[sz]ation)[ _-].*|class"
        r"|(?:reg|regulari[sz]ation|class)[ _-]?(?:images?|imgs?|pictures|data|dir)",
        "class picture",
    ),
    (r"(?:alpha[ _-]?|loss[ _-]?)?masks?|masks?[ _-]?(?:images?|data|dir)", "mask"),
    (r"_?controls?(?:[ _-]?(?:images?|data|dir|\d))?|conditioning(?:[ _-]?(?:images?|data|dir))?", "control picture"),
    (rf"(?:{_GUIDES})(?:[ _-]?(?:images?|maps?|masks?|data|dir))?", "control picture"),
    (r"@eadir|\.?thumbnails|#recycle|\$recycle\.bin", "thumbnail"),
)
_LABELS: tuple[tuple[str, Role], ...] = ((r"[-_.]masklabel", "mask"), (r"[-_.]condlabel", "control picture"))
_BESIDE: tuple[tuple[str, Role], ...] = (
    (r"[-_.](?:mask|alpha|matte)", "mask"),
    (rf"[-_.](?:{_GUIDES})", "control picture"),
)
"""`01_mask.png` is the mask of `01.png`, if that is there; on its own it may be somebody in a mask."""
_SAMPLES = re.compile(
    r"(?:.+_)?(?:e\d{6}|\d{6})_\d{2}_\d{14}(?:_\d+)?"  # kohya's scripts, musubi-tuner: epoch or step, prompt, time, seed
    r"|\d{13}__\d{9}_\d+"  # ai-toolkit: time, step, prompt
    r"|.*\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-training-sample-.*"  # OneTrainer
)
"""How trainers name what they draw while they train."""
_REPEATS = re.compile(r"(\d{1,4})_(\S.*)")
CACHE_SUFFIXES = frozenset({".npz", ".npy", ".safetensors", ".pt", ".pth", ".latent", ".cache"})
_CACHE_FOLDERS = frozenset({"_latent_cache", "_t_e_cache", "_clip_vision_cache"})
_MUSUBI_CACHE = re.compile(r".*_(?:\d{3,4}x\d{3,4}_\w+|\w+_te)\.safetensors", re.IGNORECASE)
_SPLITS = frozenset({"train", "validation", "valid", "test"})

WHY: dict[Role, str] = {
    "class picture": "left out: class pictures, by the name of their folder. They show others of the class, not the character.",
    "control picture": "left out: control pictures, by their names. They guide an edit and do not show the character.",
    "sample": "left out: samples that a trainer drew, by their names. They are no pictures of the character.",
    "thumbnail": "left out: thumbnails that another program keeps.",
}


def role_of(name: str, stems: frozenset[str]) -> Role | None:
    """What a picture is instead of one of the character; None for the character. `stems`: all pictures' names without suffix."""
    path = PurePosixPath(same_letters(name))
    for part in path.parts[:-1]:
        for pattern, role in _FOLDERS:
            if re.fullmatch(pattern, part):
                return role
    for pattern, role in _LABELS:
        if re.search(rf"{pattern}$", path.stem):
            return role
    for pattern, role in _BESIDE:
        beside = re.sub(rf"{pattern}$", "", path.stem)
        if beside not in ("", path.stem) and str(path.with_name(beside)) in stems:
            return role
    return "sample" if _SAMPLES.fullmatch(path.stem) else None


def masked_stems(mask: str) -> tuple[str, str]:
    """What `stem_of` may give for the picture of a mask: its path outside of folders of masks, with its whole name or without the mark."""
    path = PurePosixPath(stem_of(mask))
    masks = [pattern for pattern, role in _FOLDERS if role == "mask"]
    folders = [part for part in path.parts[:-1] if not any(re.fullmatch(pattern, part) for pattern in masks)]
    whole, bare = path.name, re.sub(r"[-_.](?:mask(?:label)?|alpha|matte)$", "", path.name)
    return str(PurePosixPath(*folders, whole)), str(PurePosixPath(*folders, bare or whole))


def stem_of(name: str) -> str:
    """A name as `role_of` looks it up."""
    return str(PurePosixPath(same_letters(name)).with_suffix(""))


def shape_of(names: Sequence[str], tables: Sequence[str]) -> tuple[str, ...]:
    """What the layout of a folder says, in sentences: whose it is, and what of it is not taken over."""
    said = []
    paths = [PurePosixPath(name) for name in names]
    folders = {part for path in paths for part in path.parts[:-1]}
    tool = _tool_of(paths, folders)
    if tool:
        said.append(f"The folder is laid out for {tool}.")
    repeats = sorted(folder for folder in folders if _REPEATS.fullmatch(folder))
    if repeats:
        said.append(
            f"Numbers before the names of folders ({', '.join(repeats[:3])}) are no weights here: every picture counts once."
        )
    splits = sorted({path.parts[0] for path in paths if len(path.parts) > 1 and path.parts[0].lower() in _SPLITS})
    if len(splits) > 1 or (splits and tables):
        said.append(f"It is a Hugging Face image folder: all of {', '.join(splits)} is taken.")
    return tuple(said)


def _tool_of(paths: Sequence[PurePosixPath], folders: set[str]) -> str | None:
    names = [path.name.lower() for path in paths]
    if any(re.search(r"-(?:masklabel|condlabel)\.\w+$", name) for name in names):
        return "OneTrainer"
    if folders & _CACHE_FOLDERS:
        return "ai-toolkit"
    if any(_MUSUBI_CACHE.fullmatch(name) for name in names):
        return "musubi-tuner"
    kohya = any(_REPEATS.fullmatch(folder) for folder in folders) and any(
        re.fullmatch(r"img|reg|log", f) for f in folders
    )
    return "kohya's scripts" if kohya or any(name.endswith(".npz") for name in names) else None
