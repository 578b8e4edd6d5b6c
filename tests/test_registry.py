"""The registry: installed plugins can neither break nor slow down the host, whatever they are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

import aigc_sdk
from aigc_sdk import Backend, registry
from aigc_sdk.errors import (
    AmbiguousBackend,
    BackendError,
    BrokenBackend,
    IncompatibleBackend,
    InputError,
    NotOffered,
    UnknownBackend,
)

MANIFEST = (
    "from aigc_sdk import Backend\nbackend = Backend(summary='s', artifact='text', generator='{module}.model:Model')\n"
)
MODEL = """
from aigc_sdk import Generator, Text
class Model(Generator):
    backend, device, dtype, owns_randomness = {name!r}, "cpu", "float32", True
    @classmethod
    def open(cls, source=None, *, device="auto", dtype="float32", revision=None): return cls()
    def run(self, job):
        for index in range(len(job)): yield Text("made", sample=index)
    def save(self, folder): ...
    def to(self, device): return self
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed distributions, in front of all others."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(registry, "_imported", {})
    yield tmp_path
    for name in [each for each in sys.modules if each.startswith("plug_")]:
        del sys.modules[name]
    registry.versions_of.cache_clear()


def install(
    site: Path,
    name: str,
    init: str | None = None,
    model: str | None = None,
    *,
    distribution: str | None = None,
    value: str | None = None,
    metadata: bytes | None = None,
    entry_points: bytes | None = None,
) -> None:
    """Lay out a distribution as pip does."""
    module = f"plug_{name.replace('-', '_')}"
    owner = distribution or f"dist-{name}"
    package = site / module
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(MANIFEST.format(module=module) if init is None else init)
    (package / "model.py").write_text(MODEL.format(name=name) if model is None else model)
    info = site / f"{owner.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    told = f"Metadata-Version: 2.1\nName: {owner}\nVersion: 1.0\nSummary: about {name}\n".encode()
    (info / "METADATA").write_bytes(told if metadata is None else metadata)
    points = f"[aigc_sdk]\n{name} = {value or f'{module}:backend'}\n".encode()
    (info / "entry_points.txt").write_bytes(points if entry_points is None else entry_points)


BROKEN: dict[str, dict[str, str]] = {
    "syntax": {"init": "def ("},
    "missing-import": {"init": "import a_package_that_is_not_there"},
    "system-exit": {"init": "raise SystemExit(3)"},
    "runtime-error": {"init": "raise RuntimeError('at import')"},
    "no-attribute": {"init": ""},
    "wrong-type": {"init": "backend = {'summary': 'a dict'}"},
    "wrong-api": {"init": "from aigc_sdk import Backend\nbackend = Backend(summary='', artifact='text', api=2)"},
    "text-api": {"init": "from aigc_sdk import Backend\nbackend = Backend(summary='', artifact='text', api='1')"},
    "model-syntax": {"model": "class ("},
    "no-class": {"model": ""},
    "no-generator": {"model": "class Model: pass"},
    "missing-method": {"model": "from aigc_sdk import Generator\nclass Model(Generator):\n    def run(self, job): ..."},
    "hard-exit": {"init": "import os; os._exit(7)"},
    "keyboard-interrupt": {"init": "raise KeyboardInterrupt"},
    "hang": {"init": "import time; time.sleep(600)"},
    "no-module": {"value": "plug_nowhere:backend"},
}


def test_sixteen_broken_plugins_leave_a_good_one_working_and_are_listed_with_their_reasons(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aigc_sdk import probe

    install(site, "good")
    for name, parts in BROKEN.items():
        install(site, name, **parts)  # type: ignore[arg-type]
    listed = {each.name: each for each in aigc_sdk.backends()}
    assert {"good", *BROKEN} <= set(listed)
    assert not [name for name in sys.modules if name.startswith("plug_")], "listing imported a plugin"
    assert aigc_sdk.load("good").generate("x", seed=1)[0].text == "made"
    ours = [listed[name] for name in ["good", *BROKEN]]
    problems = {each.name: each.problem for each in probe.probe(ours, timeout=15)}
    assert problems.pop("good") is None
    assert all(problems.values()), [name for name, problem in problems.items() if not problem]
    assert aigc_sdk.load("good").generate("x", seed=1)[0].text == "made"


@pytest.mark.parametrize("name", [each for each in BROKEN if each not in ("hard-exit", "keyboard-interrupt", "hang")])
def test_a_broken_plugin_that_is_asked_for_is_a_typed_error_that_names_it(site: Path, name: str) -> None:
    install(site, name, **BROKEN[name])  # type: ignore[arg-type]
    with pytest.raises(BackendError, match=f"dist-{name}") as caught:
        aigc_sdk.load(name)
    assert isinstance(caught.value, BrokenBackend | IncompatibleBackend)


def test_two_distributions_with_one_name_are_both_listed_and_neither_wins(site: Path) -> None:
    install(site, "twin", distribution="dist-a")
    install(site, "twin", distribution="dist-b")
    assert [each.distribution for each in aigc_sdk.backends() if each.name == "twin"] == ["dist-a", "dist-b"]
    with pytest.raises(AmbiguousBackend, match="dist-a:twin or dist-b:twin"):
        aigc_sdk.load("twin")
    assert aigc_sdk.load("dist-b:twin").generate("x", seed=0)[0].text == "made"


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownBackend, match=r"Did you mean 'echo'\?"):
        aigc_sdk.load("ehco")


