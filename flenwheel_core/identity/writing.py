"""Writing that a generator invents: signatures, watermarks, subtitles, letters on things. A LoRA learns them with the character.

PP-OCR's small detector of text (Du et al. 2022, arXiv:2206.03001; Apache-2.0) answers for every pixel how likely it belongs to a line
of writing. It also takes eyes, teeth, jewels and limbs for letters, and is as sure of them. So each place is looked at again in three
sizes: writing is found in two of them at least, an accident of one size is not. It finds writing, and does not read it.

What it misses, and how often it errs on clean photographs, is measured (docs/measurements/several.md).
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.identity.people_weights import WRITING, people_file, people_weights_here
from flenwheel_core.identity.verifiers import is_face
from flenwheel_core.recipes.screening import BELIEVED_WRITING

SEARCHED_SIDE_PX = 640
"""Pictures are searched at this long side, smaller ones as they are: letters down to a hundredth of it are found."""
SIZE_STEP = 32
LEAST_HEAT = 0.3
LEAST_SCORE = 0.6
LEAST_HEIGHT_PX = 3
"""Places below these, in the searched size, are noise. Writing scores above 0.9."""
SECOND_HEIGHTS_PX = (22, 36, 56)
"""A place is looked at again with lines this high."""
SECOND_SIDE_PX = 320
"""Of a long line so much is looked at again, from its middle."""
MIDDLE_SHARE = 0.8
"""... and this share of what is looked at again counts."""
SECOND_PLACES = 4
"""So many places of a picture are looked at again, the surest and largest first."""
BELIEVED = BELIEVED_WRITING
"""Places that are believed so much count for how much writing there is."""
AS_MUCH = 1.5
"""A picture that shows up to so many times the writing that its sources show has not invented it."""
SOURCES_QUANTILE = 0.9
"""... where sources show what the tenth of them with the most shows: one photograph with a poster behind it excuses nothing."""

_NAMES = (
    r"writing|written|text|texts|letters?|lettering|words?|typography|signs?|signage|signboards?|signature|signed|logos?|slogan|caption|"
    r"captions|subtitles?|title|headline|labels?|posters?|banners?|billboards?|placards?|newspapers?|magazines?|graffiti|watermarks?|"
    r"jersey|printed|inscription|engraved|calligraphy|whiteboard|blackboard|chalkboard|menu"
)
_ONE = rf"(?:{_NAMES})\b"
_DENIED = re.compile(
    # "no text", "without any visible letters or logos"; not "no hat but a sign".
    rf"\b(?:no|not|without|free of|avoid|remove)\b(?:\s+(?!but\b|and\b)[\w-]+){{0,2}}?\s+{_ONE}(?:(?:\s*,|\s+(?:or|and|nor))\s+{_ONE})*",
    re.IGNORECASE,
)
_ASKED = re.compile(rf"\b{_ONE}|[\"“][^\"”]*\w[^\"”]*[\"”]", re.IGNORECASE)


@dataclass(frozen=True)
class Writing:
    """What a picture shows of writing."""

    belief: float
    """How sure the surest place is, 0 to 1."""
    share: float = 0.0
    """The part of the picture that believed lines of writing cover, about: of the largest few."""
    where: str = ""
    """Where the surest place lies, in words."""


NONE = Writing(0.0)


@dataclass(frozen=True)
class _Place:
    """A line in pixels of the picture: its middle, height and length."""

    score: float
    x: float
    y: float
    height: float
    length: float
    down: bool
    """The line runs down the picture more than across."""


class WritingFinder:
    """Holds the network. Not for several threads at once."""

    def __init__(self, threads: int | None = None, folder: Path | None = None) -> None:
        """Raises MissingWeightsError if the weights are absent or altered."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        # Threads that wait would take the cores from those that find faces.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = str(people_file(WRITING, folder))
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input: str = self._session.get_inputs()[0].name

    def find(self, image: Image.Image) -> Writing:
        """The writing in a picture; `NONE` where there is none."""
        pixels = np.asarray(image.convert("RGB"))
        places = self._places(pixels)
        surest, covered, where = 0.0, 0.0, ""
        for place in sorted(places, key=lambda one: -one.score * one.height * one.length)[:SECOND_PLACES]:
            belief = place.score * self._again(pixels, place)
            if belief >= BELIEVED:
                covered += place.height * place.length / (image.width * image.height)
            if belief > surest:
                surest, where = belief, in_words(place.x / image.width, place.y / image.height)
        return Writing(round(surest, 4), round(covered, 5), where) if where else NONE

    def _places(self, pixels: NDArray[np.uint8]) -> list[_Place]:
        """Where the first look sees lines."""
        import cv2

        height, width = pixels.shape[:2]
        scale = min(1.0, SEARCHED_SIDE_PX / max(height, width))
        heat = self._heat(pixels, _fitting(width * scale), _fitting(height * scale))
        back = np.array([width / heat.shape[1], height / heat.shape[0]])
        shapes, _ = cv2.findContours((heat > LEAST_HEAT).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        found = []
        for shape in shapes:
            (x, y), sides, _ = cv2.minAreaRect(shape)
            if min(sides) < LEAST_HEIGHT_PX:
                continue
            left, top, wide, high = cv2.boundingRect(shape)
            inside = np.zeros((high, wide), np.uint8)
            cv2.drawContours(inside, [shape], -1, 1, -1, offset=(-left, -top))
            score = float(heat[top : top + high, left : left + wide][inside > 0].mean())
            if score >= LEAST_SCORE:
                mean = float(back.mean())
                found.append(_Place(score, x * back[0], y * back[1], min(sides) * mean, max(sides) * mean, high > wide))
        return found

    def _again(self, pixels: NDArray[np.uint8], place: _Place) -> float:
        """How much of the line's middle is writing in other sizes, too: of SECOND_HEIGHTS_PX the mean of all but the worst."""
        import cv2

        seen = []
        for wanted in SECOND_HEIGHTS_PX:
            scale = wanted / place.height
            half = min(place.length / 2 + place.height, SECOND_SIDE_PX / 2 / scale)
            left, top = max(0, int(place.x - half)), max(0, int(place.y - half))
            part = pixels[top : int(place.y + half), left : int(place.x + half)]
            wide, high = _fitting(part.shape[1] * scale), _fitting(part.shape[0] * scale)
            smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            heat = self._heat(part, wide, high, smooth)
            x, y = int((place.x - left) * wide / part.shape[1]), int((place.y - top) * high / part.shape[0])
            reach = int(max(wanted * 0.5, min(place.length, half * 2) * scale * MIDDLE_SHARE / 2))
            middle = heat[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
            along = middle.max(axis=1 if place.down else 0, initial=0)
            seen.append(float((along > LEAST_HEAT).mean()) if along.size else 0.0)
        return float(np.mean(sorted(seen)[1:]))

    def _heat(self, pixels: NDArray[np.uint8], wide: int, high: int, smooth: int | None = None) -> NDArray[np.float32]:
        """The network's answer (high, wide), 0 to 1, for an RGB picture of any size."""
        import cv2

        sized = cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA if smooth is None else smooth)
        blue_first = np.ascontiguousarray(sized[..., ::-1].transpose(2, 0, 1))[None]
        answer = self._session.run(None, {self._input: blue_first.astype(np.float32) / 127.5 - 1})
        heat: NDArray[np.float32] = np.asarray(answer[0], np.float32)[0, 0]
        return heat


def _fitting(length: float) -> int:
    return max(SIZE_STEP, round(length / SIZE_STEP) * SIZE_STEP)


def in_words(x: float, y: float) -> str:
    """Where a point lies, in shares of the picture's width and height: "bottom right", "middle"."""
    down = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else ""
    across = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    return " ".join(filter(None, (down, across))) or "middle"


def asked_for_writing(record: ImageRecord) -> bool:
    """True if the picture's prompt names something that is written, or quotes what is to be read: not "no text"."""
    return bool(_ASKED.search(_DENIED.sub(" ", record.prompt or "")))


class WritingOfSources:
    """How much writing a character's sources show: a printed shirt is no invention."""

    def __init__(self, found: Sequence[tuple[str, Writing]]) -> None:
        """The sources' digests, and what each shows."""
        self._of = {digest: writing.share for digest, writing in found}
        shares = list(self._of.values())
        self._usual = float(np.quantile(shares, SOURCES_QUANTILE, method="lower")) if shares else 0.0

    def allowed(self, record: ImageRecord) -> float:
        """The share of a picture that writing may cover without having been invented: as the sources, or the source it is an edit of."""
        return AS_MUCH * max([self._usual, *(self._of.get(parent, 0.0) for parent in record.parents)])


def looks_for_writing(verifier: str, limit: float) -> bool:
    """True for photographs of people, unless the recipe's limit says no; on other subjects the finder was not measured."""
    return is_face(verifier) and limit < 1


def writing_finder(verifier: str, limit: float, folder: Path | None = None) -> str | None:
    """The version of the finder that is asked of a screening; None where writing is not looked for, or without the weights here."""
    here = people_weights_here(folder, (WRITING,))
    return WRITING.sha256 if here and looks_for_writing(verifier, limit) else None


@contextmanager
def open_writing_finder(
    version: str | None, settings: Settings, folder: Path | None = None
) -> Iterator[WritingFinder | None]:
    """The finder of that version; None if none was asked for. Raises MissingWeightsError if it is not here."""
    if version is not None and version != WRITING.sha256:
        raise MissingWeightsError(
            "Writing was to be found with other weights than this version of the program has.",
            why=f"asked for was {version[:12]}, here is {WRITING.sha256[:12]}.",
            remedy="Run the same version of the program on all machines.",
        )
    yield None if version is None else WritingFinder(settings.threads, folder)
