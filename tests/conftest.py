"""What several files of tests begin with."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import aigc_sdk

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts by `make test &`
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests' processes inherit it


@pytest.fixture(scope="module")
def sea(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the backend that needs no torch."""
    run = tmp_path_factory.mktemp("runs") / "sea"
    trainer = aigc_sdk.trainer("echo")
    trainer.fit(
        ["the sea was calm", "the sky was grey"],
        max_steps=4,
        seed=11,
        save_to=run,
        save_every=2,
        validation=["the sea was grey"],
        evaluate_every=2,
    )
    return run
