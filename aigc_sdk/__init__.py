"""One contract over text, image, video and speech, for generating, training and evaluating.

    import aigc_sdk
    model = aigc_sdk.load("gpt2")
    [story] = model.generate("In the beginning", seed=7, max_new_tokens=40)

Importing this package imports neither torch nor numpy, and no plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from .artifacts import Artifact, Audio, Image, Text, Video
from .hooks import unuse, use, using
from .hookspecs import hookimpl
from .registry import Backend, Listing, backends, evaluator, load, register, trainer, unregister
from .replays import Replay, read, replay

if TYPE_CHECKING:
    from .hub import Pushed, push
    from .protocols import Evaluator, Exam, Fit, Generator, Job, Options, Report, Score, Step, Trainer
else:

    def __getattr__(name: str) -> Any:
        """The contracts, imported when one of them is first asked for: defining a pydantic model takes 50 ms; and the hub."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = import_module(".hub" if name in ("Pushed", "push") else ".protocols", __name__)
        globals()[name] = getattr(module, name)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__version__ = "0.1.0"

__all__ = [
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
    "load",
    "push",
    "read",
    "register",
    "replay",
    "trainer",
    "unregister",
    "unuse",
    "use",
    "using",
]
