"""What happens around a backend's `run` in every generate and stream call.

prepare (validate everything) -> run (seeded, cancellable) -> per chunk: origin -> per artifact: hooks
"""

from __future__ import annotations

import functools
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import hooks, runtime
from .artifacts import Artifact
from .errors import BrokenBackend, DataError, OptionError, PromptError, printable, shown
from .runtime import LentState

if TYPE_CHECKING:
    from .protocols import Generator, Job, Step

PROMPT_LIMIT = 1_000_000  # bytes of UTF-8; 1 MB takes a tokenizer two seconds, and no shipped model reads more
SAMPLES_LIMIT = 100_000
CALL_LIMIT = 16_384  # bytes of JSON; a larger batch of prompts is not repeated in every artifact's origin
_END = object()


def generate(
    model: Generator[Any],
    prompt: Any,
    n: int,
    seed: int | None,
    on_step: Callable[[Step], None] | None,
    progress: bool | None,
    options: Mapping[str, Any],
) -> Iterator[Artifact]:
    """The body of `Generator.generate`."""
    with _bar(progress) as bar:
        job, lent = prepare(model, prompt, n, seed, _both(on_step, bar), options)
        yield from _finished(model, job, lent)


def stream(
    model: Generator[Any],
    prompt: Any,
    n: int,
    seed: int | None,
    on_step: Callable[[Step], None] | None,
    options: Mapping[str, Any],
) -> Iterator[Artifact]:
    """The body of `Generator.stream`; not a generator function, so that bad input is refused at the call."""
    job, lent = prepare(model, prompt, n, seed, on_step, options)
    return _finished(model, job, lent) if hooks.watched("aigc_artifact") else _chunks(model, job, lent)


def prepare(
    model: Generator[Any],
    prompt: Any,
    n: int,
    seed: int | None,
    on_step: Callable[[Step], None] | None,
    options: Mapping[str, Any],
) -> tuple[Job, LentState | None]:
    """Validate a call, before any tensor; the Job, and the random state to lend where the backend needs one."""
    from .protocols import Job

    owner = model.backend or type(model).__name__
    parsed = model.Options.parse(owner, options)
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= SAMPLES_LIMIT:
        raise OptionError(
            f"n={shown(n)}: the number of samples per prompt is an integer from 1 to {SAMPLES_LIMIT:,}", field="n"
        )
    prompts = tuple(prompt) if isinstance(prompt, list | tuple) else (prompt,)
    if not prompts:
        raise PromptError("the list of prompts is empty; pass at least one", field="prompt")
    if len(prompts) * n > SAMPLES_LIMIT:
        raise OptionError(
            f"{len(prompts)} prompts x n={n} is more than {SAMPLES_LIMIT:,} samples; split the call", field="n"
        )
    for index, each in enumerate(prompts):
        check_prompt(each, model.prompt_types, owner, f"prompt[{index}]" if len(prompts) > 1 else "prompt")
    seed = secrets.randbelow(2**32) if seed is None else check_seed(seed)
    lent = None if model.owns_randomness else LentState(seed, model.device)
    job = Job(prompts, n, seed, parsed, watcher(on_step, model, lent))
    model.check(job)
    hooks.manager.hook.aigc_prompt(job=job)
    return job, lent


def check_seed(seed: Any) -> int:
    """`seed` if it is one: an integer from 0 to 2**63-1."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        message = f"seed={shown(seed)}: a seed is an integer from 0 to 2**63-1, or None to draw one"
        raise OptionError(message, field="seed")
    return seed


def item_seed(seed: int, index: int) -> int:
    """The seed of item `index` of a call."""
    return (seed + index) % 2**63


def check_count(name: str, value: Any, most: int) -> int:
    """`value` if it is an integer from 1 to `most`; the argument `name` is at fault if not."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise OptionError(f"{name}={shown(value)}: give an integer from 1 to {most:,}", field=name)
    return value


def check_prompt(prompt: Any, types: tuple[type, ...], owner: str, field: str = "prompt") -> None:
    """Refuse a prompt of another type, and text that is empty, huge or not encodable."""
    if not isinstance(prompt, types):
        wanted = " or ".join("None" if each is type(None) else each.__name__ for each in types)
        raise PromptError(f"{field} is a {type(prompt).__name__}; {owner} takes {wanted}", field="prompt")
    if not isinstance(prompt, str):
        return
    if not prompt:
        hint = "; pass None to start from nothing" if type(None) in types else ""
        raise PromptError(f"{field} is empty{hint}", field="prompt")
    if len(prompt) > PROMPT_LIMIT:  # characters first: encoding 10 MB only to refuse it would take time
        raise PromptError(
            f"{field} has {len(prompt):,} characters; the limit is {PROMPT_LIMIT:,} bytes", field="prompt"
        )
    try:
        size = len(prompt.encode())
    except UnicodeEncodeError as error:
        found = printable(prompt[error.start])
        message = f"{field} holds a lone surrogate {found} at character {error.start}, which is no text; remove it"
        raise PromptError(message, field="prompt") from error
    if size > PROMPT_LIMIT:
        raise PromptError(f"{field} has {size:,} bytes; the limit is {PROMPT_LIMIT:,}", field="prompt")


