"""Publishing to the Hugging Face Hub: one commit holds everything, so that a broken upload leaves nothing to be seen.

A repository is private until it is whole. What it holds is compared first: the same files again are no commit. The token comes from the
environment alone and is written nowhere.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import FlenwheelError, InputError, ServerError, first_line
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.models.hub import TIMEOUT_SECONDS
from flenwheel_core.models.references import is_hub_id
from flenwheel_core.publishing.bundle import RECORD, Bundle, Publication, require_same_subject
from flenwheel_core.requests.publish import PublishedFile, PublishResult

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile

TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105 - the variable's name
HUB = "https://huggingface.co"
MOST_REDIRECTS = 5
_MADE_BY_THE_HUB = (".gitattributes", "README.md")


def require_token() -> str:
    """The Hub's token from the environment; raises InputError if there is none."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise InputError(
            "No token of the Hub is set.",
            why="publishing needs one that may write; it is read from the environment only.",
            remedy=f"Set {TOKEN_VARIABLE} (https://huggingface.co/settings/tokens), for `flenwheel up` as well.",
        )
    return token


def require_repository(place: str) -> str:
    """The repository's name; raises InputError if it is none."""
    if not is_hub_id(place):
        raise InputError(
            f"{place[:80]!r} is no repository of the Hub.",
            remedy="Name it as owner/name, such as ana/mira-lora; the owner is you or an organisation of yours.",
        )
    return place


