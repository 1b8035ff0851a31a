"""Single files on the Hub, such as a few-step LoRA: `hub-id@revision:path/in/the/repository.safetensors`."""

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.models.hub import (
    TIMEOUT_SECONDS,
    HubModel,
    HubUnreachableError,
    card_licence,
    explained,
    hub_cache,
    large_files,
    repository_folder,
    require_access,
    require_as_listed,
    require_disk,
    snapshot_here,
)
from flenwheel_core.models.hub_parts import arrived_bytes, fetch_large, remove_left_parts
from flenwheel_core.models.references import is_commit

if TYPE_CHECKING:
    from flenwheel_core.base.settings import Settings

_FORM = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)@([^:@]+):([^:]+\.safetensors)")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubFile:
    """Where a file is on the Hub."""

    hub_id: str
    revision: str
    path: str

    def __str__(self) -> str:
        return f"{self.hub_id}@{self.revision}:{self.path}"


def hub_file(text: str) -> HubFile | None:
    """The file on the Hub that a recipe names; None for a path of this machine."""
    found = _FORM.fullmatch(text.strip())
    if found is None or ".." in Path(found[3]).parts or found[3].startswith("/"):
        return None
    return HubFile(*found.groups())


def file_here(file: HubFile, settings: "Settings") -> Path | None:
    """The file, if it was fetched before. Never asks the Hub."""
    folder = snapshot_here(file.hub_id, file.revision, settings)
    path = None if folder is None else folder / file.path
    return path if path is not None and path.is_file() else None


def ask_file(file: HubFile, settings: "Settings") -> HubModel:
    """What the Hub says of a file, as a model of this one file. Raises HubUnreachableError, MissingWeightsError."""
    from huggingface_hub import HfApi

    with explained(file.hub_id, file.revision):
        info = HfApi().model_info(file.hub_id, revision=file.revision, files_metadata=True, timeout=TIMEOUT_SECONDS)
    listed = {one.rfilename: one for one in info.siblings or []}
    if file.path not in listed:
        raise MissingWeightsError(
            f"{file.hub_id} holds no file {file.path}.",
            remedy="Check the path on the model's page, under Files and versions.",
        )
    found = listed[file.path]
    size = int(found.size or 0)
    commit = str(info.sha)
    here = file_here(replace(file, revision=commit), settings) is not None
    digests = {} if found.lfs is None else {file.path: str(found.lfs.sha256)}
    folder = repository_folder(file.hub_id, settings)
    rest = size - sum(arrived_bytes(folder, digest, size) for digest in digests.values())
    return HubModel(
        file.hub_id,
        file.revision,
        commit,
        card_licence(info),
        bool(info.gated),
        {file.path: size},
        digests,
        0 if here else rest,
    )


def fetch_file(file: HubFile, settings: "Settings") -> tuple[HubFile, Path]:
    """The file with its commit, and where it lies here; fetched if it is not here, and compared with the digest that the Hub names.

    Without network a file that is here is taken. Raises MissingWeightsError and ResourceError.
    """
    here = file_here(file, settings)
    if here is not None and is_commit(file.revision):
        return file, here
    try:
        asked = ask_file(file, settings)
    except HubUnreachableError as error:
        if here is None:
            raise
        _log.info("%s: taken as it is here. %s", file, error.what)
        return replace(file, revision=_commit_of(here, file)), here
    return replace(file, revision=asked.commit), fetch_asked(asked, settings)


def fetch_asked(asked: HubModel, settings: "Settings") -> Path:
    """Fetches the one file of `ask_file`. A file that arrives damaged is removed again."""
    from huggingface_hub import hf_hub_download

    require_access(asked)
    require_disk([asked], settings)
    (path,) = asked.sizes
    if asked.remaining_bytes:
        _log.info("fetching %s: %.2f GiB (%s)", path, asked.remaining_bytes / 2**30, asked.licence)
    repository = repository_folder(asked.hub_id, settings)
    with explained(asked.hub_id, asked.commit):
        fetch_large(repository, asked.hub_id, asked.commit, large_files(asked))
        found = Path(hf_hub_download(asked.hub_id, path, revision=asked.commit, cache_dir=hub_cache(settings)))
    require_as_listed(asked, found.parents[len(Path(path).parts) - 1], settings)
    remove_left_parts(repository)
    return found


def pin_file(text: str, settings: "Settings") -> str:
    """The reference with its commit, fetched; paths of this machine stay as they are."""
    file = hub_file(text)
    return text if file is None else str(fetch_file(file, settings)[0])


def _commit_of(path: Path, file: HubFile) -> str:
    """The commit is the name of the snapshot's folder."""
    return path.parents[len(Path(file.path).parts) - 1].name
