"""The path of a generate call: seeds, the caller's own state, streams, origins, progress, and input that is refused."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from pydantic import Field

import aigc_sdk
from aigc_sdk import Generator, Image, Job, Options, Step, Text, calls, runtime
from aigc_sdk.errors import BrokenBackend, InputError, OptionError, PromptError
from aigc_sdk.testing import contract
from aigc_sdk_echo.model import Echo, EchoOptions

Run = Callable[[Job], Iterator[Any]]


class Made(Generator[Any]):
    """A generator whose `run` is given to it; the core lends it torch's global random state."""

    backend = "made"
    device, dtype = "cpu", "float32"

    def __init__(self, run: Run) -> None:
        self.given = run

    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        return cls(drawing)

    def run(self, job: Job) -> Iterator[Any]:
        return self.given(job)

    def save(self, folder: Any) -> None: ...

    def to(self, device: str) -> Self:
        return self


class Own(Made):
    """The same, but its `run` draws from generators of its own."""

    owns_randomness = True


def number() -> str:
    """One draw from torch's global random state."""
    return f"{torch.rand(()).item():.6f} "


def drawing(job: Job) -> Iterator[Text]:
    """Three chunks for each item."""
    for index in range(3 * len(job)):
        job.on_step(Step(index + 1, 3 * len(job)))
        yield Text(number(), sample=index // 3)


def in_turns(job: Job) -> Iterator[Text]:
    """The items' chunks alternate, as those of a batch do."""
    for index in range(3 * len(job)):
        job.on_step(Step(index + 1))
        yield Text(number(), sample=index % len(job))


def drawing_ahead(job: Job) -> Iterator[Text]:
    """No generator function: it draws when it is called."""
    drawn = [number() for _ in job.items]
    return (Text(each + number(), sample=index) for index, each in enumerate(drawn))


def from_seeds(job: Job) -> Iterator[Text]:
    """One stream for each item, as a backend that owns its randomness does it."""
    rngs = [runtime.rng(seed) for seed in job.seeds]
    for _ in range(2):
        for sample, rng in enumerate(rngs):
            job.on_step(Step(1))
            yield Text(f"{torch.rand((), generator=rng).item():.6f} ", sample=sample)


MODELS: dict[str, Callable[[], Generator[Any]]] = {
    "echo": Echo,
    "global": lambda: Made(drawing),
    "in turns": lambda: Made(in_turns),
    "inference mode": lambda: Made(torch.inference_mode()(drawing)),
    "ahead": lambda: Made(drawing_ahead),
    "of seeds": lambda: Own(from_seeds),
}
PROMPT = "one two three four five"


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Generator[Any]:
    return MODELS[request.param]()


def make_noise(step: Step | None = None) -> None:
    """What a caller may do at any time."""
    random.random()
    np.random.rand(3)
    torch.rand(3)
    torch.manual_seed(random.randrange(100))


# Seeds


@pytest.mark.parametrize("model", [Echo(), Own(from_seeds)])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_an_item_does_not_depend_on_how_many_are_made_with_it(model: Generator[Any], n: int) -> None:
    options = {"shuffle": True} if isinstance(model, Echo) else {}
    prompt = "a b c d e f g h i j k l m n o p"
    whole = model.generate(prompt, n=7, seed=30, **options)
    assert model.generate([prompt] * n, seed=30, **options) == whole[:n]
    assert model.generate(prompt, n=n, seed=32, **options) == whole[2 : 2 + n]
    assert len(set(whole)) == 7


def test_seeds_go_round_at_the_largest() -> None:
    last, first = Echo().generate(PROMPT, n=2, seed=2**63 - 1, shuffle=True)
    assert (last.origin["seed"], first.origin["seed"]) == (2**63 - 1, 0)
    assert [first] == Echo().generate(PROMPT, seed=0, shuffle=True)


def test_without_a_seed_one_is_drawn_and_what_is_recorded_makes_each_item_again() -> None:
    made = Echo().generate([PROMPT, "six seven eight nine"], n=3, shuffle=True)
    for each in made:
        assert [each] == Echo().generate(each.origin["prompt"], seed=each.origin["seed"], **each.origin["options"])
    assert len({Made(drawing).generate()[0] for _ in range(8)}) == 8


def test_a_model_that_draws_from_the_global_state_is_seeded(model: Generator[Any]) -> None:
    first = model.generate(PROMPT, n=2, seed=1)
    make_noise()
    assert model.generate(PROMPT, n=2, seed=1) == first
    assert isinstance(model, Echo) or model.generate(PROMPT, n=2, seed=2) != first


# The caller's own state


def test_the_callers_state_is_its_own_before_between_and_behind_chunks(model: Generator[Any]) -> None:
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode(), contract.untouched() as check:
            stream = model.stream(PROMPT, n=2)
            check()
            for _ in stream:
                check()
            model.generate(PROMPT, n=2, on_step=lambda step: None)


def test_a_noisy_caller_gets_what_a_quiet_one_gets(model: Generator[Any]) -> None:
    quiet = list(model.stream(PROMPT, n=2, seed=4))
    noisy = []
    for chunk in model.stream(PROMPT, n=2, seed=4, on_step=make_noise):
        noisy.append(chunk)
        make_noise()
    assert noisy == quiet
    assert [each.sample for each in noisy] == [each.sample for each in quiet]


def test_what_the_caller_draws_during_a_call_continues_its_own_stream() -> None:
    torch.manual_seed(8)
    undisturbed = [number() for _ in range(6)]
    torch.manual_seed(8)
    drawn: list[str] = []

    def draw(step: Step | None = None) -> None:
        drawn.append(number())

    for _ in Made(drawing).stream(seed=1, on_step=draw):
        draw()
    assert drawn == undisturbed


def test_a_call_within_on_step_of_another_disturbs_neither() -> None:
    outer, inner = Made(drawing), Made(in_turns)
    alone = outer.generate(seed=1), inner.generate(n=2, seed=2)
    found: list[list[Any]] = []
    made = outer.generate(seed=1, on_step=lambda step: found.append(inner.generate(n=2, seed=2)))
    assert (made, found) == (alone[0], [alone[1]] * 3)


def test_two_threads_with_one_model_of_the_global_state_get_what_each_gets_alone() -> None:
    model, together = Made(in_turns), threading.Barrier(2)

    def work(seed: int) -> list[Any]:
        chunks = []
        together.wait(timeout=60)
        for chunk in model.stream(n=20, seed=seed, on_step=lambda step: time.sleep(0)):
            chunks.append(chunk)
            time.sleep(0)  # lets the other thread run
        return chunks

    alone = [list(model.stream(n=20, seed=seed)) for seed in (1, 2)]
    with contract.untouched(), ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, (1, 2))) == alone


