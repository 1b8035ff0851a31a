"""A study of ways of drawing a style, as a page for readers: one HTML file with its pictures in it, without a server or network."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.whole_files import write_atomically
from flenwheel_core.evaluation.memorised import how_near
from flenwheel_core.evaluation.style_ranks import KNOWN_FROM
from flenwheel_core.images.sheets import Tile, contact_sheet
from flenwheel_core.library.studies import StudyMade, WayWins
from flenwheel_core.publishing.card import plain_reference
from flenwheel_core.requests.style_study import StudiedWay, StyleStudyRequest, StyleStudyResult
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture

PAGE = "index.html"
GRID = "grid.png"
MARK = '<meta name="generator" content="flenwheel compare-styles">'
"""Stands in a page's head. Only pages with it are replaced."""
_MARK_WITHIN = 4096
_QUALITY = 88
_LOOK = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#202226;background:#fafaf8}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:left}"
    "td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}img{max-width:100%;height:auto}small{color:#5a5f68}"
    "div{overflow-x:auto}"
)
_Row = Sequence[str]


def refuse_others_page(folder: Path) -> None:
    """Raises InputError if the folder holds an index.html, or a grid.png without one, that is no page of a study."""
    page, grid = folder / PAGE, folder / GRID
    taken = page if page.exists() else grid
    if not taken.exists():
        return
    if taken == page and page.is_file():
        with page.open("rb") as file:
            if MARK.encode() in file.read(_MARK_WITHIN):
                return
    raise InputError(
        f"{taken} is no page of a study, and is not replaced.",
        why="a study's page says in its head that it is one."
        if taken == page
        else f"there is no {PAGE} of a study beside it.",
        remedy="Name another folder, or move that file away.",
    )


def write_study_page(
    folder: Path, store: Store, made: StudyMade, found: StyleStudyResult, wins: Sequence[WayWins]
) -> Path:
    """Writes the page and the grid as a picture of its own; a study's page of before is replaced, each file at once and whole. Returns the
    page's path. Raises InputError as `refuse_others_page` does.
    """
    refuse_others_page(folder)
    asked = store.get_request(StyleStudyRequest, made.request)
    assert asked is not None
    grid = study_grid(store, asked, found)
    small, whole = io.BytesIO(), io.BytesIO()
    grid.save(small, "JPEG", quality=_QUALITY)
    grid.save(whole, "PNG")
    page = folder / PAGE
    # The page first: it says whose the folder is.
    write_atomically(page, study_page(made, asked, found, wins, small.getvalue()).encode())
    write_atomically(folder / GRID, whole.getvalue())
    return page


def study_grid(store: Store, asked: StyleStudyRequest, found: StyleStudyResult) -> Image.Image:
    """Every picture: scenes down, ways across."""
    pictures = [[record.digest for record in store.get_images(one.images)] for one in found.ways]
    tiles = [
        Tile(load_picture(store, own[place]), (one.way.name, scene.prompt))
        for place, scene in enumerate(asked.scenes)
        for one, own in zip(found.ways, pictures, strict=True)
    ]
    return contact_sheet(tiles, columns=len(found.ways))


