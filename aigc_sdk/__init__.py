"""One contract over text, image, video and speech, for generating, training and evaluating.

    import aigc_sdk
    model = aigc_sdk.load("gpt2")
    [story] = model.generate("In the beginning", seed=7, max_new_tokens=40)

Importing this package imports neither torch nor numpy, and no plugin.
"""

from . import errors
from .artifacts import Artifact, Audio, Image, Text, Video
from .hooks import unuse, use, using
from .hookspecs import hookimpl
from .protocols import Evaluator, Exam, Fit, Generator, Job, Options, Report, Score, Step, Trainer
from .registry import Backend, Listing, backends, evaluator, load, register, trainer, unregister
from .replays import Replay, read, replay

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
    "read",
    "register",
    "replay",
    "trainer",
    "unregister",
    "unuse",
    "use",
    "using",
]
