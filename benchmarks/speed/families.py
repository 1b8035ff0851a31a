"""What each family takes on a card, in its stages, beside the usual way: from the rehearsals' rows, and from what is measured here.

python -m benchmarks.speed.families             # measure the usual way on this machine's card, and join it with the rehearsals' rows
python -m benchmarks.speed.families --join      # join again, with the usual way as it was measured before
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.speed.family_usual import CASES, forget, seconds_of, usual_step

FAMILIES_OF_RECIPES = {
    "klein_character": ("FLUX.2", "FLUX.2"),
    "klein_rank16": ("FLUX.2", "FLUX.2"),
    "klein_edit": ("FLUX.1", "FLUX.2"),
    "kontext_edit": ("FLUX.1", "FLUX.1"),
    "qwen_image_character": ("Qwen-Image", "Qwen-Image"),
    "zimage_character": ("Z-Image", "Qwen-Image"),
    "flux_character_24gb": ("FLUX.1", "Qwen-Image"),
    "flux_character_16gb": ("FLUX.1", "Qwen-Image"),
    "flux_character_12gb": ("FLUX.1", "FLUX.2"),
}
"""The families of a recipe's base and of its editor."""
_STAGES = {"train": 0, "generate": 0, "edit_train": 1, "enrich": 1}
"""Stages that have a family's own figures, and whose they are: the base's or the editor's."""
_TURN = (
    ("ingest", 12),
    ("enrich", 50),
    ("screen", 0),
    ("train", 1500),
    ("generate", 92),
    ("screen", 0),
    ("train", 1500),
    ("benchmark", 92),
)
"""The stages of a turn of twelve photos, and how many items each makes; what screening takes does not grow noticeably with the pictures."""
USUAL = "usual_"


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--join", action="store_true", help="measure nothing")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    usual = _kept(arguments.out) if arguments.join else _measured()
    rehearsals = json.loads((RESULTS / "dress_rehearsal.json").read_text())
    rows = [*usual, *joined(rehearsals["rows"], usual), *turn_of_klein(rehearsals["rows"])]
    write_result("families", rows, folder=arguments.out, measured=rehearsals if arguments.join else None)


def joined(rehearsals: Sequence[Row], usual: Sequence[Row]) -> list[Row]:
    """A row for each family, stage and card size that was rehearsed; seconds only where nothing ran beside."""
    seconds = {str(row["case"]): row["usual_seconds"] for row in usual}
    rows: list[Row] = []
    for row in rehearsals:
        place, recipe = _STAGES.get(str(row["stage"])), str(row.get("recipe"))
        if place is None or recipe not in FAMILIES_OF_RECIPES or not row["ended"]:
            continue
        stage, family = str(row["stage"]), FAMILIES_OF_RECIPES[recipe][place]
        alone = None if row.get("beside") else row["item_seconds"]
        trains = stage in ("train", "edit_train")
        rows.append(
            {
                "case": row["case"],
                "family": family,
                "task": stage,
                "recipe": recipe,
                "card_gib": row["card_gib"],
                "step_seconds": alone if trains else None,
                "item_seconds": None if trains else alone,
                "peak_reserved_gib": row["peak_reserved_gib"],
                "predicted_gib": row["predicted_gib"],
                "usual_seconds": seconds.get(_usual_case(family, stage)),
            }
        )
    return rows


def turn_of_klein(rehearsals: Sequence[Row]) -> list[Row]:
    """A whole turn with klein on 24 GiB, added up from the seconds that its stages took alone; none if one was not rehearsed.

    LoRAs are of rank 16 and edits have 20 steps (`klein_rank16.toml`). Ingesting and screening, which do not depend on either, were
    rehearsed with klein_character beside other rehearsals alone, so they count for more than they are.
    """
    rows = {
        row["stage"]: row
        for ending in ("klein", "klein_rank16")
        for row in rehearsals
        if row["case"] == f"{row['stage']}_24gib_{ending}"
    }
    if not {stage for stage, _items in _TURN} <= rows.keys():
        return []
    seconds = 0.0
    for stage, items in _TURN:
        first, each = rows[stage]["first_item_seconds"], rows[stage]["item_seconds"] or 0.0
        seconds += float(first or 0.0) + max(0, items - 1) * float(each)
    case = {"case": "turn_24gib_klein", "family": "FLUX.2", "task": "turn", "recipe": "klein_rank16"}
    return [{**case, "card_gib": 24.0, "turn_minutes": seconds / 60}]


def _measured() -> list[Row]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows: list[Row] = []
    for (family, stage), case in CASES.items():
        row: dict[str, str | int | float | bool | None] = {
            "case": _usual_case(family, stage),
            "family": family,
            "task": stage,
        }
        ways: Mapping[str, tuple[bool, bool]] = {
            "usual_seconds": (False, False),
            "usual_compiled_seconds": (False, True),
            "usual_checkpointed_seconds": (True, False),
        }
        for name, (checkpointed, compiled) in ways.items():
            try:
                step = usual_step(case, device, checkpointed=checkpointed, compiled=compiled)
                row[name], row[name.replace("seconds", "peak_reserved_gib")] = seconds_of(step, device)
                del step
            except torch.OutOfMemoryError:
                row[name] = None
            forget()
        print(row, flush=True)
        rows.append(row)
    return rows


def _kept(folder: Path) -> list[Row]:
    path = folder / "families.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row for row in rows if str(row["case"]).startswith(USUAL)]


def _usual_case(family: str, stage: str) -> str:
    return f"{USUAL}{family}_{stage}"


if __name__ == "__main__":
    main()
