"""What the three contracts share."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aigc_sdk import registry
from aigc_sdk.errors import OptionError
from aigc_sdk.folder import MANIFEST, PATTERNS, read_json

CODE = ("*.py", "*.pkl", "*.pickle", "*.pt", "*.pth", "*.bin", "*.ckpt", "*.so")


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


def refuses_unknown_options(call: Any, options: type[Any]) -> None:
    """A misspelt option is refused at the call, and the nearest one suggested."""
    refused = _refusal(call, "no_such_option")
    assert refused.field == "no_such_option", f"the error's field is {refused.field!r}, not the option's name"
    assert "no_such_option" in str(refused), "the message does not name the option"
    known = next(iter(options.model_fields), "")
    if len(known) > 3:
        assert known in str(_refusal(call, known + "x")), f"the message does not suggest {known!r} for {known + 'x'!r}"


def _refusal(call: Any, name: str) -> OptionError:
    try:
        call(**{name: 1})
    except OptionError as error:
        return error
    raise AssertionError(f"the unknown option {name!r} is accepted; let Options forbid extra fields")


def describes_every_option(options: type[Any]) -> None:
    """Flags, forms and docs are made of the descriptions."""
    missing = [name for name, field in options.model_fields.items() if not field.description]
    assert not missing, f"{options.__name__}: these options have no description: {', '.join(missing)}"


def survives_json(options: type[Any]) -> None:
    """What an origin records of the options can be given back."""
    import json

    try:
        defaults = options()
    except ValueError:
        return  # some are required; the replay check covers them
    recorded = json.loads(json.dumps(defaults.model_dump(mode="json")))
    again = options.parse(options.__name__, recorded)
    assert again == defaults, f"{recorded} gives {again}"


@contextmanager
def untouched() -> Iterator[None]:
    """The caller's random states and grad mode are the same after the block as before."""
    before = _states()
    yield
    after = _states()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"the caller's state was changed: {', '.join(changed)}"


def _states() -> dict[str, Any]:
    states: dict[str, Any] = {"random": random.getstate()}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        kind, keys, *rest = numpy.random.get_state()
        states["numpy.random"] = (kind, keys.tobytes(), tuple(rest))
    if torch is not None:
        states["torch.random"] = torch.get_rng_state().numpy().tobytes()
        states["torch.is_grad_enabled"] = torch.is_grad_enabled()
        states["torch.is_inference_mode_enabled"] = torch.is_inference_mode_enabled()
        states["torch.get_default_dtype"] = torch.get_default_dtype()
    return states


def holds_a_model(folder: Path, backend: str | None = None) -> None:
    """A model folder has a sound manifest, names its backend, and holds data alone."""
    from fnmatch import fnmatch

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


def imports_without_torch(backend: str) -> None:
    """The manifest can be imported, in a fresh process, without importing torch."""
    listing = registry.find(backend)
    module = listing.value.partition(":")[0]
    if not module:
        return  # registered in this process alone
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"importing {module} imports torch, or fails: {done.stderr.strip()[-500:]}"
