"""The doctor: it finds what does not fit together, names the remedy, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aigc_sdk import _machine, cli
from aigc_sdk.doctor import Finding, examine

POISON = "raise RuntimeError('operator torchvision::nms does not exist \\x1b[31m')"
BROKEN = "import a_package_that_is_not_there"
NEEDS = """Requires-Dist: nothing-of-this-name>=2,<3
Requires-Dist: another-of-no-name>=1; extra == "more"
Requires-Dist: win-only>=1; sys_platform == "nowhere"
Requires-Dist: pluggy>=1.5
Requires-Dist: ((( not a requirement
Provides-Extra: more
"""


def lay_out(site: Path, name: str, version: str, code: str | None = None, backend: str = "", more: str = "") -> None:
    """Lay out a distribution as pip does."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}")
    if backend:
        (info / "entry_points.txt").write_text(f"[aigc_sdk]\n{backend} = {name.replace('-', '_')}:backend\n")
    if code is not None:
        (site / f"{name.replace('-', '_')}.py").write_text(code)


@pytest.fixture(scope="module")
def ill(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """What is found where several things are wrong at once."""
    site = tmp_path_factory.mktemp("site")
    lay_out(site, "torchvision", "0.1", POISON)
    lay_out(site, "torchaudio", "0.1", "")
    lay_out(site, "aigc-sdk-gan", "0.3.0")
    lay_out(site, "tqdm", "4.0")
    lay_out(site, "plug-broken", "1.0", BROKEN, backend="broken")
    lay_out(site, "plug-needy", "1.0", "backend = 0", backend="needy", more=NEEDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site))
        patch.setenv("AIGC_SDK_BACKENDS", "aigc-sdk-echo,plug-broken,plug-needy")
        return examine()


def test_this_installation_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    found = {each["subject"]: each for each in json.loads(capsys.readouterr().out)}
    assert {each["level"] for each in found.values()} <= {"good", "note"}
    assert found["python"]["text"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert {"pydantic", "numpy", "safetensors", "backend echo", "device", "disk"} <= set(found)


@pytest.mark.parametrize(
    ("subject", "reason", "remedy"),
    [
        ("torchvision", "operator torchvision::nms does not exist \\u001b[31m", "pip uninstall torchvision"),
        ("tqdm", "4.0 does not fit aigc-sdk", "pip install --upgrade 'tqdm>=4.66'"),
        ("aigc-sdk-gan", "0.3.0 does not fit aigc-sdk", "pip install --upgrade 'aigc-sdk-gan<0.2,>=0.1'"),
        ("backend broken", "a_package_that_is_not_there", "pip install --force-reinstall plug-broken"),
        ("backend needy", "offers a int where an aigc_sdk.Backend is needed", "pip uninstall plug-needy"),
        ("nothing-of-this-name", "is not installed, and plug-needy needs it", "'nothing-of-this-name<3,>=2'"),
    ],
)
def test_a_fault_is_a_problem_with_its_reason_and_remedy(
    ill: list[Finding], subject: str, reason: str, remedy: str
) -> None:
    [found] = [each for each in ill if each.subject == subject]
    assert found.level == "problem"
    assert reason in found.text
    assert remedy in found.remedy
    assert found.why
    first, why, do = str(found).splitlines()
    assert first.startswith("PROBLEM")
    assert why.endswith(f"why: {found.why}")
    assert do.endswith(f"do:  {found.remedy}")
    assert all(line.isprintable() for line in (first, why, do))


def test_what_is_sound_is_good_beside_the_faults_and_nothing_else_is_a_problem(ill: list[Finding]) -> None:
    levels = {each.subject: each.level for each in ill}
    assert [levels[name] for name in ("pydantic", "pluggy", "torchaudio", "backend echo")] == ["good"] * 4
    assert list(levels.values()).count("problem") == 6
    assert levels["AIGC_SDK_BACKENDS"] == "note"
    assert "another-of-no-name" not in levels
    assert "win-only" not in levels


def test_a_problem_is_told_in_words_and_in_json_with_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_out(tmp_path, "tqdm", "4.0")
    lay_out(tmp_path, "torch", "2.0", "raise ImportError('libcudart.so.12')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("AIGC_SDK_BACKENDS", "aigc-sdk-echo")
    assert cli.run(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "PROBLEM  tqdm             4.0 does not fit aigc-sdk\n" in said
    assert "do:  pip install --upgrade 'tqdm>=4.66'\n" in said
    assert "PROBLEM  torch            does not import: ImportError: libcudart.so.12\n" in said
    assert cli.run(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert all(set(each) == {"level", "subject", "text", "why", "remedy"} for each in found)
    assert {"tqdm", "torch"} <= {each["subject"] for each in found if each["level"] == "problem"}


def test_a_file_beside_the_user_shadows_no_module_that_is_examined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('not the real one')")
    (tmp_path / "pydantic.py").write_text("raise RuntimeError('not the real one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIGC_SDK_BACKENDS", "aigc-sdk-echo")
    assert [each for each in examine() if each.level == "problem"] == []


KERNELS = """
class Availability:
    reason = "it was installed without its compiled half"
    def __bool__(self): return False
def available(): return Availability()
"""


def test_the_traps_of_a_machine_are_told_with_what_they_cost_and_what_to_do(tmp_path: Path) -> None:
    """A cache that cannot be written to, more threads than processors, a GPU that torch is not built for, a stale core."""
    site, programs = tmp_path / "site", tmp_path / "bin"
    site.mkdir()
    programs.mkdir()
    lay_out(site, "torch-fidelity", "0.3.0")
    lay_out(site, "aigc-sdk", "0.0.9")
    lay_out(site, "plug-kernels", "1.0", KERNELS)
    (site / "plug_kernels-1.0.dist-info/entry_points.txt").write_text("[aigc_sdk_x.kernels]\ncpu = plug_kernels\n")
    (programs / "nvidia-smi").write_text("#!/bin/sh\n")
    (programs / "nvidia-smi").chmod(0o755)
    (tmp_path / "file").write_text("no folder")
    environment = {
        **{name: each for name, each in os.environ.items() if not name.startswith(("HF_", "CUDA_"))},
        "PYTHONPATH": str(site),
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "HF_HOME": str(tmp_path / "file/home"),
        "OMP_NUM_THREADS": "5000",
        "AIGC_SDK_BACKENDS": "aigc-sdk-echo",
    }
    done = subprocess.run(
        [sys.executable, "-m", "aigc_sdk.cli", "doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    found = {each["subject"]: each for each in json.loads(done.stdout)}
    expected = {
        "hub cache": ("problem", "cannot be written to", "set HF_HOME"),
        "aigc-sdk": ("problem", "pip has 0.0.9 installed", "pip install -e ."),
        "kernels plug_kernels": ("problem", "without its compiled half", "--no-deps --no-cache-dir plug-kernels"),
        "torch-fidelity": ("note", "without torchvision", "pip uninstall torch-fidelity"),
        "threads": ("note", "OMP_NUM_THREADS=5000, and this process may use", "set OMP_NUM_THREADS="),
        "AIGC_SDK_BACKENDS": ("note", "is set to 'aigc-sdk-echo'", ""),
    }
    for subject, (level, text, remedy) in expected.items():
        assert found[subject]["level"] == level, found[subject]
        assert text in found[subject]["text"]
        assert remedy in found[subject]["remedy"]
        assert found[subject]["why"]
    import torch

    if not torch.version.cuda:
        assert "a build without CUDA" in found["CUDA"]["text"]


def test_too_little_room_or_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_machine, "DISK", 1e30)
    monkeypatch.setattr(_machine, "MEMORY", 1e30)
    found = {each.subject: each for each in [*_machine.storage(), *_machine.memory()]}
    assert found["disk"].level == found["temporary files"].level == "problem"
    assert found["memory"].level == "note"
    assert all(each.why and each.remedy for each in found.values())


def test_a_broken_client_of_the_hub_is_told_and_does_not_end_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", None)
    found = {each.subject: each for each in _machine.storage()}
    assert found["disk"].level == "good"
    assert found["hub cache"].level == "problem"
    assert "does not import: ModuleNotFoundError" in found["hub cache"].text