def publish_to_hub(bundle: Bundle, place: str, *, public: bool, note: Callable[[str], None]) -> PublishResult:
    """Brings a repository to exactly these files.

    Raises InputError for what the Hub refuses, for a repository of something else, and for one that everybody reads if `public` is not
    said; ServerError if the Hub does not answer.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    repo, kind = require_repository(place), bundle.what
    endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    api = HfApi(endpoint=endpoint, token=require_token(), library_name="flenwheel")
    record = bundle.record()
    files = {**bundle.files, RECORD: record.to_bytes()}
    with _explained(repo):
        try:
            info = api.repo_info(repo, repo_type=kind, timeout=TIMEOUT_SECONDS)
        except RepositoryNotFoundError:
            sdk = {"space_sdk": "gradio"} if kind == "space" else {}
            api.create_repo(repo, repo_type=kind, private=True, exist_ok=True, **sdk)
            info = api.repo_info(repo, repo_type=kind, timeout=TIMEOUT_SECONDS)
        if not public and not info.private:
            raise InputError(
                f"{repo} is open to everybody.",
                why="what is published there is public at once, and licences ask for more then.",
                remedy="Say --public, make the repository private, or name another one.",
            )
        head = str(info.sha)
        standing = {file.path: file for file in _tree(api, repo, kind, head)}
        before = _published_before(api, repo, kind, head, standing)
        if before is not None:
            require_same_subject(before, bundle, repo)
        ours = frozenset(file.name for file in before.files) if before is not None else frozenset[str]()
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationDelete(name) for name in sorted(ours - set(files)) if name in standing
        ]
        changed = [name for name, data in files.items() if not _same(standing.get(name), data)]
        operations += [CommitOperationAdd(name, files[name]) for name in changed]
        if operations:
            note(f"{len(changed)} files to {repo}, in one commit")
            commit = api.create_commit(
                repo,
                operations,
                commit_message=f"{bundle.name}, {record.digest[:12]}",
                repo_type=kind,
                parent_commit=head,  # whoever else writes meanwhile makes this one fail, and the retry looks again
            )
            head = commit.oid
        else:
            note(f"{repo} holds these files already")
        if public and info.private:
            api.update_repo_settings(repo, private=False, repo_type=kind)
    address = f"{endpoint}/{'spaces/' if kind == 'space' else ''}{repo}"
    return PublishResult(
        to="hub",
        address=address,
        files=tuple(
            PublishedFile(
                name=file.name,
                digest=file.sha256,
                size_bytes=file.size_bytes,
                address=f"{address}/resolve/{head}/{file.name}",
            )
            for file in record.files
        ),
        digest=record.digest,
        revision=head,
    )


def _tree(api: "HfApi", repo: str, kind: str, revision: str) -> Iterator["RepoFile"]:
    from huggingface_hub import RepoFile

    for entry in api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind):
        if isinstance(entry, RepoFile):
            yield entry


def _published_before(
    api: "HfApi", repo: str, kind: str, revision: str, standing: "dict[str, RepoFile]"
) -> Publication | None:
    """The repository's record; None for an empty one. Raises InputError for a repository that holds others' files."""
    if RECORD in standing:
        address = f"{api.endpoint}/{'spaces/' if kind == 'space' else ''}{repo}/resolve/{revision}/{RECORD}"
        return Publication.from_bytes(_read(address, str(api.token)), where=f"{RECORD} of {repo}")
    others = sorted(name for name in standing if name not in _MADE_BY_THE_HUB)
    if others:
        raise InputError(
            f"{repo} holds files that were not published from here.",
            why=f"such as {others[0][:80]}; they would be mixed with this LoRA's.",
            remedy="Name a repository that is new or empty.",
        )
    return None


def _read(address: str, token: str) -> bytes:
    """A small file of the Hub, which sends its readers on to another path of its own. The token goes to no other server."""
    import httpx

    headers = {"Authorization": f"Bearer {token}"}
    for _ in range(MOST_REDIRECTS):
        answer = httpx.get(address, headers=headers, timeout=TIMEOUT_SECONDS)
        if answer.next_request is None:
            answer.raise_for_status()
            return answer.content
        here, there = answer.url, answer.next_request.url
        if (here.scheme, here.host, here.port) != (there.scheme, there.host, there.port):
            raise httpx.TooManyRedirects(f"sent to another server, {there.host}")
        address = str(there)
    raise httpx.TooManyRedirects(f"sent on {MOST_REDIRECTS} times")


def _same(standing: "RepoFile | None", data: bytes) -> bool:
    """True if the repository holds these very bytes."""
    if standing is None or standing.size != len(data):
        return False
    if standing.lfs is not None:
        return str(standing.lfs.sha256) == digest_bytes(data)
    git_id = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return str(standing.blob_id) == git_id


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """The client's errors in words; the token is in none of them."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    known = (HfHubHTTPError, httpx.HTTPError, OSError, ValueError)
    try:
        yield
    except known as error:
        raise _told(repo, error) from None
    except RuntimeError as error:  # what happened to a large file, wrapped once more
        if not isinstance(error.__cause__, known):
            raise
        raise _told(repo, error.__cause__) from None


def _told(repo: str, error: Exception) -> FlenwheelError:
    from huggingface_hub.errors import HfHubHTTPError

    again = "Try again: nothing is half there."
    if not isinstance(error, HfHubHTTPError):
        if isinstance(error, ValueError):  # what the Hub's check of the card says
            return InputError(f"The Hub refused the card of {repo}.", why=first_line(error)[:300])
        why = f"{type(error).__name__}: {first_line(error)[:200]}."
        return ServerError(f"Publishing to {repo} broke off.", why=why, remedy=again)
    status = error.response.status_code if error.response is not None else 0
    if status in (401, 403):
        return InputError(
            f"The Hub lets you write nothing to {repo}.",
            why=f"it answered {status}: the token is not valid, may only read, or the name is another's.",
            remedy=f"Check {TOKEN_VARIABLE} and the repository's owner.",
        )
    if status in (408, 409, 412, 425, 429) or status >= 500:
        return ServerError(f"Publishing to {repo} broke off.", why=f"the Hub answered {status}.", remedy=again)
    return InputError(f"The Hub refused {repo}.", why=f"{status}: {first_line(error)[:300]}")
