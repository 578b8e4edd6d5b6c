"""Hooks: what is switched on refuses, replaces and watches; what is not switched on does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

import aigc_sdk
from aigc_sdk import Artifact, Job, Step, Text, hookimpl, hooks
from aigc_sdk.errors import InputError, Refused
from aigc_sdk_echo.evaluate import Overlap
from aigc_sdk_echo.model import Echo
from aigc_sdk_echo.train import EchoTrainer


@dataclass(eq=False)
class Suffix:
    """Adds its own letter to every text."""

    letter: str

    @hookimpl
    def aigc_artifact(self, artifact: Text) -> Artifact:
        return replace(artifact, text=artifact.text + self.letter)


class First(Suffix):
    @hookimpl(tryfirst=True)
    def aigc_artifact(self, artifact: Text) -> Artifact:
        return replace(artifact, text=artifact.text + self.letter)


class Last(Suffix):
    @hookimpl(trylast=True)
    def aigc_artifact(self, artifact: Text) -> Artifact:
        return replace(artifact, text=artifact.text + self.letter)


class Watch:
    """Keeps every step, and whose it was."""

    def __init__(self) -> None:
        self.seen: list[tuple[Step, Any]] = []

    @hookimpl
    def aigc_step(self, step: Step, owner: Any) -> None:
        self.seen.append((step, owner))


class Refuse:
    @hookimpl
    def aigc_prompt(self, job: Job) -> None:
        raise Refused(f"not {job.prompts[0]}")


@pytest.fixture(autouse=True)
def nothing_stays_on() -> Iterator[None]:
    yield
    assert hooks.manager.get_plugins() == set()


def echo(prompt: str = "one") -> str:
    return Echo().generate(prompt)[0].text


# What the hooks may do


def test_a_prompt_can_be_refused_before_anything_runs() -> None:
    class Counting(Echo):
        runs = 0

        def run(self, job: Job) -> Iterator[Text]:
            Counting.runs += 1
            return super().run(job)

    with aigc_sdk.using(Refuse()):
        for call in (Counting().generate, Counting().stream):
            with pytest.raises(Refused, match="not one"):
                call("one")
    assert Counting.runs == 0
    assert Counting().generate("one")
    assert Counting.runs == 1


def test_a_prompt_hook_sees_the_whole_job_after_it_was_checked() -> None:
    jobs: list[Job] = []

    class See:
        @hookimpl
        def aigc_prompt(self, job: Job) -> None:
            jobs.append(job)

    with aigc_sdk.using(See()):
        Echo().generate(["one", "two"], n=2, seed=5, times=3)
        with pytest.raises(InputError):
            Echo().generate("one", times=0)
    [job] = jobs
    assert (job.prompts, job.n, job.seeds, job.options.times) == (("one", "two"), 2, [5, 6, 7, 8], 3)


def test_artifacts_are_replaced_one_after_the_other_in_the_order_that_pluggy_decides() -> None:
    with aigc_sdk.using(Last("z"), Suffix("b"), First("a"), Suffix("c")):
        assert echo() == "oneacbz"  # of equals, the one that was switched on last comes first
    assert echo() == "one"


def test_a_hook_that_returns_nothing_keeps_the_artifact() -> None:
    class Look:
        @hookimpl
        def aigc_artifact(self, artifact: Text, job: Job) -> None:
            assert artifact.text.startswith("one")
            assert job.prompts == ("one",)

    with aigc_sdk.using(Suffix("a"), Look(), Suffix("b")):
        assert echo() == "oneba"


def test_a_new_artifact_keeps_its_place_and_its_origin() -> None:
    class Loud:
        @hookimpl
        def aigc_artifact(self, artifact: Text) -> Text:
            return Text(artifact.text.upper())

    plain = Echo().generate("one", n=2, seed=3)
    with aigc_sdk.using(Loud()):
        loud = list(Echo().stream("one", n=2, seed=3))
    assert [each.text for each in loud] == ["ONE", "ONE"]
    assert [(each.sample, each.origin) for each in loud] == [(each.sample, each.origin) for each in plain]


def test_a_hook_may_give_another_origin() -> None:
    class Sign:
        @hookimpl
        def aigc_artifact(self, artifact: Text) -> Text:
            return replace(artifact, origin={**artifact.origin, "signed": "by me"})

    with aigc_sdk.using(Sign()):
        assert Echo().generate("one")[0].origin["signed"] == "by me"


@pytest.mark.parametrize("returned", ["text", b"", 0, [Text("a")]])
def test_a_hook_that_returns_something_else_is_named(returned: Any) -> None:
    class Wrong:
        @hookimpl
        def aigc_artifact(self, artifact: Text) -> Any:
            return returned

    with (
        aigc_sdk.using(Wrong()),
        pytest.raises(InputError, match=rf"Wrong.* returned a {type(returned).__name__}, not"),
    ):
        echo()


def test_a_hook_may_refuse_what_was_made() -> None:
    class Filter:
        @hookimpl
        def aigc_artifact(self, artifact: Text) -> None:
            if "two" in artifact.text:
                raise Refused("that is no good")

    with aigc_sdk.using(Filter()):
        assert echo() == "one"
        with pytest.raises(Refused, match="that is no good"):
            echo("one two")


def test_a_stream_gives_each_sample_in_one_piece_while_a_hook_may_replace_it() -> None:
    assert [each.text for each in Echo().stream("one two", n=2)] == ["one", " two"] * 2
    with aigc_sdk.using(Suffix("!")):
        stream = Echo().stream("one two", n=2)
    assert [(each.sample, each.text) for each in Echo().stream("one two")] == [(0, "one"), (0, " two")]
    assert [each.text for each in stream] == ["one two", "one two"]  # the hook is off again, and the pieces stay whole
    with aigc_sdk.using(Suffix("!")):
        assert [each.text for each in Echo().stream("one two", n=2)] == ["one two!", "one two!"]
    with aigc_sdk.using(Watch()):
        assert len(list(Echo().stream("one two"))) == 2


def test_steps_of_every_role_are_watched_with_their_owner() -> None:
    watch, own = Watch(), []
    model, trainer, judge = Echo(), EchoTrainer.open(), Overlap.open()
    with aigc_sdk.using(watch):
        model.generate("one two", on_step=own.append)
        trainer.fit(["one two"], max_steps=3)
        judge.evaluate(["one"], ["one"])
    owners = [owner for _, owner in watch.seen]
    assert owners == [model] * 2 + [trainer] * 3 + [judge]
    assert [step for step, _ in watch.seen[:2]] == own == [Step(1, 2), Step(2, 2)]
    assert [step.index for step, _ in watch.seen[2:5]] == [1, 2, 3]


def test_a_watcher_that_raises_cancels_the_call() -> None:
    class Stop:
        @hookimpl
        def aigc_step(self, step: Step) -> None:
            raise TimeoutError(f"at {step.index}")

    with aigc_sdk.using(Stop()), pytest.raises(TimeoutError, match="at 1"):
        echo()
    assert echo() == "one"


# Switching on and off


def test_hooks_are_on_from_use_to_unuse() -> None:
    suffix = Suffix("a")
    aigc_sdk.use(suffix)
    try:
        assert echo() == "onea"
        with aigc_sdk.using(Suffix("b")):
            assert echo() == "oneba"
        assert echo() == "onea"
    finally:
        aigc_sdk.unuse(suffix)
    assert echo() == "one"


def test_a_module_can_hold_hooks_and_a_hook_another_name() -> None:
    class Renamed:
        @hookimpl(specname="aigc_artifact")
        def shout(self, artifact: Text) -> Text:
            return replace(artifact, text=artifact.text.upper())

    module = type(sys)("hooks_in_a_module")
    module.aigc_artifact = Suffix("m").aigc_artifact  # type: ignore[attr-defined]
    with aigc_sdk.using(module, Renamed()):
        assert echo() == "ONEm"


def test_hooks_are_off_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), aigc_sdk.using(Suffix("a"), Suffix("b")):
        raise ZeroDivisionError
    assert echo() == "one"


def test_when_one_cannot_be_switched_on_those_before_it_are_off_again() -> None:
    first = Suffix("a")
    for bad in (object(), first):
        with pytest.raises(InputError), aigc_sdk.using(first, bad):
            pytest.fail("the block was entered")
    assert echo() == "one"


def test_one_that_was_switched_off_meanwhile_keeps_no_other_one_on() -> None:
    first, second = Suffix("a"), Suffix("b")
    with pytest.raises(InputError, match="is not switched on"), aigc_sdk.using(first, second):
        aigc_sdk.unuse(first)
    assert echo() == "one"


class NoHooks:
    def aigc_step(self, step: Step) -> None:
        """Not marked."""


class Misspelt(Watch):
    @hookimpl
    def aigc_promt(self, job: Job) -> None:
        raise Refused("never called")


class UnknownArgument:
    @hookimpl
    def aigc_step(self, stap: Step) -> None: ...


@pytest.mark.parametrize(
    ("observer", "said"),
    [
        (NoHooks(), "no hook to switch on; give it a method marked @aigc_sdk.hookimpl: aigc_artifact, aigc_prompt,"),
        (object(), "no hook to switch on"),
        (None, "no hook to switch on"),
        (Misspelt(), r"no hook is called 'aigc_promt'\. Did you mean 'aigc_prompt'\?"),
        (UnknownArgument(), r"(?s)cannot be switched on:.*stap"),
    ],
)
def test_what_cannot_be_switched_on_is_refused_and_leaves_nothing(observer: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        aigc_sdk.use(observer)
    with pytest.raises(InputError, match="is not switched on"):
        aigc_sdk.unuse(observer)


def test_nothing_is_switched_on_twice_or_off_before_it_is_on() -> None:
    suffix = Suffix("a")
    with aigc_sdk.using(suffix):
        with pytest.raises(InputError, match="is switched on already"):
            aigc_sdk.use(suffix)
        assert echo() == "onea"
    with pytest.raises(InputError, match="is not switched on"):
        aigc_sdk.unuse(suffix)


INSTALLED = {
    "observer.py": "from aigc_sdk import Backend, hookimpl\n"
    "backend = Backend(summary='', artifact='text', generator='observer:Model')\n"
    "@hookimpl\n"
    "def aigc_prompt(job): raise SystemExit('a hook that nobody switched on')\n"
    "from aigc_sdk_echo.model import Echo as Model\n",
    "observer-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: observer\nVersion: 1.0\n",
    "observer-1.0.dist-info/entry_points.txt": "[aigc_sdk]\nobserver = observer:backend\n"
    "[aigc_sdk.hooks]\nobserver = observer\n[pluggy]\nobserver = observer\n",
}


def test_installing_a_package_switches_nothing_on(tmp_path: Any) -> None:
    for name, content in INSTALLED.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    script = "import aigc_sdk, observer; print(aigc_sdk.load('observer').generate('one')[0]); aigc_sdk.use(observer)\n"
    script += "aigc_sdk.load('observer').generate('one')"
    path = [str(tmp_path), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path = {path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr.strip()) == ("one\n", "a hook that nobody switched on")