def study_page(
    made: StudyMade, asked: StyleStudyRequest, found: StyleStudyResult, wins: Sequence[WayWins], grid: bytes
) -> str:
    """The page; `grid` is a JPEG."""
    name = f"{asked.character.name}: {made.name}"
    parts = [
        f"<h1>{escape(name)}</h1>",
        f"<p>The same {len(asked.scenes)} scenes and seeds, drawn in {len(found.ways)} ways. The distance is between all pictures of a way "
        "and the paintings that were kept back, in their spreads: 0 is the style itself. Intervals are of 95 %.</p>",
        "<h2>Ways of drawing, nearest first</h2>",
        _table(*_ways(found)),
        *(f"<p>{escape(line)}</p>" for line in _remarks(found)),
    ]
    if wins:
        parts += ["<h2>Blind pairs</h2>", "<p>Two pictures of one scene and seed; nobody saw which way drew which.</p>"]
        parts.append(_table(*_pairs(wins)))
    picture = f"data:image/jpeg;base64,{base64.b64encode(grid).decode()}"
    parts += [
        "<h2>The pictures: scenes down, ways across</h2>",
        f'<div><img src="{picture}" alt="every scene in every way of drawing"></div>',
        f"<p><small>Study {made.request}, {made.at:%Y-%m-%d}. Bases: {escape(', '.join(_bases(found)))}.</small></p>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{MARK}<meta name="viewport" content="width=device-width">'
        f"<title>{escape(name)}</title><style>{_LOOK}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _ways(found: StyleStudyResult) -> tuple[list[str], list[_Row]]:
    """Head and rows; photographs stand where their distance is. Columns that no way has a figure for are left out."""
    rows = [(one.style.distance, _way(one, found)) for one in found.ways]
    if found.photos is not None:
        photos = found.photos
        spread = f"{photos.low:.2f} to {photos.high:.2f}"
        row = [
            "photographs (given, not drawn)",
            f"{photos.distance:.2f}",
            spread,
            _gained(photos.gain),
            "",
            _figure(photos.kid, 4),
            "",
            "",
            "",
        ]
        rows.append((photos.distance, row))
    head = [
        "way",
        "distance",
        "interval",
        "nearer than named by",
        "content kept",
        "KID",
        "CLIP-T",
        "CSD rank",
        "repeat a painting",
    ]
    ordered = [row for _, row in sorted(rows, key=lambda one: one[0])]
    shown = [column for column in range(len(head)) if any(row[column] for row in ordered)]
    return [head[column] for column in shown], [[row[column] for column in shown] for row in ordered]


def _way(one: StudiedWay, found: StyleStudyResult) -> list[str]:
    marks = [one.way.choice] if one.way.choice else []
    if one.way.lora is not None and one.way.strength == found.strength:
        marks.append("default strength")
    if one.way.name == found.named:
        marks.append("named best")
    return [
        one.way.name + (f" ({', '.join(marks)})" if marks else ""),
        f"{one.style.distance:.2f}",
        f"{one.style.low:.2f} to {one.style.high:.2f}",
        _gained(one.gain),
        "not told" if one.style.content is None else f"{one.style.content:.0%}",
        _figure(one.kid, 4),
        _figure(one.clip_t, 3),
        _figure(one.csd, 2),
        str(one.style.copied),
    ]


def _remarks(found: StyleStudyResult) -> list[str]:
    said = []
    if found.strength is not None:
        said.append(
            f"At a strength of {found.strength:g} it is as near to the style as the content allows: that is the default strength."
        )
    if found.csd_own is not None:
        known = "" if found.csd_own >= KNOWN_FROM else " It does not know this style, and its ranks mean nothing here."
        said.append(
            f"Of the paintings that were trained on CSD says {found.csd_own:.2f}; 0.50 knows no difference.{known}"
        )
    nearest = [
        (near.bits, near.mirrored, one.way.name)
        for one in found.ways
        if one.way.lora is not None
        for near in one.nearest
    ]
    if nearest:
        bits, mirrored, way = min(nearest)
        said.append(
            f"The picture of a LoRA that is most like a painting it learned from, of {way}: {how_near(bits, mirrored=mirrored)}."
        )
    return said


def _pairs(wins: Sequence[WayWins]) -> tuple[list[str], list[_Row]]:
    rows: list[_Row] = []
    for one in wins:
        rate, decided = one.rate, one.won + one.lost
        told = [f"{rate.value:.0%}", f"{rate.low:.0%} to {rate.high:.0%}"] if decided else ["", ""]
        rows.append([one.way, one.against, *told, str(one.won), str(one.lost), str(one.neither)])
    return ["way", "against", "preferred", "interval", "won", "lost", "neither"], rows


def _table(head: Sequence[str], rows: Sequence[_Row]) -> str:
    """Names on the left, figures on the right."""
    texts = 2 if "against" in head else 1

    def cell(tag: str, column: int, text: str) -> str:
        return f"<{tag}{' class=n' if column >= texts else ''}>{escape(text)}</{tag}>"

    lines = [
        "<tr>" + "".join(cell(tag, column, text) for column, text in enumerate(row)) + "</tr>"
        for tag, row in [("th", head), *(("td", row) for row in rows)]
    ]
    return "<div><table>\n" + "\n".join(lines) + "\n</table></div>"


def _gained(gain: tuple[float, float, float] | None) -> str:
    return "" if gain is None else f"{gain[0]:+.2f} ({gain[1]:+.2f} to {gain[2]:+.2f})"


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _bases(found: StyleStudyResult) -> list[str]:
    """A folder's own path is nobody's business."""
    return list(dict.fromkeys(plain_reference(one.way.base) for one in found.ways))
