"""Triplets as folders that other trainers read: `control/NAME.png`, `target/NAME.png` with `NAME.txt` beside it, and `metadata.jsonl`.

`metadata.jsonl` has Hugging Face's `file_name` columns, so that `load_dataset("imagefolder", ...)` reads the folder too.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flenwheel_core.domain.images import ImageKind, ImageRecord, Labels
from flenwheel_core.domain.triplets import Triplet, TripletSet
from flenwheel_core.errors import InputError
from flenwheel_core.ids import digest_bytes
from flenwheel_core.images.decode import Limits, decode
from flenwheel_core.images.entries import PICTURE_SUFFIXES
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture

METADATA = "metadata.jsonl"
CONTROLS = ("control", "source", "input")
TARGETS = ("target", "output", "edited")
IMPORT_GATE = "import"
_LIMITS = Limits(maximum_megapixels=64, maximum_bytes=64 * 2**20)
_PROMPT_BYTES = 20_000


def export_triplets(store: Store, triplets: TripletSet, folder: Path) -> int:
    """Writes the folder and returns how many triplets it holds. Raises InputError if it holds something already."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty.", remedy="Give a new folder: a mixture of two sets would be neither.")
    rows = []
    for part in ("control", "target"):
        (folder / part).mkdir(parents=True)
    for number, triplet in enumerate(triplets.triplets):
        name = f"{number:05d}-{triplet.character}"
        (folder / "control" / f"{name}.png").write_bytes(store.get_blob(triplet.source))
        (folder / "target" / f"{name}.png").write_bytes(store.get_blob(triplet.target))
        (folder / "target" / f"{name}.txt").write_text(triplet.prompt + "\n", encoding="utf-8")
        rows.append(
            {
                "file_name": f"target/{name}.png",
                "control_file_name": f"control/{name}.png",
                "prompt": triplet.prompt,
                "kind": triplet.kind,
                "character": triplet.character,
                "turn": triplet.turn,
                "labels": triplet.labels.model_dump(mode="json", exclude_none=True),
            }
        )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / METADATA).write_text(lines, encoding="utf-8")
    return len(rows)


@dataclass(frozen=True)
class Imported:
    """The triplets of a folder, and one line about everything in it that was left out."""

    triplets: tuple[Triplet, ...]
    notes: tuple[str, ...]


def import_triplets(store: Store, folder: Path, *, character: str, author: str) -> Imported:
    """The triplets of a folder in either layout; their pictures are kept in the store.

    Every picture is decoded as untrusted input. Raises InputError if the folder holds no pairs.
    """
    rows = _from_metadata(folder) if (folder / METADATA).is_file() else _from_folders(folder)
    triplets, notes = [], []
    for row in rows:
        try:
            source, target = (_keep(store, folder, name) for name in (row.control, row.target))
        except InputError as error:
            notes.append(f"{row.target}: left out. {error.what}")
            continue
        if not row.prompt:
            notes.append(f"{row.target}: left out. It has no prompt.")
            continue
        triplets.append(
            Triplet(
                source=source,
                prompt=row.prompt,
                target=target,
                kind=row.kind,
                character=character,
                turn=0,
                gate=IMPORT_GATE,
                author=author,
                labels=row.labels,
            )
        )
    if not triplets:
        raise InputError(
            f"{folder} holds no triplets.",
            why="; ".join(notes[:3]) or "there is neither metadata.jsonl nor control/ and target/ with equal names.",
            remedy="Put pictures into control/ and target/ under the same names, and NAME.txt with the prompt into target/.",
        )
    return Imported(tuple(triplets), tuple(notes))


@dataclass(frozen=True)
class _Row:
    control: str
    target: str
    prompt: str
    kind: Literal["approved", "corrected"] = "corrected"
    labels: Labels = field(default_factory=Labels)


def _from_metadata(folder: Path) -> list[_Row]:
    rows = []
    for number, line in enumerate((folder / METADATA).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            labels = Labels.model_validate(content.get("labels") or {})
            kind: Literal["approved", "corrected"] = "approved" if content.get("kind") == "approved" else "corrected"
            prompt = str(content["prompt"]).strip()
            rows.append(_Row(str(content["control_file_name"]), str(content["file_name"]), prompt, kind, labels))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"Line {number} of {METADATA} describes no triplet.",
                why=str(error).splitlines()[0],
                remedy="It needs file_name, control_file_name and prompt.",
            ) from error
    return rows


def _from_folders(folder: Path) -> list[_Row]:
    controls, targets = (_first_folder(folder, names) for names in (CONTROLS, TARGETS))
    if controls is None or targets is None:
        return []
    sources = {path.stem: path for path in sorted(controls.iterdir()) if path.suffix.lower() in PICTURE_SUFFIXES}
    rows = []
    for path in sorted(targets.iterdir()):
        if path.suffix.lower() not in PICTURE_SUFFIXES or path.stem not in sources:
            continue
        text = path.with_suffix(".txt")
        prompt = text.read_text(encoding="utf-8")[:_PROMPT_BYTES].strip() if text.is_file() else ""
        rows.append(_Row(f"{controls.name}/{sources[path.stem].name}", f"{targets.name}/{path.name}", prompt))
    return rows


def _first_folder(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _keep(store: Store, folder: Path, name: str) -> str:
    """Decodes and keeps one picture of the folder; raises InputError for one that is outside of it or damaged."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise InputError(f"There is no picture {name} in the folder.")
    data = path.read_bytes()
    record = ImageRecord(
        digest="0" * 64,
        width=1,
        height=1,
        kind=ImageKind.SOURCE,
        stage="import",
        request=digest_bytes(data),
        item=path.name,
    )
    return save_picture(store, decode(data, path.name, _LIMITS).image, record).digest
