"""What a waiting gate tells people: the text beside the form, and a page with a contact sheet."""

import base64
import io
from typing import TYPE_CHECKING

from flenwheel_core.documents.scores import Screening
from flenwheel_core.gates.session import ReviewSession
from flenwheel_core.images.sheets import Tile, contact_sheet
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_TILES = 60
TILE_PX = 88
COLUMNS = 10


def gate_text(session: ReviewSession, address: str | None, refusal: str = "") -> str:
    """What is asked, and where to decide."""
    lines = [f"## {session.gate}", ""]
    if refusal:
        lines += [f"> **Asked again.** {refusal}", ""]
    lines.append(
        f"{session.character}, turn {session.turn}, round {session.round}: {session.of_kind.asked} wait for verdicts. "
        f"{session.minimum} good ones are asked for."
    )
    if address is not None:
        lines += ["", f"[Decide picture by picture in the studio]({address}), and finish there."]
    lines += ["", f"Or answer here, or with `flenwheel approve {session.gate}`."]
    return "\n".join(lines)


def gate_page(store: Store, session: ReviewSession, text: str) -> str:
    """The text with a contact sheet of the candidates, screening's outcome under each."""
    records = store.get_images(session.images)
    rows: dict[str, Screening] = {}
    if session.screenings is not None:
        rows = {row.image: row for row in store.get_screenings(session.screenings)}
    tiles = []
    for record in records[:MOST_TILES]:
        row = rows.get(record.digest)
        tiles.append(Tile(load_picture(store, record.digest), (row.outcome if row else record.cell or "",)))
    counts = {outcome: sum(row.outcome == outcome for row in rows.values()) for outcome in ("pass", "unsure", "fail")}
    said = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    more = f" The first {MOST_TILES} of them:" if len(records) > MOST_TILES else ""
    parts = [text, "", f"{len(records)} pictures; screening says {said}.{more}", ""]
    if tiles:
        parts.append(picture_tag(contact_sheet(tiles, columns=COLUMNS, tile_px=TILE_PX), session.gate))
    return "\n".join(parts)


def picture_tag(image: "Image", name: str, *, widest_px: int = 960) -> str:
    """An image tag that needs no server: a small JPEG as a data address. Keep it small, the Prefect database holds it."""
    if image.width > widest_px:
        image = image.resize((widest_px, round(image.height * widest_px / image.width)))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=78, optimize=True)
    return f'<img alt="{name}" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
