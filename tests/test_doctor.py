"""The doctor: it finds what does not fit together, names the remedy, and changes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from aigc_sdk import cli
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
        ("backend broken", "a_package_that_is_not_there", "pip install --force-reinstall plug-broken"),
        ("backend needy", "offers a int where an aigc_sdk.Backend is needed", ""),
        ("nothing-of-this-name", "is not installed, and plug-needy needs it", "'nothing-of-this-name<3,>=2'"),
    ],
)
def test_a_fault_is_a_problem_with_its_reason_and_remedy(
    ill: list[Finding], subject: str, reason: str, remedy: str
) -> None:
    [found] = [each for each in ill if each.subject == subject]
    assert found.level == "problem"
    assert reason in found.text
    assert remedy in found.text
    assert str(found).startswith("PROBLEM")
    assert str(found).isprintable()


def test_what_is_sound_is_good_beside_the_faults_and_nothing_else_is_a_problem(ill: list[Finding]) -> None:
    levels = {each.subject: each.level for each in ill}
    assert [levels[name] for name in ("pydantic", "pluggy", "torchaudio", "backend echo")] == ["good"] * 4
    assert list(levels.values()).count("problem") == 5
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
    assert "PROBLEM  tqdm             4.0 does not fit aigc-sdk: pip install --upgrade 'tqdm>=4.66'\n" in said
    assert "PROBLEM  torch            does not import: ImportError: libcudart.so.12; reinstall it" in said
    assert cli.run(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert all(set(each) == {"level", "subject", "text"} for each in found)
    assert {"tqdm", "torch"} <= {each["subject"] for each in found if each["level"] == "problem"}


def test_a_file_beside_the_user_shadows_no_module_that_is_examined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('not the real one')")
    (tmp_path / "pydantic.py").write_text("raise RuntimeError('not the real one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIGC_SDK_BACKENDS", "aigc-sdk-echo")
    assert [each for each in examine() if each.level == "problem"] == []
