"""A studio below a path of a host that it shares with others, such as https://host/flen/."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Mounted:
    """Takes the path away from what comes in, so that everything behind sees the studio's own addresses, and puts it before redirects.

    Requests without it are served too: those of this machine, and those of a proxy that took it away already.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                there = urlsplit(headers.get("location", ""))
                if there.path and there.netloc in ("", host):
                    headers["location"] = there._replace(scheme="", netloc="", path=self._path + there.path).geturl()
            await send(message)

        await self._app(self._below(scope), receive, answer)

    def _below(self, scope: Scope) -> Scope:
        if f"{scope['path']}/".startswith(f"{self._path}/"):
            path = scope["path"].removeprefix(self._path) or "/"
            return {**scope, "path": path, "raw_path": path.encode()}
        return scope
