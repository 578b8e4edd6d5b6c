"""Trackers as observers: switch one on, and every training step is logged to it.

with aigc_sdk.using(Tracker("tensorboard", "runs/board")):
    trainer.fit(data, max_steps=100)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from aigc_sdk import runtime
from aigc_sdk.errors import OptionError
from aigc_sdk.hookspecs import hookimpl
from aigc_sdk.protocols import Step, Trainer

Kind = Literal["tensorboard", "wandb", "mlflow"]
_PACKAGES: dict[str, tuple[str, str]] = {
    "tensorboard": ("tensorboard", "aigc-sdk[tensorboard]"),
    "wandb": ("wandb", "aigc-sdk[wandb]"),
    "mlflow": ("mlflow", "aigc-sdk[mlflow]"),
}


class Tracker:
    """Logs training steps through accelerate's tracker of that name.

    kind: "tensorboard", "wandb" (offline unless WANDB_MODE says otherwise) or "mlflow" (a local store).
    folder: where it writes. name: the run's name. Raises MissingDependency with the pip line.
    """

    def __init__(self, kind: Kind, folder: str | Path, *, name: str = "training") -> None:
        if kind not in _PACKAGES:
            raise OptionError(f"tracker {kind!r}: use one of {', '.join(_PACKAGES)}", field="kind")
        module, pip = _PACKAGES[kind]
        runtime.require(module, pip, f"the {kind} tracker")
        self.kind = kind
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tracker = _started(kind, self.folder, name)

    @hookimpl
    def aigc_step(self, step: Step, owner: object) -> None:
        """Log the metrics of a training step."""
        if isinstance(owner, Trainer) and step.metrics:
            self._tracker.log(dict(step.metrics), step=step.index)

    def close(self) -> None:
        """Flush and close; what was logged is on the disk."""
        self._tracker.finish()


def _started(kind: str, folder: Path, name: str) -> Any:
    from accelerate import PartialState, tracking

    PartialState()  # accelerate's trackers log from the main process alone, and ask it which that is
    if kind == "tensorboard":
        tracker: Any = tracking.TensorBoardTracker(name, logging_dir=str(folder))
    elif kind == "wandb":
        os.environ.setdefault("WANDB_MODE", "offline")
        tracker = tracking.WandBTracker(name, dir=str(folder))
    else:
        uri = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        tracker = tracking.MLflowTracker(name, logging_dir=uri)
    if hasattr(tracker, "start"):
        tracker.start()
    return tracker
