"""A stand-in for an editor behind an address: takes the form, answers as it is told to, and remembers what it was sent."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image, ImageOps

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Sent:
    """One form that arrived."""

    headers: dict[str, str]
    fields: dict[str, str]
    pictures: list[bytes]


@dataclass
class EditServer:
    """`answers` are given in order, then every edit is made: the first picture with its colours turned round."""

    answers: list[Answer] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    url: str = ""

    def answer(self, sent: Sent) -> Answer:
        self.sent.append(sent)
        if self.answers:
            return self.answers.pop(0)
        buffer = io.BytesIO()
        ImageOps.invert(Image.open(io.BytesIO(sent.pictures[0])).convert("RGB")).save(buffer, "PNG")
        return 200, {}, picture_answer(buffer.getvalue())


def picture_answer(data: bytes) -> bytes:
    return json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}).encode()


def refusal(code: int, message: str, **headers: str) -> Answer:
    return code, headers, json.dumps({"error": {"message": message, "type": "x"}}).encode()


@contextmanager
def running_edit_server() -> Iterator[EditServer]:
    """The server on a free port of this machine."""
    server = EditServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code, headers, data = server.answer(_form(dict(self.headers), body))
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listening.server_port}/v1/images/edits"
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def _form(headers: dict[str, str], body: bytes) -> Sent:
    kind = next(value for name, value in headers.items() if name.lower() == "content-type")
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    pictures: list[bytes] = []
    for part in message.iter_parts():  # type: ignore[attr-defined]
        content = part.get_payload(decode=True)
        if part.get_filename():
            pictures.append(content)
            fields[f"file {len(pictures)}"] = part.get_param("name", header="content-disposition")
        else:
            fields[part.get_param("name", header="content-disposition")] = content.decode()
    return Sent(headers, fields, pictures)
