"""The figures a critic reads, by block: what screening knows, the embedding, what a vision model said, whose character it is.

A block gives raw figures of pictures; `learn` makes its transform from those of the lessons, `apply` puts figures through it.
A further source of knowledge, such as a vision model that learns, is a further block: a function here and a rung in `rungs.py`.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.critics import Block, Judgeable, Transform
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, POSES, Labels
from flenwheel_core.documents.scores import ReasonCode

Array = NDArray[np.float64]
Embeddings = Mapping[Digest, Sequence[float]]
"""Of each picture, by one verifier. A picture without one (no face) is left out."""

CODES: tuple[ReasonCode, ...] = (
    "borderline_identity", "wrong_identity", "no_face", "face_too_small", "extra_faces", "near_copy", "blurred",
    "badly_exposed", "duplicate_of", "misaligned", "spoiled_face", "profile_face",
)  # fmt: skip
SHOWN = tuple(Labels.model_fields)
FIGURES = (
    "identity",
    "identity far off",
    "nearest_reference",
    "sharpness",
    "brightness",
    "far too dark or bright",
    "spoiled",
)
LIKELIEST_SPOILED = 0.999
MIDDLING_BRIGHTNESS = 0.5
TASTES = ("background", "lighting", "clothing", "style")
"""What the reader sees of a picture that no screening forbids and a reviewer may dislike."""
LEAST_OF_A_TASTE = 8
KEPT_FIGURES = 20_000
_FIGURES: OrderedDict[tuple[object, ...], tuple["Figures", object]] = OrderedDict()
MOST_TASTES = 24
MOST_AXES = 24
PICTURES_AN_AXIS = 8


def learn(block: Block, pictures: Sequence[Judgeable], embeddings: Embeddings) -> Transform:
    """The transform of a block, from the pictures that are learned from."""
    names = _names(block, pictures)
    figures = _figures(block, pictures, names, embeddings)
    if block == "character":
        width = len(names)
        return Transform(names=names, mean=(0.0,) * width, scale=(1.0,) * width)
    known = ~np.isnan(figures)
    filled = np.where(known, figures, 0.0)
    count = np.maximum(known.sum(axis=0), 1)
    mean = filled.sum(axis=0) / count
    spread = np.sqrt((np.where(known, figures - mean, 0.0) ** 2).sum(axis=0) / count)
    marks = ((figures == 0) | (figures == 1) | ~known).all(axis=0)
    # A mark is there or not: scaled by its spread, a rare one would weigh most.
    scale = np.where((spread > 1e-6) & ~marks, spread, 1.0)
    axes: tuple[tuple[float, ...], ...] = ()
    if block == "embedding":
        axes = _main_axes(np.where(known, (figures - mean) / scale, 0.0))
    return Transform(names=names, mean=_tuple(mean), scale=_tuple(scale), axes=axes)


def apply(block: Block, transform: Transform, pictures: Sequence[Judgeable], embeddings: Embeddings) -> Array:
    """The columns of a block. What is not known of a picture counts as the mean."""
    if block == "embedding" and not transform.axes:  # it was learned where nothing was embedded
        return np.zeros((len(pictures), 0))
    figures = _figures(block, pictures, transform.names, embeddings)
    columns = (figures - np.asarray(transform.mean)) / np.asarray(transform.scale)
    columns = np.where(np.isnan(columns), 0.0, columns)
    if block != "embedding":
        return columns
    axes = np.asarray(transform.axes, dtype=np.float64).reshape(len(transform.axes), columns.shape[1])
    turned: Array = columns @ axes.T
    return turned


def has(block: Block, pictures: Sequence[Judgeable], embeddings: Embeddings) -> bool:
    """True if the block says something of these pictures."""
    if block == "embedding":
        return sum(picture.image in embeddings for picture in pictures) > len(pictures) / 2
    if block == "vision":
        return bool(pictures) and all(picture.vision for picture in pictures)
    return True


class Figures(dict[str, float]):
    """Figures by name. A taste that was not seen is absent: 0; a figure that was not measured is there, and nan."""

    def __missing__(self, name: str) -> float:
        return 0.0


def screening_figures(picture: Judgeable) -> Figures:
    """What screening knows of one picture, by name; nan where it knows nothing. Worked out once as long as the picture is in use."""
    key = (id(picture.screening), id(picture.asked), picture.kind, picture.threshold)
    kept = _FIGURES.get(key)
    if kept is None:
        while len(_FIGURES) >= KEPT_FIGURES:
            _FIGURES.popitem(last=False)
        # What the ids stand for is kept beside the figures, so that no id is given twice.
        kept = _FIGURES[key] = (Figures(_screening_figures(picture)), (picture.screening, picture.asked))
    return kept[0]


def _screening_figures(picture: Judgeable) -> dict[str, float]:
    row, asked = picture.screening, picture.asked
    found = dict.fromkeys(FIGURES, float("nan"))
    found["identity"] = ratio = identity_ratio(picture)
    found["identity far off"] = ratio**2
    # A face that is turned away is farther from the fingerprint, whoever it is.
    found |= {f"identity, asked {value}": ratio * (value == asked.angle) for value in ANGLES}
    found[f"gate {picture.kind}"] = 1.0
    found |= {f"asked {value}": float(value == asked.angle) for value in ANGLES}
    found |= {f"asked {value}": float(value == asked.expression) for value in EXPRESSIONS}
    found |= {f"asked {value}": float(value == asked.pose) for value in POSES}
    if row is None:
        return found
    if row.nearest_distance is not None:
        found["nearest_reference"] = row.nearest_distance / (picture.threshold or 1.0)
    if row.sharpness is not None:
        found["sharpness"] = float(np.log(max(row.sharpness, 1e-3)))
    if row.brightness is not None:
        found["brightness"] = bright = row.brightness / 255
        found["far too dark or bright"] = (bright - MIDDLING_BRIGHTNESS) ** 2
    if row.spoiled is not None:
        chance = min(max(row.spoiled, 1 - LIKELIEST_SPOILED), LIKELIEST_SPOILED)
        found["spoiled"] = float(np.log(chance / (1 - chance)))
    codes = {reason.code for reason in row.reasons}
    found |= {code.replace("_", " "): float(code in codes) for code in CODES}
    found |= {f"screening {outcome}": float(row.outcome == outcome) for outcome in ("unsure", "fail")}
    for label in SHOWN:
        wanted, seen = getattr(asked, label), getattr(row.read, label)
        found[f"other {label} than asked"] = float(wanted is not None and seen is not None and wanted != seen)
    found |= {f"{label} {value}": 1.0 for label in TASTES if (value := getattr(row.read, label)) is not None}
    return found


def identity_ratio(picture: Judgeable) -> float:
    """The identity distance as a multiple of the character's threshold; nan if it is not known."""
    row = picture.screening
    if row is None or row.distance is None:
        return float("nan")
    return row.distance / (picture.threshold or 1.0)