# Streams


def test_a_joined_stream_is_what_generate_returns(model: Generator[Any]) -> None:
    parts: list[list[Any]] = [[] for _ in range(4)]
    for chunk in model.stream([PROMPT, "six"], n=2, seed=5):
        parts[chunk.sample].append(chunk)
    whole = model.generate([PROMPT, "six"], n=2, seed=5)
    assert [Text.join(each) for each in parts] == whole
    assert [each.sample for each in whole] == [0, 1, 2, 3]
    assert [each.origin["prompt"] for each in whole] == [PROMPT, PROMPT, "six", "six"]


def test_closing_a_stream_closes_run_and_leaves_the_callers_state() -> None:
    ended: list[str] = []

    def run(job: Job) -> Iterator[Text]:
        try:
            yield from drawing(job)
        finally:
            ended.append(number())

    with contract.untouched():
        stream: Any = Made(run).stream(n=2, seed=1)
        next(stream)
        assert not ended
        stream.close()
        assert len(ended) == 1
        assert next(stream, None) is None
        del stream
        Made(run).stream(seed=1)  # never begun, so that there is nothing to end
    assert len(ended) == 1


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt, StopIteration])
def test_an_exception_in_on_step_ends_the_call_as_it_is_and_the_model_works_on(kind: type[BaseException]) -> None:
    ended = []

    def run(job: Job) -> Iterator[Text]:
        try:
            yield from drawing(job)
        finally:
            ended.append(True)

    def stop(step: Step) -> None:
        if step.index == 2:
            raise kind("enough")

    model = Made(run)
    expected = model.generate(seed=3)
    with contract.untouched(), pytest.raises(kind if kind is not StopIteration else RuntimeError):
        model.generate(seed=3, on_step=stop)
    assert len(ended) == 2
    assert model.generate(seed=3) == expected


def test_an_exception_in_run_reaches_the_caller_as_it_is() -> None:
    def run(job: Job) -> Iterator[Text]:
        yield Text(number())
        raise ZeroDivisionError("in the model")

    with contract.untouched(), pytest.raises(ZeroDivisionError, match="in the model"):
        Made(run).generate()


