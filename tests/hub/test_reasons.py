"""A push or a fetch that fails says why in a word, and leaves the hub as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aigc_sdk.hub import REASONS

Ask = Callable[..., dict[str, Any]]
Printed = Callable[[str, dict[str, str]], list[str]]
WRITER = "hf_writer"  # the token with which every client begins


PUSHES = {
    "a wrong token": ("token='hf_wrong'", "token"),
    "a token that only reads": ("token='hf_reader'", "forbidden"),
    "a hub that fails": ("", "unreachable"),
}


@pytest.mark.parametrize("what", PUSHES)
def test_a_push_that_is_refused_says_why_and_changes_nothing(what: str, hub: Any, ask: Ask, sea: Path) -> None:
    more, reason = PUSHES[what]
    hub.failing = "/commit/" if what == "a hub that fails" else None
    head = hub.add("me/refused", {".gitattributes": b""})
    said = ask(f"aigc_sdk.push({str(sea)!r}, 'me/refused', {more})")
    assert (said["error"], said["reason"]) == ("UploadError", reason)
    assert reason in REASONS
    assert "hf_wrong" not in said["message"]
    assert hub.repositories["me/refused"].branches == {"main": head}


FETCHES = {
    "no such repository": ("me/nowhere", "missing"),
    "no such revision": ("me/heavy@nowhere", "revision"),
    "a gated repository": ("me/gated", "gated"),
    "a hub that fails": ("me/heavy", "unreachable"),
}


@pytest.mark.parametrize("what", FETCHES)
def test_a_fetch_that_is_refused_says_why(what: str, hub: Any, ask: Ask, heavy: dict[str, bytes]) -> None:
    source, reason = FETCHES[what]
    hub.add("me/heavy", heavy)
    hub.add("me/gated", heavy, gated=True)
    hub.failing = "/api/models" if what == "a hub that fails" else None
    said = ask(f"folder.read({source!r}, backend='tiny')")
    assert (said["error"], said["reason"]) == ("DownloadError", reason)
    assert source in said["message"]


def reason(ask: Ask, code: str, token: str) -> str:
    """Of the error that `code` comes to, for a user with a token; an empty one is none."""
    said = ask(f"import os\nos.environ['HF_TOKEN'] = {token!r}\n{code}")
    ask(f"import os\nos.environ['HF_TOKEN'] = {WRITER!r}")
    return str(said["reason"])


def test_a_user_without_a_token_or_with_a_wrong_one_is_told(hub: Any, ask: Ask, sea: Path) -> None:
    hub.add("me/private", {"config.json": b"{}"}, private=True)
    push, fetch = f"aigc_sdk.push({str(sea)!r}, 'me/sea')", "folder.read('me/private', backend='tiny')"
    assert reason(ask, push, "") == "token"
    assert reason(ask, fetch, "") == "missing"
    assert reason(ask, fetch, "hf_wrong") == "token"
    assert not [path for method, path, _ in hub.seen if method != "GET"]


def test_without_a_network_or_offline_the_reason_is_told(hub: Any, sea: Path, tmp_path: Path, printed: Printed) -> None:
    code = f"aigc_sdk.push({str(sea)!r}, 'me/sea')\nfolder.read('me/sea', backend='echo')"
    assert printed(code, hub.environment(tmp_path, HF_ENDPOINT="http://127.0.0.1:9")) == ["unreachable"] * 2
    assert printed(code, hub.environment(tmp_path, HF_HUB_OFFLINE="1")) == ["offline"] * 2
    assert hub.seen == []
