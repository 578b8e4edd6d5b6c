"""The three hooks, for what concerns every backend: refusing, replacing and watching.

A hook runs only for objects that the user switches on, with `aigc_sdk.use(obj)` or `with aigc_sdk.using(obj):`.
Installing a package never switches one on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from .artifacts import Artifact
    from .protocols import Evaluator, Generator, Job, Step, Trainer

hookspec = pluggy.HookspecMarker("aigc_sdk")

hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker("aigc_sdk")
"""Marks a method as an implementation of the hook that it is named after: `@aigc_sdk.hookimpl`.

    class Quiet:
        @aigc_sdk.hookimpl
        def aigc_prompt(self, job):
            if any("shout" in str(each) for each in job.prompts):
                raise aigc_sdk.errors.Refused("no shouting")

    with aigc_sdk.using(Quiet()):
        ...

The hooks are `aigc_prompt(job)`, before anything runs, which refuses by raising `aigc_sdk.errors.Refused`;
`aigc_artifact(artifact, job)`, which may return an artifact to stand for a finished one; and `aigc_step(step, owner)`,
which watches generating, training and evaluating. A method takes as many of these arguments as it needs.
`@hookimpl(tryfirst=True)` and `@hookimpl(trylast=True)` decide who comes first and last; see pluggy for the rest.
"""


@hookspec
def aigc_prompt(job: Job) -> None:
    """A request is about to run. Raise `aigc_sdk.errors.Refused` to refuse it."""


@hookspec
def aigc_artifact(artifact: Artifact, job: Job) -> Artifact | None:
    """An artifact is finished. Return another to replace it (filter, label, watermark, sign), or None to keep it.

    Implementations run one after the other, each on what the one before it returned; pluggy's
    `@hookimpl(tryfirst=True)` and `@hookimpl(trylast=True)` decide who is first and last.
    """


@hookspec
def aigc_step(step: Step, owner: Generator[Any] | Trainer[Any] | Evaluator) -> None:
    """One unit of progress of `owner`, which generates, trains or evaluates. The return value is ignored."""