def unended(job: Job) -> Iterator[Any]:
    yield Text("a")
    yield None
    yield Text("b")


BROKEN: dict[str, tuple[Run, str]] = {
    "a string": (lambda job: iter(["text"]), "yielded 'text'"),
    "a huge thing": (lambda job: iter(["x" * 10**6]), r"x\.\.\., which is no chunk"),
    "none in between": (unended, "yielded None"),
    "a sample too far": (lambda job: iter([Text("a", sample=2)]), "of the 2 samples"),
    "a negative sample": (lambda job: iter([Text("a", sample=-1)]), r"sample=-1"),
    "a sample that is no index": (lambda job: iter([Text("a", sample="0")]), r"sample='0'"),  # type: ignore[arg-type]
    "nothing": (lambda job: iter([]), "nothing for sample 0"),
    "one sample of two": (lambda job: iter([Text("a")]), "nothing for sample 1"),
    "a list": (lambda job: [Text("a")], "returned a list"),  # type: ignore[arg-type,return-value]
    "no yield": (lambda job: None, "returned a NoneType"),  # type: ignore[arg-type,return-value]
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_backend_that_yields_what_it_should_not_is_named(kind: str) -> None:
    run, said = BROKEN[kind]
    with pytest.raises(BrokenBackend, match=said) as caught:
        Made(run).generate(n=2)
    assert str(caught.value).startswith("made ")
    assert len(str(caught.value)) < 300


# Origins


class Sized(Options):
    """Options with a default that is recorded as well."""

    size: int = Field(3, ge=1, le=9, description="how much")
    names: tuple[str, ...] = Field((), description="which", strict=False)


class Plain(Own):
    Options = Sized
    prompt_types = (str, dict, bytes, type(None))
    source = "somewhere"

    def fingerprint(self) -> str:
        return "f1"


PLAIN = Plain(lambda job: (Text("made", sample=index) for index in range(len(job))))


def test_an_origin_says_how_its_artifact_was_made() -> None:
    [alone] = PLAIN.generate("x", seed=9, names=["a"])
    shared = {
        "backend": "made",
        "versions": aigc_sdk.registry.versions_of("made"),
        "model": {"source": "somewhere", "fingerprint": "f1"},
        "device": "cpu",
        "dtype": "float32",
        "options": {"size": 3, "names": ["a"]},
    }
    assert alone.origin == {**shared, "prompt": "x", "seed": 9}
    last = PLAIN.generate(["x", "y"], n=2, seed=9, names=["a"])[-1]
    call = {"seed": 9, "n": 2, "index": 3, "prompts": ["x", "y"]}
    assert last.origin == {**shared, "prompt": "y", "seed": 12, "call": call}
    assert {"python", "aigc-sdk", "aigc-sdk-echo"} <= set(Echo().generate("x")[0].origin["versions"])


def test_every_chunk_of_a_stream_has_its_origin() -> None:
    chunks = list(Echo().stream(["one two", "three"], seed=3))
    assert [(each.origin["prompt"], each.origin["seed"]) for each in chunks] == [("one two", 3)] * 2 + [("three", 4)]


def test_a_large_batch_of_prompts_is_not_repeated_in_every_origin() -> None:
    prompts = [f"prompt {index}" for index in range(3000)]
    made = PLAIN.generate(prompts, seed=1)
    assert max(len(json.dumps(each.origin)) for each in made) < 1000  # with every prompt in it 45,000
    assert made[2999].origin["prompt"] == "prompt 2999"
    assert made[2999].origin["call"] == {"seed": 1, "n": 1, "index": 2999, "prompts": None}
    long = "x" * calls.CALL_LIMIT
    assert PLAIN.generate(long, n=2)[1].origin["call"]["prompts"] == [long]  # one prompt is there anyway


ROUND: dict[str, Any] = {}
ROUND["itself"] = ROUND


@pytest.mark.parametrize("prompt", [b"\0" * 1000, {"array": np.zeros(3)}, ROUND])
def test_a_prompt_that_json_cannot_hold_is_described(prompt: Any) -> None:
    [made] = PLAIN.generate(prompt)
    assert set(made.origin["prompt"]) == {"unrecorded"}
    assert made.origin["prompt"]["unrecorded"][:10] == repr(prompt)[:10]
    assert len(made.origin["prompt"]["unrecorded"]) <= 200


def test_a_structured_prompt_is_recorded_as_it_is() -> None:
    assert PLAIN.generate({"from": "a", "to": [1, 2]})[0].origin["prompt"] == {"from": "a", "to": [1, 2]}


# Input that is refused

BAD_OPTIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a misspelt option": ({"tims": 2}, "tims", r"echo has no option 'tims'\. Did you mean 'times'\?"),
    "an option of another backend": ({"temperature": 1}, "temperature", r"Options: times, shuffle, babble\."),
    "too small": ({"times": 0}, "times", "times=0: .*greater than or equal to 1.*how often the prompt"),
    "too large": ({"times": 1001}, "times", "times=1001: .*less than or equal to 1000"),
    "text for a number": ({"times": "2"}, "times", "times='2': .*integer"),
    "a fraction": ({"times": 2.5}, "times", r"times=2\.5: .*integer"),
    "not a number": ({"times": float("nan")}, "times", "times=nan: .*integer"),
    "nothing": ({"times": None}, "times", "times=None: .*integer"),
    "a number for yes": ({"shuffle": 1}, "shuffle", "shuffle=1: .*boolean"),
    "a number without end": ({"times": 10**5000}, "times", "times=<int>: .*1000"),
    "a long text": ({"times": "x" * 10**6}, "times", r"times='xxx.*\.\.\.: "),
    "two faults": ({"times": 0, "shufle": True}, "times", r"(?s)times=0.*\n.*Did you mean 'shuffle'"),
    "no samples": ({"n": 0}, "n", "n=0: .*from 1 to 100,000"),
    "fewer than none": ({"n": -1}, "n", "n=-1"),
    "half a sample": ({"n": 1.5}, "n", r"n=1\.5"),
    "samples as text": ({"n": "2"}, "n", "n='2'"),
    "yes for a number of samples": ({"n": True}, "n", "n=True"),
    "no number of samples": ({"n": None}, "n", "n=None"),
    "too many samples": ({"n": 100_001}, "n", "n=100001"),
    "samples without end": ({"n": 10**5000}, "n", "n=<int>"),
    "a negative seed": ({"seed": -1}, "seed", r"seed=-1: .*0 to 2\*\*63-1, or None"),
    "a seed too large": ({"seed": 2**63}, "seed", "seed=9223372036854775808"),
    "a seed without end": ({"seed": 10**5000}, "seed", "seed=<int>"),
    "a fractional seed": ({"seed": 1.0}, "seed", r"seed=1\.0"),
    "a seed as text": ({"seed": "7"}, "seed", "seed='7'"),
    "yes for a seed": ({"seed": True}, "seed", "seed=True"),
    "a seed of numpy": ({"seed": np.int64(7)}, "seed", r"seed=np\.int64\(7\): a seed is an integer"),
}
BAD_PROMPTS: dict[str, tuple[Any, str]] = {
    "nothing": (None, "prompt is a NoneType; echo takes str"),
    "an empty text": ("", "prompt is empty"),
    "bytes": (b"one", "prompt is a bytes; echo takes str"),
    "a number": (7, "prompt is a int; echo takes str"),
    "an empty list": ([], "the list of prompts is empty; pass at least one"),
    "an empty tuple": ((), "the list of prompts is empty; pass at least one"),
    "a list of lists": ([["a"]], "prompt is a list"),
    "an iterator": (iter(["a"]), "prompt is a list_iterator"),
    "one of several": (["a", "", "b"], r"prompt\[1\] is empty"),
    "a lone surrogate": ("ab\ud800c", r"prompt holds a lone surrogate \\ud800 at character 2.*remove it"),
    "10 MB": ("x" * 10_000_000, "prompt has 10,000,000 characters; the limit is 1,000,000 bytes"),
    "10 MB with a lone surrogate": ("\ud800" * 10_000_000, "prompt has 10,000,000 characters"),
    "10 MB in a list": (["a", "x" * 10_000_000], r"prompt\[1\] has 10,000,000 characters"),
    "short characters of many bytes": ("漢" * 400_000, "prompt has 1,200,000 bytes; the limit is 1,000,000"),
}


