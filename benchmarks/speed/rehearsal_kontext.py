"""FLUX.1 Kontext at full size for the dress rehearsal: FLUX.1-dev's parts under another class, so that they lie on the disk once."""

import json
import os
import shutil
from pathlib import Path


def kontext_folder(root: Path, flux: Path) -> Path:
    """The folder of an editor whose files are those of `flux`, a FLUX.1 folder on the same disk."""
    if not (root / "done").exists():
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(flux, root, copy_function=os.link, ignore=shutil.ignore_patterns("model_index.json", "done"))
        index = json.loads((flux / "model_index.json").read_text())
        (root / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxKontextPipeline"}, indent=2))
        (root / "done").touch()
    return root
