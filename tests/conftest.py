"""What several files of tests begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

import aigc_sdk


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
