"""One edit over HTTP: a form with pictures and a prompt goes out, a picture comes back."""

import base64
import binascii
import email.utils
import io
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import httpx
from PIL import Image

from flenwheel_core.base.errors import FlenwheelError, InputError, MissingWeightsError, ServerError
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.images.decode import decode
from flenwheel_core.models.edit_address.address import EditAddress
from flenwheel_core.models.edit_address.ledger import Ledger, NotChargedError
from flenwheel_core.models.edit_address.waiting import answer_of, pause
from flenwheel_core.models.protocols import EditJob

LARGEST_ANSWER_BYTES = 100 * 2**20
LONGEST_WAIT_SECONDS = 60.0
FIRST_WAIT_SECONDS = 1.0
_BUSY = frozenset({409, 425, 429, 503})
"""The address did nothing: the same may be asked again."""
_BROKEN = frozenset({408, 500, 502, 504})
"""The same may be asked again, and perhaps something was done."""
_NO_KEY = frozenset({401, 403})


class EditClient:
    """Asks an address for edits, one at a time. Follows no redirects, and waits as long as it is asked to, up to a minute.

    A stop is heard while it waits; an edit that is under way then is waited for a little longer, because it is paid.
    """

    def __init__(
        self,
        address: EditAddress,
        ledger: Ledger,
        note: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        """Raises MissingWeightsError if the key is not there."""
        self._address, self._ledger, self._note, self._stop = address, ledger, note, stop
        key = address.key()
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key is not None else {})
        self._http = httpx.Client(headers=headers, timeout=address.timeout_seconds, follow_redirects=False)

    def edit(self, job: EditJob) -> Image.Image:
        """The edited picture.

        Raises InputError if the address refuses this edit, MissingWeightsError if it refuses the key, ResourceError beyond the most it
        may cost, ServerError if it stays busy or broken, InterruptedStageError if the stage is stopped meanwhile.
        """
        form, pictures = self._form(job)
        name = digest_bytes(json.dumps(form, sort_keys=True).encode() + b"".join(pictures))
        wait, said = FIRST_WAIT_SECONDS, ""
        for attempt in range(1, self._address.tries + 1):
            asked = 0.0
            try:
                with self._ledger.paying():
                    return answer_of(partial(self._ask, form, pictures, name), self._stop)
            except _RefusedError as error:
                raise error.reason from None
            except _BusyError as error:
                said, asked = str(error), error.wait_seconds
            except (NotChargedError, _BrokenError, httpx.RequestError) as error:
                said = str(error) or type(error).__name__
            if attempt < self._address.tries:
                seconds = min(LONGEST_WAIT_SECONDS, max(wait, asked))
                self._note(f"{self._address.host}: {said}; asking again in {seconds:.0f} s")
                pause(seconds, self._stop)
                wait *= 2
        raise ServerError(
            f"{self._address.host} did not make edit {job.key} in {self._address.tries} tries.",
            why=said,
            remedy="Retry later: the edits that were made are kept.",
        )

    def close(self) -> None:
        self._http.close()

    def _form(self, job: EditJob) -> tuple[dict[str, str], list[bytes]]:
        form = {"model": self._address.model, "prompt": job.prompt, "n": "1", **self._address.fields}
        size = self._address.size_for(job.images[0].size)
        if size is not None:
            form["size"] = size
        if self._address.seed_field:
            form[self._address.seed_field] = str(job.seed)
        return form, [_png(image) for image in job.images]

    def _ask(self, form: dict[str, str], pictures: list[bytes], name: str) -> Image.Image:
        """Sends it once. What is not known to be free stays counted: also an answer that never arrives, or that nobody can read."""
        field = self._address.picture_field
        files = [(field, (f"{number}.png", data, "image/png")) for number, data in enumerate(pictures, 1)]
        headers = {"Idempotency-Key": name}
        try:
            with self._http.stream("POST", self._address.url, data=form, files=files, headers=headers) as answer:
                body = _read(answer, self._address.host)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotChargedError(f"no connection ({error})") from error
        if answer.status_code in _BUSY:
            raise _BusyError(_words(answer, body), _seconds(answer.headers.get("Retry-After", "")))
        if answer.status_code in _BROKEN:
            raise _BrokenError(_words(answer, body))
        if answer.status_code != httpx.codes.OK:
            raise _RefusedError(self._refusal(answer, body, form["prompt"]))
        return decode(_picture_in(body, self._address.host), f"the answer of {self._address.host}").image

    def _refusal(self, answer: httpx.Response, body: bytes, prompt: str) -> FlenwheelError:
        if answer.status_code in _NO_KEY:
            return MissingWeightsError(
                f"{self._address.host} does not take the key.",
                why=_words(answer, body),
                remedy=f"Look at {self._address.key_file or 'key_file in its model_index.json'}.",
            )
        return InputError(
            f"{self._address.host} refuses the edit {prompt[:120]!r}.",
            why=_words(answer, body),
            remedy="Look at its model_index.json, change the prompts in the recipe's [enrich], or name another editor.",
        )


class _BusyError(NotChargedError):
    def __init__(self, said: str, wait_seconds: float) -> None:
        super().__init__(said)
        self.wait_seconds = wait_seconds


class _BrokenError(Exception):
    """Charged, perhaps."""


class _RefusedError(NotChargedError):
    def __init__(self, reason: FlenwheelError) -> None:
        super().__init__(reason.what)
        self.reason = reason


def _png(image: Image.Image) -> bytes:
    """The pixels and nothing else: no names, no places, no prompts."""
    buffer = io.BytesIO()
    bare = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    bare.save(buffer, "PNG")
    return buffer.getvalue()


def _read(answer: httpx.Response, host: str) -> bytes:
    parts, size = [], 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > LARGEST_ANSWER_BYTES:
            raise InputError(
                f"The answer of {host} is larger than {LARGEST_ANSWER_BYTES // 2**20} MiB.",
                remedy="Ask it for smaller pictures: sizes in its model_index.json.",
            )
        parts.append(part)
    return b"".join(parts)


def _picture_in(body: bytes, host: str) -> bytes:
    """The picture's file in an answer. A link is not followed: it could lead anywhere."""
    try:
        coded = json.loads(body)["data"][0]["b64_json"]
        return base64.b64decode(coded, validate=True)
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, binascii.Error) as error:
        raise InputError(
            f"{host} answered, and no picture is in it.",
            why="data[0].b64_json is not there, or holds no base64.",
            remedy='Where it sends links, ask for the picture itself: fields = {"response_format": "b64_json"} in its model_index.json.',
        ) from error


def _words(answer: httpx.Response, body: bytes) -> str:
    """What an answer says of itself, short and on one line."""
    try:
        said = str(json.loads(body)["error"]["message"])
    except (ValueError, RecursionError, KeyError, IndexError, TypeError):
        said = body[:300].decode(errors="replace")
    return f"{answer.status_code} {answer.reason_phrase}: {' '.join(said.split())[:300]}".rstrip(": ")


def _seconds(retry_after: str) -> float:
    """The header Retry-After: seconds, or a date; 0 for anything else."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
