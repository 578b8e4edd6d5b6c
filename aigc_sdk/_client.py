"""What we ask of the hub, through huggingface-hub: the files of a repository at one commit, or one commit to be added.

Whatever goes wrong is a DownloadError or an UploadError, whose message says what to do and whose `reason` is a word of
REMEDIES. huggingface-hub itself goes on with a file whose download was cut off; what it has fetched whole it keeps.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import storage
from .errors import DownloadError, FolderError, UploadError, printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT = 20  # seconds for an answer about a repository
TRIES = 3  # of a download whose connection breaks
REMEDIES = {
    "offline": "HF_HUB_OFFLINE is set, and the cache does not hold it; unset HF_HUB_OFFLINE to ask the hub",
    "unreachable": "the hub cannot be reached; look at the network, or at HF_ENDPOINT where it is set",
    "interrupted": "the connection broke; ask again, what is whole already is kept",
    "damaged": "the bytes are not those that the hub lists; ask again",
    "missing": "there is no such repository, or it is private and the token may not see it; look at the name, "
    "and log in with `hf auth login` or set HF_TOKEN",
    "revision": "the repository has no such branch, tag or commit",
    "gated": "its owner lets in only who asked; ask for access on its page, and log in with `hf auth login`",
    "token": "the token is missing or wrong; log in with `hf auth login`, or set HF_TOKEN",
    "forbidden": "the token may not do this; use one with the right to write to that repository",
    "changed": "somebody else has changed the repository meanwhile; look at it, and push again",
    "busy": "the hub asks to wait; try again later",
    "refused": "the hub refused",
}
"""The words for what is wrong, and what to do."""

COMMIT = re.compile(r"[0-9a-f]{40}")
_STATUS = {401: "token", 402: "forbidden", 403: "forbidden", 409: "changed", 412: "changed", 429: "busy"}


def download(source: str, revision: str | None, patterns: Sequence[str]) -> tuple[Path, str]:
    """A hub repository's files in the local cache, and its name with the commit. Raises DownloadError.

    A branch or a tag is asked for once, and everything is fetched at the commit that it means. A commit that the cache
    holds is opened without asking. Each file that is fetched has the hash by which the hub lists it.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import OfflineModeIsEnabled

    repository, _, named = source.partition("@")
    wanted = revision or named or None
    with _reasons(DownloadError, f"there is no folder {printable(source)!r}, and it could not be fetched from the hub"):
        commit = wanted
        if wanted is None or not COMMIT.fullmatch(wanted):
            with suppress(OfflineModeIsEnabled):  # then whatever the cache has under that name
                commit = HfApi().model_info(repository, revision=wanted, timeout=TIMEOUT).sha
        with _verified(repository):
            for attempt in range(1, TRIES + 1):
                try:
                    path = snapshot_download(
                        repository, revision=commit, allow_patterns=list(patterns), etag_timeout=TIMEOUT
                    )
                    break
                except Exception as error:
                    if attempt == TRIES or _reason(error) != "interrupted":
                        raise
                    time.sleep(attempt)
    return Path(path), f"{repository}@{Path(path).name}"


@dataclass(frozen=True)
class Commit:
    """What a push has made."""

    oid: str
    removed: tuple[str, ...]


