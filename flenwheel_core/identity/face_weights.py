"""The weights of the face verifier: found on this machine, checked, and put where DeepFace looks for them.

DeepFace downloads what is missing and checks nothing. Here nothing is ever downloaded: the default comes out of the
`face_recognition_models` package (CC0), other models from files that the user put into the weights folder.
"""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flenwheel_core.base.errors import MissingWeightsError

RECOGNITION = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"
SHA256 = {
    RECOGNITION: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    LANDMARKS: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
}
"""Only these two files of the package are used. Its 68-point file may not be used commercially (iBUG 300-W)."""


@dataclass(frozen=True)
class FaceModel:
    """A DeepFace model that can be used as face verifier, and the limits DeepFace publishes for it."""

    name: str
    file_name: str
    distance: str
    threshold_cap: float


FACE_MODELS: dict[str, FaceModel] = {
    "Dlib": FaceModel("Dlib", RECOGNITION, "euclidean", 0.60),
    "Facenet512": FaceModel("Facenet512", "facenet512_weights.onnx", "cosine", 0.30),
    "ArcFace": FaceModel("ArcFace", "arcface_weights.onnx", "cosine", 0.68),
    "SFace": FaceModel("SFace", "face_recognition_sface_2021dec.onnx", "cosine", 0.593),
    "GhostFaceNet": FaceModel("GhostFaceNet", "ghostfacenet_v1.onnx", "cosine", 0.65),
}
"""Caps: dlib's training radius; for the others the cosine thresholds of DeepFace 0.0.103."""


def package_file(name: str) -> Path:
    """A checked file of `face_recognition_models`. Raises MissingWeightsError if it is absent or altered."""
    # The package itself cannot be imported beside setuptools >= 82; finding it does not import it.
    spec = importlib.util.find_spec("face_recognition_models")
    places = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(places[0]) / "models" / name if places else None
    if path is None or not path.is_file():
        raise MissingWeightsError(
            "The weights of the face verifier are not installed.",
            why=f"face_recognition_models has no {name}.",
            remedy="Install face_recognition_models==0.3.0; older versions lack the file.",
        )
    if file_sha256(path) != SHA256[name]:
        raise MissingWeightsError(
            f"The face verifier's file {name} is not the published one.",
            why="its sha256 differs.",
            remedy="Reinstall face_recognition_models==0.3.0.",
        )
    return path


@cache
def file_sha256(path: Path) -> str:
    """The sha256 of a file, read once per process."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def provide_weights(model: FaceModel, models_folder: Path) -> Path:
    """Points DeepFace at `models_folder` and makes sure that it finds the weights of `model` there, offline.

    Returns the weights file. Must run before `deepface` is imported. Raises MissingWeightsError.
    """
    home = models_folder.expanduser().absolute() / "deepface"
    weights = home / ".deepface" / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    # Without this DeepFace would write to ~/.deepface and, finding torch, take its torch weights and the GPU.
    os.environ["DEEPFACE_HOME"] = str(home)
    os.environ["DEEPFACE_BACKEND_ENGINE"] = "onnx"
    os.environ["DEEPFACE_ONNX_PROVIDERS"] = "CPUExecutionProvider"
    target = weights / model.file_name
    if model.file_name == RECOGNITION:
        _link(package_file(RECOGNITION), target)
    if not target.is_file():
        raise MissingWeightsError(
            f"The weights of the face model {model.name} are not on this machine.",
            why=f"there is no {target}.",
            remedy=f"Put DeepFace's {model.file_name} there, or use the verifier `face`, which needs no download.",
        )
    return target


def _link(source: Path, target: Path) -> None:
    """Makes `target` a link to `source`, safely when several processes do so at once."""
    if target.is_symlink() and target.resolve() == source.resolve():
        return
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(source)
    temporary.replace(target)
