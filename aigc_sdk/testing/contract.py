"""What the three contracts share."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from aigc_sdk import registry
from aigc_sdk.errors import AigcError, DeviceError, OptionError
from aigc_sdk.folder import MANIFEST, PATTERNS, read_json

CODE = ("*.py", "*.pkl", "*.pickle", "*.pt", "*.pth", "*.bin", "*.ckpt", "*.so")
BOUNDS = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "enum", "const"}


class Contract:
    """The base of the three contracts."""

    def test_no_check_is_overridden_without_a_reason(self) -> None:
        """A check that is replaced in a subclass is marked xfail, and says why."""
        for name in dir(type(self)):
            base = next(
                (each for each in type(self).__mro__ if each.__module__.startswith(__package__) and name in vars(each)),
                None,
            )
            own = getattr(type(self), name)
            if not name.startswith("test_") or base is None or vars(base)[name] is own:
                continue
            marks = [mark for mark in getattr(own, "pytestmark", []) if mark.name == "xfail"]
            assert any(mark.kwargs.get("reason") for mark in marks), (
                f"{type(self).__name__}.{name} replaces a check; mark it @pytest.mark.xfail(reason=...)"
            )


@contextmanager
def refuses(error: type[AigcError], what: str, advice: str = "") -> Iterator[None]:
    """The block raises `error`; `what` is what it is to refuse, and `advice` how."""
    advice = advice or f"raise {error.__name__}, with a message that says what to do"
    try:
        yield
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{what} gives {type(other).__name__}: {other}; {advice}") from other
    raise AssertionError(f"{what} is accepted; {advice}")


def refuses_unknown_options(call: Callable[..., Any], options: type[Any]) -> None:
    """A misspelt option is refused at the call, and the nearest one suggested."""
    refused = _refusal(call, "no_such_option")
    assert refused.field == "no_such_option", f"the error's field is {refused.field!r}, not the option's name"
    assert "no_such_option" in str(refused), f"the message does not name the option: {refused}"
    known = next(iter(options.model_fields), "")
    if len(known) > 3:
        assert known in str(_refusal(call, known + "x")), f"the message does not suggest {known!r} for {known + 'x'!r}"


def _refusal(call: Callable[..., Any], name: str) -> OptionError:
    try:
        call(**{name: 1})
    except OptionError as error:
        return error
    raise AssertionError(f"the unknown option {name!r} is accepted; parse options at the call, and forbid extra fields")


def describes_every_option(options: type[Any]) -> None:
    """Flags, forms and docs are made of the descriptions."""
    missing = [name for name, field in options.model_fields.items() if not field.description]
    assert not missing, f"{options.__name__}: these options have no description: {', '.join(missing)}"


def bounds_every_number(options: type[Any]) -> None:
    """A number that nothing bounds is found to be wrong only by what it breaks."""
    fields = options.model_json_schema().get("properties", {})
    missing = [name for name, schema in fields.items() if _unbounded(schema)]
    assert not missing, f"{options.__name__}: give these options bounds, as Field(ge=..., le=...): {', '.join(missing)}"


def _unbounded(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(_unbounded(each) for each in schema)
    if not isinstance(schema, dict):
        return False
    if schema.get("type") in ("integer", "number"):
        return not BOUNDS & set(schema)
    return any(_unbounded(schema.get(key)) for key in ("anyOf", "allOf", "items", "prefixItems"))


def survives_json(options: type[Any]) -> None:
    """What an origin records of the options can be given back."""
    try:
        defaults = options()
    except ValueError:
        return  # some are required; the replay check covers them
    recorded = json.loads(json.dumps(defaults.model_dump(mode="json")))
    try:
        again = options.parse(options.__name__, recorded)
    except OptionError as error:
        raise AssertionError(f"recorded options cannot be given back (Field(strict=False) helps): {error}") from error
    assert again == defaults, f"the options {recorded} come back as {again}; every field must survive JSON"


@contextmanager
def untouched() -> Iterator[Callable[[], None]]:
    """The caller's random states, grad mode and settings are the same after the block, and whenever what it gives is
    called."""
    before = _states()

    def check() -> None:
        after = _states()
        changed = [name for name in before if before[name] != after[name]]
        assert not changed, (
            f"the caller's state is changed: {', '.join(changed)}; draw from generators of your own, and hold no mode "
            "open across a yield"
        )

    yield check
    check()


def _states() -> dict[str, Any]:
    states: dict[str, Any] = {"random": random.getstate(), "the working directory": os.getcwd()}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        kind, keys, *rest = numpy.random.get_state()
        states["numpy.random"] = (kind, keys.tobytes(), tuple(rest))
    if torch is not None:
        states["torch.random"] = torch.get_rng_state().numpy().tobytes()
        if torch.cuda.is_initialized():
            states["torch.cuda.random"] = [each.numpy().tobytes() for each in torch.cuda.get_rng_state_all()]
        for name in ("is_grad_enabled", "is_inference_mode_enabled", "get_default_dtype", "get_default_device"):
            states[f"torch.{name}"] = getattr(torch, name)()
        for name in ("get_num_threads", "are_deterministic_algorithms_enabled"):
            states[f"torch.{name}"] = getattr(torch, name)()
    return states


def held() -> dict[str, int]:
    """How many threads and, where the system tells, file descriptors this process has."""
    found = {"threads": threading.active_count()}
    if os.path.isdir("/dev/fd"):
        found["file descriptors"] = len(os.listdir("/dev/fd"))
    return found


def holds_a_model(folder: Path, backend: str | None = None) -> None:
    """A model folder has a sound manifest, names its backend, and holds data alone."""
    assert (folder / MANIFEST).is_file(), f"save() left no {MANIFEST}; write through aigc_sdk.folder.writing"
    manifest = read_json(folder / MANIFEST)
    if backend:
        assert manifest["backend"] == backend, f"{MANIFEST} names {manifest['backend']!r}, not {backend!r}"
    for path in folder.rglob("*"):
        if path.is_dir():
            continue
        assert not any(fnmatch(path.name, pattern) for pattern in CODE), f"{path.name} is code or pickle"
        assert any(fnmatch(path.name, pattern) for pattern in PATTERNS), (
            f"{path.name} is none of {', '.join(PATTERNS)}, which is all that a model may consist of"
        )


def refuses_what_is_no_model(cls: type[Any], folder: Path) -> None:
    """An empty folder, and one that is not there."""
    folder.mkdir()
    for source in (folder, folder / "missing"):
        with refuses(
            AigcError, f"{cls.__name__}.open of a folder without a model", "open through aigc_sdk.folder.read"
        ):
            cls.open(source, device="cpu")


def refuses_damage(cls: type[Any], folder: Path) -> None:
    """One flipped bit in any file of a saved model, or a missing file."""
    advice = "read through aigc_sdk.folder.read, which compares every file with the manifest"
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        whole = path.read_bytes()
        flipped = bytearray(whole or b"\0")
        flipped[len(whole) // 2] ^= 1
        path.write_bytes(flipped)
        with refuses(AigcError, f"a flipped bit in {path.name}", advice):
            cls.open(folder, device="cpu")
        path.unlink()
        if path.name != MANIFEST:  # without one it is a folder that another library wrote
            with refuses(AigcError, f"a model without its {path.name}", advice):
                cls.open(folder, device="cpu")
        path.write_bytes(whole)
    cls.open(folder, device="cpu")


def refuses_missing_devices(model: Any, folder: Path) -> None:
    """A device that nobody has, and CUDA where torch sees none, in `to` and in `open`."""
    model.save(folder)
    for device in ("no-such-device", *(["cuda"] if "torch" in sys.modules and not has_cuda() else [])):
        advice = "take it through aigc_sdk.runtime.device, which raises DeviceError"
        with refuses(DeviceError, f"to({device!r})", advice):
            model.to(device)
        with refuses(DeviceError, f"open(device={device!r})", advice):
            type(model).open(folder, device=device)


def has_cuda() -> bool:
    """Whether there is a CUDA device; False where nothing has imported torch, which no model uses then."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_available())


def imports_without_torch(backend: str) -> None:
    """The manifest can be imported, in a fresh process, without importing torch."""
    listing = registry.find(backend)
    module = listing.value.partition(":")[0]
    if not module:
        return  # registered in this process alone
    done = run_python(["-c", f"import sys, {module}; sys.exit('torch' in sys.modules)"])
    assert done.returncode == 0, (
        f"importing {module} imports torch, or fails; name classes by strings in the Backend: {done.stderr[-500:]}"
    )


def run_python(arguments: list[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, which finds the same modules."""
    path = {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, **path, **(environment or {})},
    )


def run_this_check(request: pytest.FixtureRequest, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the check that asks, with the fixtures that its author gave, in a process of its own."""
    check = f"{request.node.path}::{request.node.nodeid.partition('::')[2]}"
    settings = ["-c", str(request.config.inipath)] if request.config.inipath else []
    pytest_ = ["-m", "pytest", *settings, "--rootdir", str(request.config.rootpath), "-p", "no:cacheprovider", "-m", ""]
    return run_python([*pytest_, check], environment)
