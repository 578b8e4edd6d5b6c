"""The hub: what is pushed comes back the same, nothing goes there unasked or unsound, and each failure says what is wrong.

The hub is a stand-in on the loopback. Its client is a process of its own, since huggingface-hub reads its address once.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import aigc_sdk
from aigc_sdk import cli, folder
from aigc_sdk.errors import CorruptFolder, FolderError, InputError, NotAModel, UnsafeFolder
from aigc_sdk.hub import REASONS

STANDIN = runpy.run_path(str(Path(__file__).with_name("standin_hub.py")))
CLIENT = """
import json, sys
import aigc_sdk
from aigc_sdk import folder
for line in sys.stdin:
    names = {}
    try:
        exec(json.loads(line), globals(), names)
        said = {"result": names.get("result")}
    except Exception as error:
        said = {"error": type(error).__name__, "reason": getattr(error, "reason", None), "message": str(error)}
    print(json.dumps(said, default=str), flush=True)
"""
Ask = Callable[..., dict[str, Any]]
CHUNK = 10 * 1024 * 1024  # bytes that huggingface-hub writes at once, and goes on from when a connection breaks


@pytest.fixture(scope="module")
def hub() -> Iterator[Any]:
    with STANDIN["Hub"]() as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def surroundings(address: str, home: Path, **more: str) -> dict[str, str]:
    """Of a client, which finds nothing of the user's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    return {
        **kept,
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_TOKEN": STANDIN["WRITER"],
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        **more,
    }


@pytest.fixture(scope="module")
def ask(hub: Any, home: Path) -> Iterator[Ask]:
    """Runs lines of Python in the client: their `result`, or the error."""
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        env=surroundings(hub.address, home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None

    def run(code: str) -> dict[str, Any]:
        print(json.dumps(code), file=client.stdin, flush=True)
        return json.loads(client.stdout.readline())  # type: ignore[union-attr]

    yield run
    client.stdin.close()
    client.wait(timeout=60)


@pytest.fixture(autouse=True)
def healthy(hub: Any) -> None:
    """Every test begins with a hub that works."""
    hub.seen.clear()
    hub.cut.clear()
    hub.tampered.clear()
    hub.sent, hub.failing, hub.abrupt, hub.before_commit = 0, None, False, lambda: None


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return model_files(tmp_path_factory.mktemp("models") / "heavy", 300_000)


def model_files(place: Path, size: int) -> dict[str, bytes]:
    """The files of a model with weights of `size` bytes."""
    with folder.writing(place, backend="tiny", role="generator") as path:
        (path / "config.json").write_text('{"size": 3}')
        weights = np.random.default_rng(0).standard_normal(size // 4).astype(np.float32)
        save_file({"weight": weights}, path / "model.safetensors")
    return {each.name: each.read_bytes() for each in place.iterdir()}


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
    ask(f"import os\nos.environ['HF_TOKEN'] = {STANDIN['WRITER']!r}")
    return str(said["reason"])


def test_a_user_without_a_token_or_with_a_wrong_one_is_told(hub: Any, ask: Ask, sea: Path) -> None:
    hub.add("me/private", {"config.json": b"{}"}, private=True)
    push, fetch = f"aigc_sdk.push({str(sea)!r}, 'me/sea')", "folder.read('me/private', backend='tiny')"
    assert reason(ask, push, "") == "token"
    assert reason(ask, fetch, "") == "missing"
    assert reason(ask, fetch, "hf_wrong") == "token"
    assert not [path for method, path, _ in hub.seen if method != "GET"]


def printed(code: str, environment: dict[str, str]) -> list[str]:
    """What a client of its own prints: for each line of code the reason of its error, or what the line prints."""
    guarded = "".join(f"try:\n    {line}\nexcept FolderError as e: print(e.reason)\n" for line in code.splitlines())
    script = f"import aigc_sdk\nfrom aigc_sdk import folder\nfrom aigc_sdk.errors import FolderError\n{guarded}"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_without_a_network_or_offline_the_reason_is_told(hub: Any, sea: Path, tmp_path: Path) -> None:
    code = f"aigc_sdk.push({str(sea)!r}, 'me/sea')\nfolder.read('me/sea', backend='echo')"
    assert printed(code, surroundings("http://127.0.0.1:9", tmp_path)) == ["unreachable"] * 2
    assert printed(code, surroundings(hub.address, tmp_path, HF_HUB_OFFLINE="1")) == ["offline"] * 2
    assert hub.seen == []


def test_an_interrupted_download_goes_on_where_it_was_cut_off(hub: Any, ask: Ask, tmp_path: Path) -> None:
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
    hub: Any, ask: Ask, heavy: dict[str, bytes], home: Path
) -> None:
    commit = hub.add("me/pinned", heavy)
    assert "error" not in ask("folder.read('me/pinned', backend='tiny')")
    hub.seen.clear()
    hub.repositories["me/pinned"].commit("main", {})
    said = ask(f"result = folder.read('me/pinned', backend='tiny', revision={commit!r}).source")
    assert said["result"] == f"me/pinned@{commit}"
    assert hub.seen == []
    found = f"print(folder.read('me/pinned@{commit}', backend='tiny').source)"
    assert printed(found, surroundings("http://127.0.0.1:9", home)) == [f"me/pinned@{commit}"]


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


def test_the_command_shows_what_would_go_and_sends_nothing_without_a_yes(
    hub: Any, sea: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["push", str(sea), "me/sea", "--dry-run"]) == 0
    assert "followers.json" in capsys.readouterr().out
    assert cli.run(["push", str(sea), "me/sea"]) == 2
    assert "--yes" in capsys.readouterr().err
    report = aigc_sdk.Report({"overlap": aigc_sdk.Score(0.5, 2, "words", True)}, [])
    named = report.save(tmp_path / "report.json")
    assert cli.run(["push", str(sea), "me/sea", "--dry-run", "--json", "--report", str(named), "--license", "mit"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["commit"] is None
    assert "| overlap | 0.5 |" in said["card"]
    assert hub.seen == []


def test_the_command_pushes_with_a_yes(hub: Any, sea: Path, tmp_path: Path) -> None:
    hub.repositories.pop("me/by-command", None)
    done = subprocess.run(
        [sys.executable, "-m", "aigc_sdk.cli", "push", str(sea), "me/by-command", "--yes", "--public"],
        env=surroundings(hub.address, tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    repository = hub.repositories["me/by-command"]
    assert done.stdout.startswith(f"me/by-command@{repository.branches['main']}\n")
    assert not repository.private


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_the_command_asks(hub: Any, sea: Path, tmp_path: Path, answer: str, code: int) -> None:
    hub.repositories.pop("me/asked", None)
    terminal, end = os.openpty()
    os.write(terminal, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "aigc_sdk.cli", "push", str(sea), "me/asked"],
        env=surroundings(hub.address, tmp_path),
        stdin=end,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(terminal)
    os.close(end)
    assert done.returncode == code, done.stderr
    assert "followers.json" in done.stderr
    assert "you alone can see it" in done.stderr
    assert ("me/asked" in hub.repositories) == (code == 0)
