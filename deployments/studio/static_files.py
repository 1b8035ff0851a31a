"""Style sheets and scripts, read once at the start and served from memory: no path from a URL reaches the disk."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from flenwheel_core.base.ids import digest_bytes, short

FOLDER = Path(__file__).parent / "static"
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def static_router() -> APIRouter:
    """Serves the files of the static folder by name."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in KINDS}
    tags = {name: f'"{short(digest_bytes(data))}"' for name, data in files.items()}

    @router.get("/static/{name}")
    async def get_static(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404)
        headers = {"etag": tags[name], "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(files[name], media_type=KINDS[Path(name).suffix], headers=headers)

    return router
