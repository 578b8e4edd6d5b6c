"""Pushing a model: what goes to the hub comes back the same, and nothing goes there unasked or unsound."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import aigc_sdk
from aigc_sdk import folder
from aigc_sdk.errors import CorruptFolder, FolderError, InputError, NotAModel, UnsafeFolder

Ask = Callable[..., dict[str, Any]]


def test_a_model_that_is_pushed_is_loaded_by_its_name_at_a_pinned_commit(hub: Any, ask: Ask) -> None:
    said = ask("""
model = aigc_sdk.load("vae", device="cpu")
pushed = aigc_sdk.push(model, "me/digits", license="apache-2.0")
again = aigc_sdk.load("vae", "me/digits", revision=pushed.commit, device="cpu")
same = model.generate(seed=3)[0].pixels.tobytes() == again.generate(seed=3)[0].pixels.tobytes()
source = again.generate(seed=3)[0].origin["model"]["source"]
result = {"commit": pushed.commit, "files": dict(pushed.files), "same": same, "source": source}
""")
    assert "error" not in said, said
    result, repository = said["result"], hub.repositories["me/digits"]
    assert result["same"] is True
    assert result["source"] == f"me/digits@{result['commit']}"
    assert repository.private
    assert list(repository.commits)[-1] == result["commit"]
    assert len(repository.commits) == 2, "the hub's own first one, and one that holds everything"
    files = repository.commits[result["commit"]]
    assert {name: len(content) for name, content in files.items() if name != ".gitattributes"} == result["files"]
    assert files["model.safetensors"] in hub.large.values()
    assert [path for method, path, _ in hub.seen if method == "PUT" and path.startswith("/large/")]


def test_a_push_takes_away_the_model_that_was_there_and_leaves_documents(hub: Any, ask: Ask, sea: Path) -> None:
    before = {".gitattributes": b"", "aigc.json": b"{}", "old.safetensors": b"x", "LICENSE": b"mine", "notes.bin": b"y"}
    hub.add("me/sea", before)
    said = ask(f"result = vars(aigc_sdk.push({str(sea)!r}, 'me/sea', message='Calmer'))")["result"]
    assert said["removed"] == ["old.safetensors"]
    assert set(hub.repositories["me/sea"].commits[said["commit"]]) == {
        *(".gitattributes", "LICENSE", "notes.bin"),
        *("README.md", "aigc.json", "followers.json"),
    }
    hub.repositories["me/sea"].commits[said["commit"]]["README.md"] = b"# edited on the hub\n"
    loaded = ask(
        "result = aigc_sdk.load('echo', 'me/sea@main').generate('the', babble=4, seed=1)[0].text",
    )
    assert loaded["result"] == aigc_sdk.load(sea).generate("the", babble=4, seed=1)[0].text


def test_a_push_of_what_is_there_already_makes_no_commit(hub: Any, ask: Ask, sea: Path) -> None:
    hub.add("me/twice", {".gitattributes": b""})
    push = f"result = aigc_sdk.push({str(sea)!r}, 'me/twice').commit"
    first = ask(push)["result"]
    assert ask(push)["result"] == first
    assert len(hub.repositories["me/twice"].commits) == 2


def test_documents_go_with_the_model_byte_for_byte(hub: Any, ask: Ask, sea: Path, tmp_path: Path) -> None:
    model = shutil.copytree(sea / "model", tmp_path / "model")
    (model / "README.md").write_bytes("# by hand\r\n\u00fc\n".encode())
    (model / "LICENSE").write_bytes(b"All mine.\n")
    said = ask(f"result = aigc_sdk.push({str(model)!r}, 'me/documents').commit")["result"]
    files = hub.repositories["me/documents"].commits[said]
    assert (files["README.md"], files["LICENSE"]) == ("# by hand\r\n\u00fc\n".encode(), b"All mine.\n")


def test_a_branch_is_made_where_it_is_not_and_main_stays_as_it_is(hub: Any, ask: Ask, sea: Path) -> None:
    first = hub.add("me/tides", {".gitattributes": b""})
    said = ask(f"result = aigc_sdk.push({str(sea)!r}, 'me/tides', revision='spring').commit")["result"]
    assert hub.repositories["me/tides"].branches == {"main": first, "spring": said}


def test_a_repository_with_other_things_is_refused_and_left_as_it_is(hub: Any, ask: Ask, sea: Path) -> None:
    head = hub.add("me/data", {"train.csv": b"1,2", "README.md": b"# data"})
    said = ask(f"aigc_sdk.push({str(sea)!r}, 'me/data')")
    assert said["error"] == "FolderError"
    assert "train.csv" in said["message"]
    assert hub.repositories["me/data"].branches == {"main": head}


def test_what_somebody_else_pushes_meanwhile_is_not_lost(hub: Any, ask: Ask, sea: Path) -> None:
    hub.add("me/busy", {".gitattributes": b""})
    theirs: list[str] = []
    hub.before_commit = lambda: theirs.append(hub.repositories["me/busy"].commit("main", {"aigc.json": b"{}"}))
    said = ask(f"aigc_sdk.push({str(sea)!r}, 'me/busy')")
    assert (said["error"], said["reason"]) == ("UploadError", "changed")
    assert hub.repositories["me/busy"].branches == {"main": theirs[0]}


def test_a_dry_run_asks_nobody_and_says_what_would_go(hub: Any, sea: Path, tmp_path: Path) -> None:
    model = shutil.copytree(sea / "model", tmp_path / "model")
    (model / "notes.py").write_text("print('mine')")
    plan = aigc_sdk.push(model, "me/plan", dry_run=True)
    assert plan.commit is None
    assert set(plan.files) == {"README.md", "aigc.json", "followers.json"}
    assert plan.left_out == ("notes.py",)
    assert "would push to me/plan" in str(plan)
    assert "left out: notes.py" in str(plan)
    assert hub.seen == []


def spoil(path: Path, how: str) -> None:
    if how == "changed":
        (path / "model.safetensors").write_bytes((path / "model.safetensors").read_bytes()[:-1] + b"\0")
    if how == "added":
        (path / "more.json").write_text("{}")
    if how == "link":
        (path / "more.txt").symlink_to("/etc/hostname")
    if how == "no manifest":
        (path / "aigc.json").unlink()
    if how in ("NaN", "missing weight", "code"):
        manifest = json.loads((path / "aigc.json").read_text())
        if how == "code":
            (path / "model.py").write_text("print()")
        else:
            from safetensors.numpy import load_file

            weights = load_file(path / "model.safetensors")
            name = sorted(weights)[0]
            gone = weights.pop(name)
            save_file(weights if how != "NaN" else {**weights, name: gone * np.nan}, path / "model.safetensors")
        manifest["files"] = folder.file_sums(path, frozenset({"aigc.json"}))
        manifest["sha256"] = folder.digest(manifest)
        (path / "aigc.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("changed", CorruptFolder),
        ("added", CorruptFolder),
        ("link", UnsafeFolder),
        ("no manifest", NotAModel),
        ("NaN", CorruptFolder),
        ("missing weight", FolderError),
        ("code", UnsafeFolder),
    ],
)
def test_nothing_is_sent_of_a_folder_that_could_not_be_loaded(
    how: str, kind: type[FolderError], hub: Any, tmp_path: Path
) -> None:
    import aigc_sdk_vae

    path = shutil.copytree(Path(aigc_sdk_vae.__file__).parent / "default", tmp_path / "model")
    spoil(path, how)
    with pytest.raises(kind):
        aigc_sdk.push(path, "me/spoilt", dry_run=True)
    assert hub.seen == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"repo_id": "mine"}, "repo_id"),
        ({"repo_id": "a/b/c"}, "repo_id"),
        ({"repo_id": "../x"}, "repo_id"),
        ({"repo_id": "me/a..b"}, "repo_id"),
        ({"repo_id": "me/sea.git"}, "repo_id"),
        ({"repo_id": f"me/{'n' * 100}"}, "repo_id"),
        ({"repo_id": "me/sea@main"}, "repo_id"),
        ({"revision": "a" * 40}, "revision"),
        ({"revision": "-x"}, "revision"),
        ({"message": " "}, "message"),
        ({"license": "My own: yes"}, "license"),
        ({"reports": {"x": 3}}, "reports"),
        ({"model": object()}, "model"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_name(sea: Path, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        aigc_sdk.push(**{"model": sea, "repo_id": "me/sea", "dry_run": True, **arguments})
    assert caught.value.field == field
