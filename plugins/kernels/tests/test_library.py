"""Whether the compiled half is there, and what is said where it is not."""

import subprocess
import sys

import pytest

from aigc_sdk.errors import MissingDependency
from aigc_sdk_kernels import available, paths
from aigc_sdk_kernels import library as module


def test_what_is_available_is_true_and_has_no_reason():
    found = available()
    assert bool(found) == found.ready == (found.reason == "")


@pytest.mark.skipif(not available(), reason=available().reason)
def test_every_processor_has_the_portable_path_first():
    assert paths()[0] == "portable"
    assert len(set(paths())) == len(paths())


@pytest.mark.parametrize("missing", ["not built", "damaged"])
def test_without_its_compiled_half_it_says_why_and_how_to_mend_it(missing, monkeypatch, tmp_path):
    damaged = tmp_path / "compiled.so"
    damaged.write_bytes(b"no library")
    spec = None if missing == "not built" else type("Spec", (), {"origin": str(damaged)})
    monkeypatch.setattr(module, "find_spec", lambda name: spec)
    module._loaded.cache_clear()
    try:
        found = available()
        assert not found
        assert "C compiler" in found.reason if missing == "not built" else str(damaged) in found.reason
        with pytest.raises(MissingDependency, match="aigc-sdk-kernels cannot compute here"):
            paths()
    finally:
        monkeypatch.undo()
        module._loaded.cache_clear()


def test_it_imports_no_torch_and_no_backend():
    program = (
        "import sys, aigc_sdk_kernels; print([each for each in ('torch', 'aigc_sdk_gpt2') if each in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