def check_text(text: str, where: str, field: str) -> None:
    """Refuse a text of somebody's data that cannot be encoded; `where` it stands is for the message. Raises DataError."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{where} holds a lone surrogate at character {error.start}, which is no text; remove it"
        raise DataError(message, field=field) from error


def watcher(
    on_step: Callable[[Step], None] | None, model: Any, lent: LentState | None = None
) -> Callable[[Step], None]:
    """What `run` calls with each Step: the caller's `on_step` and the hooks, in the caller's own random state."""
    from .protocols import ignore

    if on_step is None and not hooks.watched("aigc_step"):
        return ignore

    def watch(step: Step) -> None:
        with lent.returned() if lent else nullcontext():
            if on_step is not None:
                on_step(step)
            hooks.manager.hook.aigc_step(step=step, owner=model)

    return watch


def _finished(model: Generator[Any], job: Job, lent: LentState | None) -> Iterator[Artifact]:
    """Whole artifacts, in order, each passed through the hooks."""
    parts: list[list[Artifact]] = [[] for _ in range(len(job))]
    for chunk in _chunks(model, job, lent):
        parts[chunk.sample].append(chunk)
    for index, chunks in enumerate(parts):
        if not chunks:
            raise BrokenBackend(f"{model.backend or type(model).__name__} yielded nothing for sample {index}")
        whole = type(chunks[0]).join(chunks)
        yield hooks.finish(whole, job) if hooks.watched("aigc_artifact") else whole


def _chunks(model: Generator[Any], job: Job, lent: LentState | None) -> Iterator[Artifact]:
    """Run the backend, and give every chunk its origin."""
    owner = model.backend or type(model).__name__
    origin = _origins(model, job)
    turn: AbstractContextManager[Any] = lent or nullcontext()
    with turn:  # a `run` that is no generator function does its work here
        run = model.run(job)
    if not isinstance(run, Iterator):
        raise BrokenBackend(f"{owner} returned a {type(run).__name__} from `run`; it must yield the chunks")
    try:
        while True:
            with turn:
                chunk = next(run, _END)
            if chunk is _END:
                return
            if not (isinstance(chunk, Artifact) and isinstance(chunk.sample, int) and 0 <= chunk.sample < len(job)):
                raise BrokenBackend(
                    f"{owner} yielded {shown(chunk)}, which is no chunk of one of the {len(job)} samples of this job"
                )
            yield replace(chunk, origin=origin(chunk.sample))
    finally:
        close = getattr(run, "close", None)
        if close is not None:
            with turn:
                close()


def _origins(model: Generator[Any], job: Job) -> Callable[[int], dict[str, Any]]:
    """How each item was made: enough to make it again, alone or, to the byte, with the batch it came from."""
    from . import registry

    prompts = [_plain(each) for each in job.prompts]
    whole = len(prompts) == 1 or len(json.dumps(prompts)) <= CALL_LIMIT
    versions = registry.versions_of(model.backend)
    shared = {
        "backend": model.backend,
        "versions": versions,
        "model": model.identity(job),
        "device": model.device,
        "dtype": model.dtype,
        "options": job.options.model_dump(mode="json"),
    }
    if model.device == "cpu" and "torch" in versions and (threads := runtime.threads()):
        shared["threads"] = threads

    @functools.cache
    def origin(index: int) -> dict[str, Any]:
        place = index // job.n
        its = {**shared, "prompt": prompts[place], "seed": item_seed(job.seed, index)}
        if not whole and (own := job.options.of_prompt(place)) is not job.options:
            its["options"] = own.model_dump(mode="json")
        if len(job) > 1:
            its["call"] = {"seed": job.seed, "n": job.n, "index": index, "prompts": prompts if whole else None}
        return its

    return origin


def _plain(prompt: Any) -> Any:
    """The prompt as JSON; a prompt of another kind is described, and such an artifact cannot be replayed from its file."""
    try:
        json.dumps(prompt)
    except (TypeError, ValueError, RecursionError):
        return {"unrecorded": shown(prompt, 200)}
    return prompt


def _both(first: Callable[[Step], None] | None, second: Callable[[Step], None] | None) -> Callable[[Step], None] | None:
    if first is None or second is None:
        return first or second

    def both(step: Step) -> None:
        first(step)
        second(step)

    return both


def _bar(progress: bool | None) -> AbstractContextManager[Callable[[Step], None] | None]:
    if progress or (progress is None and sys.stderr is not None and sys.stderr.isatty()):
        from .progress import Bar

        return Bar("generating", delay=0 if progress else 2)
    return nullcontext(None)