def _tastes(pictures: Sequence[Judgeable]) -> tuple[str, ...]:
    """The values of labels that were seen often enough to be liked or disliked."""
    seen = Counter(
        f"{label} {value}"
        for picture in pictures
        if picture.screening is not None
        for label in TASTES
        if (value := getattr(picture.screening.read, label)) is not None
    )
    often = [name for name, count in seen.most_common(MOST_TASTES) if count >= LEAST_OF_A_TASTE]
    return tuple(sorted(often))


def _screening_names(pictures: Sequence[Judgeable]) -> tuple[str, ...]:
    plain = (
        *FIGURES, *(f"identity, asked {value}" for value in ANGLES), *sorted({f"gate {picture.kind}" for picture in pictures}),
        *(f"asked {value}" for value in (*ANGLES, *EXPRESSIONS, *POSES)),
        *(code.replace("_", " ") for code in CODES), "screening unsure", "screening fail",
        *(f"other {label} than asked" for label in SHOWN),
    )  # fmt: skip
    return (*plain, *_tastes(pictures))


def _names(block: Block, pictures: Sequence[Judgeable]) -> tuple[str, ...]:
    return _NAMES[block](pictures)


_NAMES: dict[Block, Callable[[Sequence[Judgeable]], tuple[str, ...]]] = {
    "character": lambda pictures: tuple(sorted({picture.character for picture in pictures})),
    "identity": lambda _: ("identity",),
    "screening": _screening_names,
    "embedding": lambda _: (),
    "vision": lambda _: ("vision says reject", "vision says correct"),
}


def _figures(block: Block, pictures: Sequence[Judgeable], names: Sequence[str], embeddings: Embeddings) -> Array:
    nothing = float("nan")
    if block == "character":
        rows = [[float(picture.character == name) for name in names] for picture in pictures]
    elif block == "identity":
        rows = [[identity_ratio(picture)] for picture in pictures]
    elif block == "vision":
        rows = [_mean_look(picture.vision) if picture.vision else [nothing, nothing] for picture in pictures]
    elif block == "embedding":
        width = max((len(vector) for vector in embeddings.values()), default=0)
        rows = [list(_unit(embeddings[p.image])) if p.image in embeddings else [nothing] * width for p in pictures]
    else:
        chosen = itemgetter(*names)
        rows = [chosen(screening_figures(picture)) for picture in pictures]
    return np.asarray(rows, dtype=np.float64).reshape(len(pictures), len(rows[0]) if rows else len(names))


def _mean_look(pairs: Sequence[float]) -> list[float]:
    """Of a new picture every LoRA of the looker said something."""
    return [sum(pairs[column::2]) / (len(pairs) // 2) for column in (0, 1)]


def _unit(vector: Sequence[float]) -> Array:
    array = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(array))
    return array / length if length > 0 else array


def _main_axes(columns: Array) -> tuple[tuple[float, ...], ...]:
    """The directions in which the pictures differ most, each scaled so that its column has variance 1."""
    number = len(columns)
    most = min(MOST_AXES, number // PICTURES_AN_AXIS, columns.shape[1])
    if most < 1:
        return ()
    _, sizes, directions = np.linalg.svd(columns, full_matrices=False)
    kept = [index for index in range(most) if sizes[index] > 1e-6]
    scaled = directions[kept] * (np.sqrt(number) / sizes[kept])[:, None]
    return tuple(_tuple(row) for row in scaled)


def _tuple(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{value:.7g}") for value in values.tolist())
