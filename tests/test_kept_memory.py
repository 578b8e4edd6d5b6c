"""What a training run frees stays with the process until its end: each case in a process of its own, which it changes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

ASKED = """
import resource, sys
import torch
from aigc_sdk.training._memory import kept_memory

PAGES = 25 * 8_000_000 // 4096

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        held = [torch.ones(2_000_000) for _ in range(25)]  # 200 MB in blocks of 8
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

torch.set_num_threads(1)
with kept_memory():
    faults(2)
    print(faults(4) / PAGES)
    within = resident()
print((within - resident()) / 200_000_000)
print(faults(4) / PAGES)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc"
)
class TestKeptMemory:
    def run(self, tmp_path: Path, **environment: str) -> list[float]:
        others = {name: value for name, value in os.environ.items() if "MALLOC" not in name and "GLIBC" not in name}
        done = subprocess.run(
            [sys.executable, "-c", ASKED], env={**others, **environment}, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return [float(each) for each in done.stdout.split()]

    def test_no_page_is_cleared_twice_and_all_goes_back_at_the_end(self, tmp_path: Path) -> None:
        within, returned, after = self.run(tmp_path)
        assert within < 0.1
        assert returned > 0.9
        assert after > 0.5  # as without it: memory goes back and forth again

    def test_thresholds_of_the_environment_stay(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072")[0] > 3
