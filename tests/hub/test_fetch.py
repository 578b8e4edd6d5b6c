"""Fetching a model: a broken download goes on, a changed file is refused, and a pinned commit is asked for once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aigc_sdk
from aigc_sdk import folder
from aigc_sdk.errors import NotAModel, UnsafeFolder

Ask = Callable[..., dict[str, Any]]
Printed = Callable[[str, dict[str, str]], list[str]]
CHUNK = 10 * 1024 * 1024  # bytes that huggingface-hub writes at once, and goes on from when a connection breaks


def test_an_interrupted_download_goes_on_where_it_was_cut_off(
    hub: Any, ask: Ask, tmp_path: Path, model_files: Callable[[Path, int], dict[str, bytes]]
) -> None:
    files = model_files(tmp_path / "model", 3 * CHUNK)
    hub.add("me/cut", files)
    hub.cut[:] = [CHUNK + 1000, CHUNK]
    said = ask("result = folder.read('me/cut', backend='tiny').path")
    assert "error" not in said, said
    ranges = [each for method, path, each in hub.seen if method == "GET" and path.startswith("/large/")]
    assert ranges == ["", f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]
    assert hub.sent == sum(map(len, files.values())) + 1000
    assert (Path(said["result"]) / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_a_download_whose_connection_is_reset_is_asked_for_again(hub: Any, ask: Ask, heavy: dict[str, bytes]) -> None:
    hub.add("me/reset", heavy)
    hub.cut[:], hub.abrupt = [1000], True
    assert "error" not in ask("folder.read('me/reset', backend='tiny')")
    assert len([path for method, path, _ in hub.seen if method == "GET" and path.startswith("/large/")]) == 2
    hub.cut[:] = [1000] * 3
    hub.add("me/reset-again", {**heavy, "model.safetensors": heavy["model.safetensors"] + b" "})
    said = ask("folder.read('me/reset-again', backend='tiny')")
    assert (said["error"], said["reason"]) == ("DownloadError", "interrupted")


def test_what_was_fetched_whole_is_kept_when_the_rest_fails(hub: Any, ask: Ask, heavy: dict[str, bytes]) -> None:
    commit = hub.add("me/half", {**heavy, "merges.txt": b"1"})
    hub.failing = "/large/"
    said = ask("folder.read('me/half', backend='tiny')")
    assert (said["error"], said["reason"]) == ("DownloadError", "unreachable")
    hub.failing = None
    hub.seen.clear()
    hub.repositories["me/half"].commits[commit].pop("merges.txt")
    assert "was not saved with this model" in ask("folder.read('me/half', backend='tiny')")["message"]
    assert [path.rsplit("/", 1)[1] for method, path, _ in hub.seen if method == "GET" and "/resolve/" in path] == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_comes_changed_is_refused_and_not_kept(
    name: str, hub: Any, ask: Ask, heavy: dict[str, bytes], home: Path
) -> None:
    """Without an aigc.json too, whose sums would tell: a folder of transformers has none."""
    plain = {key: content for key, content in heavy.items() if key != "aigc.json"}
    repository = f"me/changed-{name.split('.')[0]}"
    hub.add(repository, plain)
    hub.tampered.add(name)
    said = ask(f"folder.read({repository!r}, backend='tiny')")
    assert (said["error"], said["reason"]) == ("DownloadError", "damaged")
    assert not [each for each in home.rglob(f"*{repository[3:]}*/snapshots/*/{name}") if each.is_file()]
    hub.tampered.clear()
    assert "error" not in ask(f"folder.read({repository!r}, backend='tiny')")


def test_a_file_that_is_changed_on_the_hub_with_its_listing_is_refused_by_the_sums_of_the_model(
    hub: Any, ask: Ask, heavy: dict[str, bytes]
) -> None:
    hub.add("me/swapped", {**heavy, "config.json": b'{"size": 4}'})
    said = ask("folder.read('me/swapped', backend='tiny')")
    assert said["error"] == "CorruptFolder"
    assert "config.json" in said["message"]


def test_a_pinned_commit_that_is_in_the_cache_is_opened_without_asking(
    hub: Any, ask: Ask, heavy: dict[str, bytes], home: Path, printed: Printed
) -> None:
    commit = hub.add("me/pinned", heavy)
    assert "error" not in ask("folder.read('me/pinned', backend='tiny')")
    hub.seen.clear()
    hub.repositories["me/pinned"].commit("main", {})
    said = ask(f"result = folder.read('me/pinned', backend='tiny', revision={commit!r}).source")
    assert said["result"] == f"me/pinned@{commit}"
    assert hub.seen == []
    found = f"print(folder.read('me/pinned@{commit}', backend='tiny').source)"
    assert printed(found, hub.environment(home, HF_ENDPOINT="http://127.0.0.1:9")) == [f"me/pinned@{commit}"]


def test_a_hub_id_without_a_backend_is_told_how_it_is_opened(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotAModel, match=r"aigc_sdk\.load\('gpt2', 'org/name@v1'\)"):
        aigc_sdk.load("org/name@v1")
    assert hub.seen == []


def test_a_cache_whose_repositories_share_their_blobs_is_read(tmp_path: Path, heavy: dict[str, bytes]) -> None:
    """As huggingface-hub lays out what comes from its chunked storage."""
    snapshot = tmp_path / "models--me--shared/snapshots" / ("c" * 40)
    for each in (snapshot, tmp_path / "models--me--shared/blobs", tmp_path / "blobs/ab"):
        each.mkdir(parents=True)
    for number, (name, content) in enumerate(heavy.items()):
        (tmp_path / f"blobs/ab/{number}").write_bytes(content)
        (tmp_path / f"models--me--shared/blobs/{number}").symlink_to(f"../../blobs/ab/{number}")
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    assert folder.read(snapshot, backend="tiny").has("model.safetensors")
    (tmp_path / "outside.json").write_text("{}")
    (snapshot / "more.json").symlink_to(tmp_path / "outside.json")
    with pytest.raises(UnsafeFolder, match=r"more\.json is a link that leads out"):
        folder.read(snapshot, backend="tiny")