@pytest.mark.parametrize("kind", BAD_OPTIONS)
def test_a_bad_argument_is_refused_at_the_call_with_field_value_and_remedy(kind: str) -> None:
    arguments, field, said = BAD_OPTIONS[kind]
    for call in (Echo().generate, Echo().stream):
        with pytest.raises(OptionError, match=said) as caught:
            call("one", **arguments)
        assert caught.value.field == field
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", BAD_PROMPTS)
def test_a_bad_prompt_is_refused_at_the_call(kind: str) -> None:
    prompt, said = BAD_PROMPTS[kind]
    with pytest.raises(PromptError, match=f"^{said}") as caught:
        Echo().stream(prompt)
    assert caught.value.field == "prompt"


def test_a_prompt_of_too_many_characters_is_refused_before_it_is_encoded() -> None:
    class Watched(str):
        encoded = 0

        def encode(self, *arguments: Any, **more: Any) -> bytes:
            Watched.encoded += 1
            return super().encode(*arguments, **more)

    for text in ("x" * (calls.PROMPT_LIMIT + 1), "漢" * calls.PROMPT_LIMIT):
        with pytest.raises(PromptError, match=r"prompt has 1,000,001 characters|prompt has 3,000,000 bytes"):
            Echo().stream(Watched(text))
    assert Watched.encoded == 1, "that of the second alone, which is not too long by its characters"


