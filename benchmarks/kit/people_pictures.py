"""Public pictures of people at known angles and with known expressions, and a head that is rendered. Never part of the repository.

Put these files into one folder:

    FOLDER/umist/UMIST.mat                    faces/UMIST.mat of yuzhounh/Face-databases
    FOLDER/actors/*.jpg, Image_info.xls       Taiwanese/faces_256x256/*.jpg and Taiwanese/Image_info.xls of lai-wei-cheng/b12207073
    FOLDER/head/LeePerrySmith.glb, color.jpg  static/models/... and static/textures/leePerrySmith/color.jpg of pooch1e/threeJsPortfolio
    FOLDER/crowd/*.jpg                        examples/faces/*.jpg of davisking/dlib, without dogs and Tom_Cruise;
                                              samples/in/group-*, person-* and solvay1927.jpg of vladmandic/human
    FOLDER/stock/*.jpg                        samples/in/stock-*.jpg of vladmandic/human
    FOLDER/figures/*.jpg                      samples/in/cgi-model-*.jpg of the same: rendered, not photographed
    FOLDER/digits/*.JPG                       Dataset/*/*.JPG of ardamavi/Sign-Language-Digits-Dataset (Apache-2.0)
    FOLDER/rooms/*.jpg                        each 24th of images/*.jpg, by name, of SubhiH/HandsDataset (Apache-2.0)

UMIST (Graham and Allinson 1998): 20 people, from profile to front. Its pictures carry no angle: they were sorted by eye into profile (the
far eye is not seen), half and front; what lay between two was left out. Actors: the Taiwanese facial expression set (Chen, Cho and Tseng
2013), 29 actors, frontal. Head: Infinite, 3D Head Scan by Lee Perry-Smith (CC BY 3.0), rendered at known angles. All are for tests only.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import digest_bytes, digest_json

SOURCES = {
    "umist": (
        "yuzhounh/Face-databases",
        "75d3e1df261b9810cc4ce2ef8b80b696658a02d6",
        "01a334aa666a0c8f417cd4f26e67396e63310d8cf4888a16938fe52fdb4d4fcd",
    ),
    "actors": (
        "lai-wei-cheng/b12207073",
        "790c44989ebf3b9835806512ce2f929fe441244f",
        "b556c1d5717531cab29cb2823f9bea062bdf38c7f098ed49400433a06a766daa",
    ),
    "head": (
        "pooch1e/threeJsPortfolio",
        "53e625a629a71872c4c813ba9f1322b96571a278",
        "202231c2182f62c8866e3c64cdc43bf43dc19a7ee9e5827479c23cd2357240c8",
    ),
    "crowd": (
        "davisking/dlib and vladmandic/human",
        "3d40bf5790ca9073c160cebb898800d9f33e12ab and 151df64d6143db8d0cf14df39e69be2f655f9f34",
        "dfdd3a8d4ca93a2df2c18ee7a2a5ba38a371ceaed909469ee58d135f40dc2de2",
    ),
    "figures": (
        "vladmandic/human",
        "151df64d6143db8d0cf14df39e69be2f655f9f34",
        "eefcd8ae624f860f4419763b1379b4810e73513072d04e39feb046135b2020b3",
    ),
    "digits": (
        "ardamavi/Sign-Language-Digits-Dataset",
        "4b09433ef9d5c60602e8805bb54b8aa2428527f8",
        "19a6ac17af2b5a6eee37ed02caade3a4f688f86b8bf3ce0df408d6d3f3e15727",
    ),
    "rooms": (
        "SubhiH/HandsDataset",
        "73228cb5ba6a8d454663aa9873157862b69a1c4c",
        "adc63af3d3e235e6e25a84d5c8bcaef6d274262f705422502006da7029a95209",
    ),
    "stock": (
        "vladmandic/human",
        "151df64d6143db8d0cf14df39e69be2f655f9f34",
        "4d685836c1197c1d58c5058c9bfad4ddce70e62413732b000801144c42cb9ebd",
    ),
}
"""Repository, commit, and the digest of the files used."""
PORTRAITS_AN_ACTOR = 7
SORTED = {
    0: ("0-7", "11-18", ""), 1: ("0-8", "12-18", ""), 2: ("0-3", "6-18", ""), 3: ("0-6", "10-17", ""), 4: ("0-2", "6-18", ""),
    5: ("0-1,14-18", "4-5,12", "7-11"), 6: ("0-2", "6-9", "11-13"), 7: ("0-3", "7-13", "17-18"), 8: ("0-8", "11-17", ""),
    9: ("0-2", "6-18", ""), 10: ("0-8", "17-18", ""), 11: ("0-8", "11-17", ""), 12: ("0-3", "8-18", ""), 13: ("0-7", "11-17", ""),
    14: ("0-4", "7-16", "18"), 15: ("0-4", "10-17", ""), 16: ("0-4", "7-13", "18"), 17: ("0-2,14-18", "4-5,10", "7-8"),
    18: ("0-5", "11-16", "18"), 19: ("0-1", "4-6,16-17", "8-13"),
}  # fmt: skip
"""Of each UMIST person the pictures in profile, half and front, of 19."""
PICTURES_A_PERSON = 19
EXPRESSIONS = {"a": "neutral", "b": "smiling", "c": "sad", "d": "angry"}
SEEN_BY_OBSERVERS = {1: "b", 2: "c", 3: "d", 4: "e", 5: "f", 6: "g"}
CAMERA, FILL = 30.0, 0.62
"""Distance of the camera in the head's own units (it is 8 high), and the share of the picture's height that it fills."""


@dataclass(frozen=True)
class Shown:
    """A picture of known truth."""

    image: Image.Image
    truth: str
    person: int


class PeoplePictures:
    """The pictures in a folder. Raises InputError if they are missing or others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def turned(self) -> Iterator[Shown]:
        """UMIST, each second picture mirrored; truth is an angle of the card."""
        import scipy.io

        self._check("umist", ["umist/UMIST.mat"])
        faces = scipy.io.loadmat(self._folder / "umist" / "UMIST.mat")["x"]
        for person, columns in SORTED.items():
            for kind, ranges in zip(("profile", "half", "front"), columns, strict=True):
                for index in _indices(ranges):
                    image, mirrored = _framed(faces[:, :, person * PICTURES_A_PERSON + index]), index % 2 == 1
                    side = "" if kind == "front" else "-left" if mirrored else "-right"
                    yield Shown(ImageOps.mirror(image) if mirrored else image, kind + side, person)

    def actors(self) -> Iterator[Shown]:
        """Portraits whose expression most observers named as the actor meant it (neutral ones were not asked about)."""
        import xlrd

        names = sorted(path.name for path in (self._folder / "actors").glob("*.jpg"))
        self._check("actors", [f"actors/{name}" for name in (*names, "Image_info.xls")])
        sheet = xlrd.open_workbook(self._folder / "actors" / "Image_info.xls").sheet_by_index(0)
        rows = (sheet.row_values(row) for row in range(1, sheet.nrows))
        seen = {str(row[0]).split(".")[0].strip(): row[3] for row in rows}
        for name in names:
            meant, stem = name[4], name.removesuffix(".jpg")
            if meant in EXPRESSIONS and (meant == "a" or SEEN_BY_OBSERVERS.get(int(seen.get(stem) or 0)) == meant):
                with Image.open(self._folder / "actors" / name) as opened:
                    yield Shown(
                        ImageOps.expand(opened.convert("RGB"), 40, (235, 235, 235)), EXPRESSIONS[meant], int(name[:2])
                    )

    def portraits_of_actors(self) -> Iterator[tuple[str, Image.Image]]:
        """A few portraits of each actor, whatever the expression: the actor and the picture."""
        files: dict[str, list[Path]] = {}
        for path in sorted((self._folder / "actors").glob("*.jpg")):
            files.setdefault(path.name[:2], []).append(path)
        for actor, paths in files.items():
            for path in paths[:: max(1, len(paths) // PORTRAITS_AN_ACTOR)][:PORTRAITS_AN_ACTOR]:
                with Image.open(path) as opened:
                    yield actor, ImageOps.expand(opened.convert("RGB"), 40, (235, 235, 235))

    def crowds(self) -> Iterator[tuple[str, Image.Image]]:
        """Pictures of people of whom nothing is known: the file's name and the picture, at most 1400 px long."""
        yield from self._named("crowd")

    def stock(self) -> Iterator[tuple[str, Image.Image]]:
        """Pictures of one person or a few, from head to foot: the file's name and the picture, at most 1400 px long."""
        yield from self._named("stock")

    def figures(self) -> Iterator[tuple[str, Image.Image]]:
        """As `stock`, rendered."""
        yield from self._named("figures")

    def digits(self) -> Iterator[tuple[str, Image.Image]]:
        """Hands of 218 students, ten gestures each, 100 px, in the order in which they were photographed: person by person."""
        yield from self._named("digits", "*.JPG")

    def rooms(self) -> Iterator[tuple[str, Image.Image]]:
        """A few people who hold up their hands in many rooms."""
        yield from self._named("rooms")

    def _named(self, name: str, pattern: str = "*.jpg") -> Iterator[tuple[str, Image.Image]]:
        paths = sorted((self._folder / name).glob(pattern))
        self._check(name, [f"{name}/{path.name}" for path in paths])
        for path in paths:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            image.thumbnail((1400, 1400))
            yield path.stem, image

    def rendered(self, step: int) -> Iterator[tuple[int, Image.Image]]:
        """The head turned from -90 to 90 degrees, at two pitches; the turn and the picture."""
        self._check("head", ["head/LeePerrySmith.glb", "head/color.jpg"])
        cloud = _cloud(self._folder / "head")
        for turn in range(-90, 91, step):
            for pitch in (-12, 12):
                yield turn, _render(cloud, turn, pitch)

    def _check(self, name: str, files: list[str]) -> None:
        repository, commit, digest = SOURCES[name]
        try:
            found = {file: digest_bytes((self._folder / file).read_bytes()) for file in files}
        except OSError as error:
            raise InputError(
                f"{error.filename} cannot be read.", remedy=f"It is of {repository} at {commit}."
            ) from None
        told = digest_json(found)
        if told != digest:
            raise InputError(
                f"The pictures in {self._folder / name} are others than those this benchmark is of.",
                why=f"their digest is {told}.",
                remedy=f"Take {repository} at {commit}.",
            )


def _indices(ranges: str) -> Iterator[int]:
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _framed(face: NDArray[np.uint8]) -> Image.Image:
    """A tightly cut grey face of 92 x 112 with room around it, 2.5 times as large."""
    grey = ImageOps.expand(Image.fromarray(face), 60, int(np.median(face[0])))
    return grey.resize((round(grey.width * 2.5), round(grey.height * 2.5)), Image.Resampling.BICUBIC).convert("RGB")


@dataclass(frozen=True)
class _Cloud:
    points: NDArray[np.float64]
    colours: NDArray[np.float64]
    normals: NDArray[np.float64]


def _cloud(folder: Path, count: int = 1_000_000) -> _Cloud:
    """Points all over the head's surface, with colour and normal: dense enough to be drawn without triangles."""
    import DracoPy

    data = (folder / "LeePerrySmith.glb").read_bytes()
    length = struct.unpack("<I", data[12:16])[0]
    layout, rest = json.loads(data[20 : 20 + length]), data[20 + length + 8 :]
    packed = layout["meshes"][0]["primitives"][0]["extensions"]["KHR_draco_mesh_compression"]
    view = layout["bufferViews"][packed["bufferView"]]
    mesh = DracoPy.decode(rest[view.get("byteOffset", 0) :][: view["byteLength"]])
    faces = np.asarray(mesh.faces).reshape(-1, 3)
    corners = np.asarray(mesh.points, dtype=np.float64)[faces]
    places = np.asarray(mesh.tex_coord, dtype=np.float64)[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    random = np.random.default_rng(0)
    chosen = random.choice(len(faces), count, p=areas / areas.sum())
    share = random.random((count, 2))
    share[share.sum(axis=1) > 1] = 1 - share[share.sum(axis=1) > 1]
    weights = np.column_stack([1 - share.sum(axis=1), share])
    with Image.open(folder / "color.jpg") as opened:
        texture = np.asarray(opened.convert("RGB"), dtype=np.float64)
    at = np.einsum("nk,nkd->nd", weights, places[chosen])
    rows = np.clip((1 - at[:, 1]) * texture.shape[0], 0, texture.shape[0] - 1).astype(int)
    columns = np.clip(at[:, 0] * texture.shape[1], 0, texture.shape[1] - 1).astype(int)
    points = np.einsum("nk,nkd->nd", weights, corners[chosen])
    return _Cloud(points, texture[rows, columns], normals[chosen] / areas[chosen, None])


def _render(cloud: _Cloud, turn: float, pitch: float, side_px: int = 512) -> Image.Image:
    """The head turned by `turn` degrees to the right of the picture and nodding by `pitch`, lit from the front."""
    import cv2

    a, p = np.radians(turn), np.radians(pitch)
    turned = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nodded = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    move = (nodded @ turned).T
    placed, normals = (cloud.points - cloud.points.mean(axis=0)) @ move, cloud.normals @ move
    depth = CAMERA - placed[:, 2]
    scale = side_px * FILL / np.ptp(cloud.points[:, 1]) * CAMERA
    x = (side_px / 2 + placed[:, 0] * scale / depth).astype(int)
    y = (side_px / 2 - placed[:, 1] * scale / depth).astype(int)
    seen = np.flatnonzero((normals[:, 2] > 0) & (x >= 0) & (x < side_px) & (y >= 0) & (y < side_px))
    seen = seen[np.argsort(-depth[seen])]
    light = np.array([0.3, 0.4, 0.85]) / np.linalg.norm([0.3, 0.4, 0.85])
    canvas = np.full((side_px, side_px, 3), 128.0)
    canvas[y[seen], x[seen]] = cloud.colours[seen] * (0.55 + 0.55 * np.clip(normals[seen] @ light, 0, 1))[:, None]
    return Image.fromarray(cv2.medianBlur(np.clip(canvas, 0, 255).astype(np.uint8), 3))