def upload(
    repository: str,
    files: Mapping[str, Path | bytes],
    *,
    replaced: Callable[[Sequence[str]], Sequence[str]],
    private: bool,
    branch: str | None,
    message: str,
    token: str | None,
) -> Commit:
    """Add one commit with `files`, by their names in the repository; a repository and a branch that are not there are made.

    `replaced` gets the names of the files that are there, returns those that the commit removes, and may refuse.
    Raises UploadError; then the branch is as it was.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(token=token, library_name="aigc-sdk")
    with _reasons(UploadError, f"{printable(repository)!r} could not be pushed to the hub"):
        api.whoami()  # a wrong token is told before anything is made
        head = _head(api, repository, branch, private)
        tree = api.list_repo_tree(repository, recursive=True, revision=head)
        removed = replaced([each.path for each in tree if isinstance(each, RepoFile)])
        made = api.create_commit(
            repository,
            [
                *(CommitOperationDelete(each) for each in removed),
                *(CommitOperationAdd(name, content) for name, content in sorted(files.items())),
            ],
            commit_message=message,
            revision=branch,
            parent_commit=head,  # so that nothing that somebody else pushes meanwhile is lost
        )
    return Commit(str(made.oid), tuple(removed))


def _head(api: HfApi, repository: str, branch: str | None, private: bool) -> str:
    """The commit that the branch is at; the repository and the branch are made where they are not."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return str(api.model_info(repository, revision=branch, timeout=TIMEOUT).sha)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        api.create_repo(repository, private=private)
        if branch is not None and branch != "main":
            api.create_branch(repository, branch=branch)
    except RevisionNotFoundError:
        api.create_branch(repository, branch=str(branch))
    return str(api.model_info(repository, revision=branch, timeout=TIMEOUT).sha)


@contextmanager
def _verified(repository: str) -> Iterator[None]:
    """Compare every file that comes into the cache meanwhile with the hash that the cache names it by.

    That is the one by which the hub lists it: sha256 of what lies in its large storage, git's sha1 of the rest.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    blobs = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "blobs"
    before = {each.name for each in blobs.iterdir()} if blobs.is_dir() else set()
    try:
        yield
    finally:
        fresh = [each for each in blobs.iterdir() if each.name not in before] if blobs.is_dir() else []
        for blob in fresh:
            if blob.is_file() and not _has_hash(blob):
                blob.resolve().unlink()
                blob.unlink(missing_ok=True)  # where it was a link
                raise DownloadError(
                    f"{printable(repository)!r}: a file came damaged, and was removed: {REMEDIES['damaged']}",
                    reason="damaged",
                )


def _has_hash(blob: Path) -> bool:
    """Whether a file of the cache is what its name says; a name that is no hash says nothing."""
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return storage.sha256(blob) == blob.name
    if re.fullmatch(r"[0-9a-f]{40}", blob.name):
        content = blob.read_bytes()  # what lies in git is small
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == blob.name
    return True


@contextmanager
def _reasons(kind: type[DownloadError] | type[UploadError], what: str) -> Iterator[None]:
    """Turn what huggingface-hub, its HTTP library and the system raise into `kind`, with the reason and the remedy."""
    try:
        yield
    except FolderError:
        raise
    except Exception as error:
        reason = _reason(error)
        cause = printable(f"{type(error).__name__}: {error}", 300)
        raise kind(f"{what}: {REMEDIES[reason]} ({cause})", reason=reason) from error


def _reason(error: BaseException) -> str:
    """The word for what is wrong, from the first error in the chain that says more than that something failed."""
    return next((word for each in _chain(error) if (word := _word(each)) is not None), "refused")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _word(error: BaseException) -> str | None:
    from huggingface_hub import errors

    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (errors.OfflineModeIsEnabled, "offline"),
        (errors.LocalTokenNotFoundError, "token"),
        (errors.GatedRepoError, "gated"),
        (errors.RevisionNotFoundError, "revision"),
        (errors.RepositoryNotFoundError, "missing"),
    )
    for kind, word in kinds:
        if isinstance(error, kind):
            return word
    response: Any = getattr(error, "response", None)
    if isinstance(error, errors.HfHubHTTPError) and response is not None:
        return _STATUS.get(response.status_code, "unreachable" if response.status_code >= 500 else "refused")
    names = {each.__name__ for each in type(error).__mro__}  # of httpx, or of httpx2 in newer releases
    if names & {"ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"}:
        return "unreachable"
    if "TransportError" in names or "Consistency check failed" in str(error):
        return "interrupted"
    return None
