"""What `decode` and a decoder process say to each other: a line of JSON and a block of bytes, their lengths before them."""

import socket
import struct
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import BY_NAME, FlenwheelError
from flenwheel_core.images.reading import Decoded, Limits

_LENGTHS = struct.Struct(">IQ")
_LINE_BYTES = 2**20


class Job(Document):
    """A picture to be read. Its bytes follow as the block."""

    is_a: Literal["job"] = "job"
    name: str
    limits: Limits
    pixels: bool = Field(description="False: only whether it can be read, and what it is")


class Sign(Document):
    """How a decoder stands."""

    is_a: Literal["sign"] = "sign"
    state: Literal["ready", "waiting", "began"] = Field(
        description="waiting: for the turn of a large picture; began: the pixels are being decoded"
    )
    pixels: int = 0


class Found(Document):
    """What was read. The pixels, three bytes each, follow as the block."""

    is_a: Literal["found"] = "found"
    format: str
    notes: tuple[str, ...]
    size: tuple[int, int]
    scaled: tuple[int, int]
    written: tuple[tuple[str, str], ...]
    last: bool = Field(description="the decoder ends now: it grew too large to be kept")

    @classmethod
    def of(cls, decoded: Decoded, *, last: bool) -> "Found":
        return cls(
            format=decoded.format,
            notes=decoded.notes,
            size=decoded.size,
            scaled=decoded.image.size,
            written=decoded.written,
            last=last,
        )


class Refused(Document):
    """Why it cannot be read."""

    is_a: Literal["refused"] = "refused"
    kind: str
    what: str
    why: str
    remedy: str

    @classmethod
    def of(cls, error: FlenwheelError) -> "Refused":
        return cls(kind=type(error).__name__, what=error.what, why=error.why, remedy=error.remedy)

    def error(self) -> FlenwheelError:
        return BY_NAME.get(self.kind, FlenwheelError)(self.what, why=self.why, remedy=self.remedy)


Message = Job | Sign | Found | Refused
_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="is_a")])


def send(connection: socket.socket, message: Message, block: bytes | memoryview = b"") -> None:
    """Sends a message with its block. Raises OSError, also after the connection's timeout."""
    line = message.model_dump_json().encode()
    connection.sendall(_LENGTHS.pack(len(line), len(block)) + line)
    connection.sendall(block)


def receive(connection: socket.socket, most_bytes: int) -> tuple[Message, bytearray]:
    """The next message with its block. Raises EOFError if the other side is gone, OSError, or ValueError for nonsense."""
    line_bytes, block_bytes = _LENGTHS.unpack(_exactly(connection, _LENGTHS.size))
    if line_bytes > _LINE_BYTES or block_bytes > most_bytes:
        raise ValueError("a message is longer than it can be")
    line = _exactly(connection, line_bytes)
    return _MESSAGES.validate_json(bytes(line)), _exactly(connection, block_bytes)


def _exactly(connection: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        read = connection.recv_into(view[done:])
        if read == 0:
            raise EOFError
        done += read
    return data