def test_the_largest_call_and_the_largest_prompt_are_taken_and_one_more_is_not() -> None:
    assert Echo().stream("x" * calls.PROMPT_LIMIT)
    assert Echo().stream(["a"] * 1000, n=100)
    with pytest.raises(OptionError, match=re.escape("1001 prompts x n=100 is more than 100,000 samples; split the")):
        Echo().stream(["a"] * 1001, n=100)


def test_a_model_that_needs_no_prompt_says_so_where_one_is_empty() -> None:
    with pytest.raises(PromptError, match="prompt is empty; pass None to start from nothing"):
        PLAIN.generate("")


def test_what_is_refused_never_reaches_run_and_the_model_has_the_last_word() -> None:
    class Strict(Own):
        def check(self, job: Job) -> None:
            if job.prompts[0] == "no":
                raise PromptError("not this one", field="prompt")

    ran: list[Job] = []
    model = Strict(lambda job: iter([ran.append(job) or Text("a")]))  # type: ignore[func-returns-value]
    for prompt, arguments in (("no", {}), ("yes", {"n": 0}), (b"", {})):
        with pytest.raises(InputError):
            model.stream(prompt, **arguments)  # type: ignore[arg-type]
    assert not ran
    assert model.generate("yes")
    assert len(ran) == 1


VALUES = some.one_of(
    some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=9), some.lists(some.integers())
)


@given(some.dictionaries(some.sampled_from(["times", "shuffle", "babble", "timse"]) | some.text(max_size=9), VALUES))
def test_any_options_are_parsed_or_refused_by_name(values: dict[str, Any]) -> None:
    refused = refusal(values)
    if refused is None:
        assert values.items() <= EchoOptions.parse("echo", values).model_dump().items()
    else:
        assert refused.field in values
        assert repr(refused.field) in str(refused) or f"option {refused.field}=" in str(refused)


def refusal(values: dict[str, Any]) -> OptionError | None:
    try:
        EchoOptions.parse("echo", values)
    except OptionError as error:
        return error
    return None


# Progress


@pytest.mark.parametrize(("progress", "shown"), [(None, False), (False, False), (True, True)])
def test_a_bar_is_shown_on_a_terminal_or_when_asked_for(
    progress: bool | None, shown: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    steps: list[Step] = []
    made = Echo().generate("one two", n=2, progress=progress, on_step=steps.append)
    out, err = capfd.readouterr()
    assert [each.text for each in made] == ["one two"] * 2
    assert steps == [Step(done, 4) for done in (1, 2, 3, 4)]
    assert out == ""
    assert (err != "") == shown
    assert not shown or re.search(r"generating: 100%.*4/4", err)


def test_a_bar_ends_with_a_call_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def run(job: Job) -> Iterator[Text]:
        job.on_step(Step(1, 3))
        raise ValueError("in the model")
        yield Text("")

    with pytest.raises(ValueError, match="in the model"):
        Own(run).generate(progress=True)
    assert capfd.readouterr().err.endswith("\n")


def test_a_quick_call_on_a_terminal_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    Echo().generate("one two")
    assert "generating" not in capfd.readouterr().err


def test_chunks_of_a_picture_are_previews_and_the_last_is_the_result() -> None:
    def run(job: Job) -> Iterator[Image]:
        for grey in (10, 20, 30):
            yield Image(np.full((2, 2, 3), grey, np.uint8), info={"grey": grey})

    model = Made(run)
    assert [int(each.pixels[0, 0, 0]) for each in model.stream()] == [10, 20, 30]
    [made] = model.generate()
    assert (int(made.pixels[0, 0, 0]), made.info) == (30, {"grey": 30})