def test_a_name_that_is_not_installed_is_told_with_how_backends_are_installed(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = "A backend NAME comes in a distribution of its own, usually aigc-sdk-NAME: pip install aigc-sdk-poet"
    with pytest.raises(UnknownBackend) as caught:
        aigc_sdk.load("poet")
    assert str(caught.value).startswith("No backend 'poet' is installed. Installed: ")
    assert str(caught.value).endswith(how)
    install(site, "poets")
    with pytest.raises(UnknownBackend, match=r"Did you mean 'poets'\?") as caught:  # rather than a package of that name
        aigc_sdk.load("poet")
    assert "pip" not in str(caught.value)
    monkeypatch.setenv("AIGC_SDK_BACKENDS", "dist-none")
    with pytest.raises(UnknownBackend) as caught:
        aigc_sdk.load("poet")
    allowed = "AIGC_SDK_BACKENDS allows these distributions alone: dist-none."
    assert str(caught.value) == f"No backend 'poet' is installed. {allowed} {how}"
    with pytest.raises(UnknownBackend) as caught:
        aigc_sdk.load("no; such")
    assert "pip" not in str(caught.value)


def test_a_role_that_a_backend_does_not_play_is_refused_by_name(site: Path) -> None:
    install(site, "only")
    with pytest.raises(NotOffered, match=r"'only' offers no evaluator; it offers: generator"):
        registry.resolve("only", "evaluator")


def test_an_allow_list_hides_every_other_distribution(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "one")
    install(site, "two")
    monkeypatch.setenv("AIGC_SDK_BACKENDS", "Dist_One")
    assert [each.name for each in aigc_sdk.backends()] == ["one"]


def test_a_registered_backend_is_found_until_it_is_taken_back(site: Path) -> None:
    install(site, "home")
    backend = Backend(summary="here", artifact="text", generator="plug_home.model:Model")
    aigc_sdk.register("here", backend)
    try:
        assert aigc_sdk.load("here").generate("x", seed=0)[0].text == "made"
        with pytest.raises(InputError, match="already"):
            aigc_sdk.register("here", backend)
    finally:
        aigc_sdk.unregister("here")
    with pytest.raises(UnknownBackend):
        aigc_sdk.load("here")
    with pytest.raises(InputError, match="name"):
        aigc_sdk.register("Bad Name", backend)


HOSTILE = {
    "escape codes": b"Metadata-Version: 2.1\nName: \x1b[31mred\x1b[0m\nVersion: 1.0\nSummary: \x1b]0;title\x07\n",
    "zero bytes": b"Metadata-Version: 2.1\nName: a\0b\nVersion: \0\nSummary: \0\n",
    "right to left": "Metadata-Version: 2.1\nName: abc‮txt.exe\nVersion: 1\nSummary: ‮⁦x\n".encode(),
    "1 MB name": b"Metadata-Version: 2.1\nName: " + b"n" * 1_000_000 + b"\nVersion: 1\n",
    "1 MB summary": b"Metadata-Version: 2.1\nName: s\nVersion: 1\nSummary: " + b"s" * 1_000_000 + b"\n",
    "no UTF-8": b"Metadata-Version: 2.1\nName: \xff\xfe\nVersion: \xff\nSummary: \xff\n",
    "no name": b"Metadata-Version: 2.1\nVersion: 1.0\n",
    "no version": b"Metadata-Version: 2.1\nName: noversion\n",
    "empty": b"",
    "binary": bytes(range(256)) * 40,
    "many names": b"Metadata-Version: 2.1\n" + b"Name: x\n" * 1000 + b"Version: 1\n",
    "huge header": b"X: " + b"y" * 2_000_000 + b"\nName: huge\nVersion: 1\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_metadata_costs_only_its_own_listing(site: Path, kind: str) -> None:
    install(site, "good")
    install(site, "bad", metadata=HOSTILE[kind])
    listed = {each.name: each for each in aigc_sdk.backends()}
    assert aigc_sdk.load("good").generate("x", seed=0)[0].text == "made"
    shown = listed["bad"]
    for text in (shown.distribution, shown.version, shown.summary):
        assert text.isprintable()
        assert len(text) <= 201


POINTS = {
    "escape codes": b"[aigc_sdk]\n\x1b[31mred = m:b\n",
    "binary": b"[aigc_sdk]\n\xff\xfe\x00 = \x00\n",
    "no value": b"[aigc_sdk]\nnovalue\n",
    "a command": b"[aigc_sdk]\nevil = os:system('x')\n",
    "a path": b"[aigc_sdk]\n../../etc = m:b\n",
    "1 MB name": b"[aigc_sdk]\n" + b"n" * 1_000_000 + b" = m:b\n",
    "no section end": b"[aigc_sdk\nx = m:b\n",
    "twice": b"[aigc_sdk]\nx = m:b\nx = m:c\n[aigc_sdk]\nx = m:d\n",
}


@pytest.mark.parametrize("kind", POINTS)
def test_hostile_entry_points_cost_only_their_own_listing(site: Path, kind: str) -> None:
    install(site, "good")
    install(site, "bad", entry_points=POINTS[kind])
    for each in aigc_sdk.backends():
        assert each.name.isprintable()
        assert len(each.name) <= 65
    assert aigc_sdk.load("good").generate("x", seed=0)[0].text == "made"


def test_a_distribution_of_ten_thousand_backends_has_its_metadata_read_once(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it for each of them took 0.5 s of one core, and reading it once takes 0.06 s."""
    lines = "".join(f"name{index} = module{index}:backend\n" for index in range(10_000))
    install(site, "many", entry_points=f"[aigc_sdk]\n{lines}".encode())
    reads: list[Path] = []
    real = PathDistribution.read_text

    def read_text(self: PathDistribution, filename: str) -> str | None:
        reads.append(Path(str(self._path)) / filename)
        return real(self, filename)

    monkeypatch.setattr(PathDistribution, "read_text", read_text)
    assert len([each for each in aigc_sdk.backends() if each.distribution == "dist-many"]) == 10_000
    assert reads.count(site / "dist_many-1.0.dist-info/METADATA") == 1


AUDITED = """
import sys
seen = []
def audit(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.fork", "os.posix_spawn", "os.exec")):
        seen.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append(f"writes {arguments[0]}")
sys.addaudithook(audit)
sys.dont_write_bytecode = True
import aigc_sdk
aigc_sdk.backends()
heavy = {"torch", "numpy", "transformers", "PIL", "av", "huggingface_hub", "typer", "pydantic"} & set(sys.modules)
print(seen, sorted(heavy), [name for name in sys.modules if name.startswith("aigc_sdk_")])
"""


def test_importing_and_listing_load_nothing_heavy_and_touch_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AUDITED], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[] [] []"


def test_the_public_names_are_these() -> None:
    expected = {
        *(
            "Artifact",
            "Audio",
            "Backend",
            "Evaluator",
            "Exam",
            "Fit",
            "Generator",
            "Image",
            "Job",
            "Listing",
            "Options",
            "Pushed",
        ),
        *(
            "Replay",
            "Report",
            "Score",
            "Step",
            "Text",
            "Trainer",
            "Video",
            "backends",
            "errors",
            "evaluator",
            "hookimpl",
        ),
        *("load", "push", "read", "register", "replay", "trainer", "unregister", "unuse", "use", "using"),
    }
    assert set(aigc_sdk.__all__) == expected
    assert all(hasattr(aigc_sdk, name) for name in expected)


def test_no_plugin_imports_another_and_the_core_knows_none() -> None:
    import ast

    root = Path(aigc_sdk.__file__).parents[1]
    plugins = {each.name for each in root.glob("plugins/*/aigc_sdk_*") if (each / "__init__.py").exists()}
    assert plugins >= {"aigc_sdk_echo", "aigc_sdk_gpt2"}
    files = [*root.glob("aigc_sdk/**/*.py"), *root.glob("plugins/*/aigc_sdk_*/**/*.py")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            foreign = {name.split(".")[0] for name in names} & plugins
            assert all(name in file.parts for name in foreign), f"{file} imports {foreign}"
