"""Checkpoints: whatever happens while one is written, the old or the new one is there, whole."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_sdk import folder
from aigc_sdk.errors import CorruptFolder, DiskError
from aigc_sdk.training import checkpoint


def state(step: int) -> dict[str, Any]:
    rng = torch.Generator().manual_seed(step)
    return {
        "step": step,
        "weights": {"w": torch.randn(300, 10, generator=rng)},
        "rows": np.arange(step + 5),
        "nested": [1, "two", None, {3: [torch.tensor(step)]}],
    }


def write_model(path: Path) -> None:
    with folder.writing(path, backend="tiny", role="generator") as temporary:
        (temporary / "config.json").write_text('{"model_type": "tiny"}')


def save(run: Path, step: int, keep: int = 2) -> Path:
    return checkpoint.save(run, step, write_model, state(step), keep=keep)


def sound_step(run: Path) -> int:
    """The newest step that verifies, its content compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = checkpoint.newest(run)
    assert found is not None
    expected = state(found.step)
    assert torch.equal(found.state["weights"]["w"], expected["weights"]["w"])
    assert np.array_equal(found.state["rows"], expected["rows"])
    assert found.state["nested"][3][3][0] == found.step
    return found.step


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    save(tmp_path, 7)
    assert sound_step(tmp_path) == 7
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.state["nested"][:3] == [1, "two", None]
    assert folder.backend_of(found.path) == "tiny"
    assert checkpoint.newest(tmp_path / "none") is None


def test_a_state_without_tensors_needs_no_torch(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, None, {"counts": {"a": 1}, "done": 3})
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.state == {"counts": {"a": 1}, "done": 3}


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10):
        save(tmp_path, step)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint-000003", "checkpoint-000010"]


def test_what_cannot_be_stored_without_pickle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object"):
        checkpoint.save(tmp_path, 1, None, {"bad": object()})
    assert list(tmp_path.iterdir()) == []


CALLS = ("open", "fsync", "rename", "replace", "mkdir", "close", "chmod", "unlink", "rmdir")


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except DiskError:
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying_at(count: int) -> None:
    """Let the process die at the `count`-th call that changes the file system."""
    left = [count]
    for name in CALLS:
        real = getattr(os, name)

        def call(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return real(*args, **kwargs)

        setattr(os, name, call)


def test_dying_at_any_call_of_a_save_leaves_the_old_or_the_new_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, 1)
    outcomes = set()
    for count in range(1, 400):

        def work(count: int = count) -> None:
            dying_at(count)
            save(tmp_path, 2)

        code = in_a_child(work)
        outcomes.add(sound_step(tmp_path))
        if code == 0:
            break
        assert code == 9
        checkpoint.sweep(tmp_path)
        shutil.rmtree(tmp_path / "checkpoint-000002", ignore_errors=True)
        assert [each.name for each in tmp_path.iterdir()] == ["checkpoint-000001"]
    assert count > 30
    assert outcomes == {1, 2}


def test_dying_while_a_checkpoint_is_replaced_leaves_one_of_them(tmp_path: Path) -> None:
    """The same step written again, as after a resume: the names are exchanged in one step."""
    for count in range(1, 400):
        save(tmp_path, 2)

        def work(count: int = count) -> None:
            dying_at(count)
            save(tmp_path, 2)

        code = in_a_child(work)
        assert sound_step(tmp_path) == 2
        checkpoint.sweep(tmp_path)
        if code == 0:
            return
    pytest.fail("the save never ended")


def test_a_kill_at_random_moments_of_a_save_leaves_a_sound_checkpoint(tmp_path: Path) -> None:
    import random
    import time

    rng = random.Random(0)
    save(tmp_path, 1)
    for _ in range(12):
        child = os.fork()
        if child == 0:
            for step in range(2, 1000):
                save(tmp_path, step)
            os._exit(0)
        time.sleep(rng.uniform(0.005, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        sound_step(tmp_path)
        checkpoint.sweep(tmp_path)
        assert not list(tmp_path.glob("*.tmp-*"))


def test_a_disk_that_fills_at_any_size_is_a_disk_error_and_the_old_checkpoint_stays(tmp_path: Path) -> None:
    """Files may grow to each multiple of 512 bytes up to the whole checkpoint."""
    save(tmp_path, 1)
    size = max(each.stat().st_size for each in (tmp_path / "checkpoint-000001").iterdir())
    codes = []
    for limit in range(0, size + 512, 512):

        def work(limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            save(tmp_path, 2)

        codes.append(in_a_child(work))
        assert sound_step(tmp_path) == (2 if codes[-1] == 0 else 1)
        assert not list(tmp_path.glob("*.tmp-*")), "a part was left"
        shutil.rmtree(tmp_path / "checkpoint-000002", ignore_errors=True)
    assert set(codes) == {0, 3}
    assert len(codes) >= 24


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("name", ["mkdir", "fsync", "rename"])
def test_a_failing_disk_is_a_disk_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    save(tmp_path, 1)

    def failing(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing)
        with pytest.raises(DiskError, match="checkpoint-000002"):
            save(tmp_path, 2)
    assert sound_step(tmp_path) == 1
    assert not list(tmp_path.glob("*.tmp-*"))


def damages() -> list[tuple[str, Callable[[Path], None]]]:
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)

    return [
        ("missing", lambda path: path.unlink()),
        ("truncated", lambda path: path.write_bytes(path.read_bytes()[:-7])),
        ("empty", lambda path: path.write_bytes(b"")),
        ("flipped", flip),
        ("zeroed", lambda path: path.write_bytes(bytes(path.stat().st_size))),
        ("longer", lambda path: path.write_bytes(path.read_bytes() + b"\0")),
    ]


@pytest.mark.parametrize("file", ["aigc.json", "config.json", "manifest.json", "state.json", "state.safetensors"])
def test_a_damaged_checkpoint_is_passed_over_and_its_file_named(tmp_path: Path, file: str) -> None:
    for kind, damage in damages():
        run = tmp_path / kind
        save(run, 1)
        damage(save(run, 2) / file)
        with pytest.warns(RuntimeWarning, match=rf"checkpoint-000002.*{file}"):
            found = checkpoint.newest(run)
        assert found is not None
        assert found.step == 1


def test_when_all_are_damaged_nothing_is_invented(tmp_path: Path) -> None:
    for step in (1, 2):
        (save(tmp_path, step) / "state.json").write_text("{}")
    with pytest.warns(RuntimeWarning), pytest.raises(CorruptFolder, match="no checkpoint"):
        checkpoint.newest(tmp_path)


def test_1000_single_bit_flips_of_a_checkpoint_are_all_found(tmp_path: Path) -> None:
    import random

    path, rng = save(tmp_path, 1), random.Random(5)
    files = sorted(each for each in path.iterdir())
    for index in range(1000):
        file = files[index % len(files)]
        sound = file.read_bytes()
        changed = bytearray(sound)
        changed[rng.randrange(len(sound))] ^= 1 << rng.randrange(8)
        file.write_bytes(changed)
        with pytest.raises(CorruptFolder):
            checkpoint.verify(path)
        file.write_bytes(sound)
    checkpoint.verify(path)
