"""The contract kit: for every check there is a wrong plugin that it catches, and a sound plugin passes them all.

A wrong plugin is a sound one with one thing changed. pytest runs the kit on all of them in a process per contract, which
imports this file.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from pydantic import Field

import aigc_sdk
from aigc_sdk import Artifact, Audio, Backend, Exam, Fit, Generator, Job, Options, Report, Score, Step, Text, Trainer
from aigc_sdk import folder as folders
from aigc_sdk.errors import FolderError, MismatchedFolder, NotAModel, TrainingDiverged
from aigc_sdk.protocols import ignore
from aigc_sdk.testing import EvaluatorContract, GeneratorContract, TrainerContract
from aigc_sdk_echo.evaluate import Overlap
from aigc_sdk_echo.model import Echo, EchoOptions
from aigc_sdk_echo.train import EchoTrainer, EchoTraining

CONTRACTS = {"generator": GeneratorContract, "trainer": TrainerContract, "evaluator": EvaluatorContract}
TEXTS = ["the sea was calm and the sky was grey", "the sky was blue", "and the sea was deep"]
NAME = "under-test"  # under which the generator that is under test is registered
PROCESSES = {  # checks that start a process are run on the sound plugins, and on those that they are to catch
    "test_its_manifest_imports_without_torch",
    "test_a_saved_model_opens_in_another_process",
    "test_a_killed_run_resumes_exactly",
}
HEAVY = {
    "heavy.py": "import torch\nfrom aigc_sdk import Backend\n"
    "backend = Backend(summary='', artifact='text', generator='test_contract_kit:ImportsTorch')\n",
    "heavy-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: heavy\nVersion: 1.0\n",
    "heavy-1.0.dist-info/entry_points.txt": "[aigc_sdk]\nheavy = heavy:backend\n",
}


@dataclass(frozen=True)
class Case:
    """A plugin, or a use of the kit, with the checks that it fails: first the one that it is there for."""

    name: str
    role: str
    made: type[Any]
    checks: tuple[str, ...] = ()
    suite: Mapping[str, Any] = field(default_factory=dict)
    """What the class of its tests is given beside."""


CASES: list[Case] = []


def caught_by(*checks: str, **suite: Any) -> Callable[[type[Any]], type[Any]]:
    """Put a plugin into the table."""

    def add(made: type[Any]) -> type[Any]:
        role = next(
            name
            for name, base in (("generator", Generator), ("trainer", Trainer), ("evaluator", Overlap))
            if issubclass(made, base)
        )
        same = sum(case.made is made for case in CASES)
        name = made.__name__ + (f"_{same + 1}" if same else "")
        CASES.append(Case(name, role, made, checks, suite))
        return made

    return add


def replaced(name: str, reason: str | None = None) -> dict[str, Any]:
    """What a suite has that replaces a check."""

    def own(self: Any) -> None:
        assert reason is None

    return {name: own if reason is None else pytest.mark.xfail(reason=reason)(own)}


# Generators


class Sound(Echo):
    """Keeps every promise."""

    backend = NAME
    artifact = "text"


caught_by()(Sound)
caught_by(**replaced("test_a_drawn_seed_is_recorded", "it has no seeds"))(Sound)
caught_by("test_no_check_is_overridden_without_a_reason", **replaced("test_a_drawn_seed_is_recorded", ""))(Sound)
caught_by("test_another_seed_gives_another_artifact", random=False)(Sound)


@caught_by("test_its_manifest_imports_without_torch")
class ImportsTorch(Sound):
    backend = "heavy"


@caught_by("test_its_attributes_are_what_the_contract_says")
class NumberedWeights(Sound):
    def fingerprint(self) -> Any:
        return 7


@caught_by("test_every_option_is_described")
class Undescribed(Sound):
    class Options(EchoOptions):
        loud: bool = False


@caught_by("test_every_number_has_bounds")
class Unbounded(Sound):
    class Options(EchoOptions):
        volume: float = Field(0.0, description="loudness")


@caught_by("test_recorded_options_can_be_given_back", "test_a_saved_file_replays_to_the_byte")
class StrictTuple(Sound):
    class Options(EchoOptions):
        words: tuple[str, ...] = Field(("a",), description="words that JSON gives back as a list")


@caught_by("test_an_unknown_option_is_refused")
class Lenient(Sound):
    class Options(EchoOptions):
        model_config = {"extra": "ignore"}  # noqa: RUF012 (pydantic's)


@caught_by("test_bad_calls_are_refused_at_the_call")
class RepairsSeeds(Sound):
    def stream(self, prompt: Any = None, *, seed: Any = None, **rest: Any) -> Iterator[Text]:
        return super().stream(prompt, seed=seed and abs(seed), **rest)


@caught_by("test_hostile_prompts_are_refused_or_answered")
class TakesBytes(Sound):
    prompt_types = (str, bytes)


@caught_by("test_hostile_prompts_are_refused_or_answered")
class ChokesOnNull(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        if "\0" in job.prompts[0]:
            raise ValueError("embedded null character")
        yield from super().run(job)


@caught_by(
    "test_the_same_seed_gives_the_same_artifact",
    "test_an_item_is_the_same_alone_and_in_a_batch",
    "test_the_joined_stream_equals_generate",
    "test_a_noisy_caller_changes_nothing",
    "test_a_drawn_seed_is_recorded",
    "test_an_error_in_on_step_cancels_and_the_model_still_works",
    "test_two_streams_can_be_open_at_once",
    "test_two_threads_get_what_each_gets_alone",
)
class RemembersTheLastPrompt(Sound):
    last: Any = None

    def run(self, job: Job) -> Iterator[Text]:
        again, self.last = self.last == job.prompts, job.prompts
        yield from super().run(job)
        if again:
            yield Text(" again")


@caught_by("test_another_seed_gives_another_artifact")
class IgnoresSeeds(Sound):
    def _words(self, prompt: str, seed: int, options: EchoOptions) -> list[str]:
        return super()._words(prompt, 0, options)


@caught_by("test_an_item_is_the_same_alone_and_in_a_batch")
class SeedsByBatch(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        return super().run(replace(job, seed=job.seed * len(job)))


@caught_by(
    "test_results_are_flat_and_prompt_major",
    "test_an_item_is_the_same_alone_and_in_a_batch",
    "test_a_saved_file_replays_to_the_byte",
)
class IgnoresN(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        return super().run(replace(job, n=1))


@caught_by("test_the_joined_stream_equals_generate", "test_two_streams_can_be_open_at_once")
class StreamsTooLittle(Sound):
    def stream(self, *arguments: Any, **named: Any) -> Iterator[Text]:
        return self._all_but_the_last(super().stream(*arguments, **named))

    def _all_but_the_last(self, chunks: Iterator[Text]) -> Iterator[Text]:
        for chunk, _ in itertools.pairwise(chunks):
            yield chunk


@caught_by("test_the_first_chunk_comes_before_the_last_is_made")
class StreamsLate(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        yield from list(super().run(job))


@caught_by()
class Hum(Sound):
    """Sound for every word."""

    artifact = "audio"

    def run(self, job: Job) -> Iterator[Any]:
        buffer = np.zeros((1, 4), np.float32)
        for chunk in super().run(job):
            buffer[:] = ord(chunk.text[-1]) / 200
            yield Audio(self.handed_out(buffer), sample=chunk.sample, sample_rate=8000)

    def handed_out(self, buffer: Any) -> Any:
        return buffer.copy()


@caught_by(
    "test_a_chunk_stays_as_it_was_handed_out",
    "test_an_item_is_the_same_alone_and_in_a_batch",
)
class OneBuffer(Hum):
    def handed_out(self, buffer: Any) -> Any:
        return buffer


@caught_by("test_a_call_leaves_the_callers_state")
class DrawsFromTheCallers(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        yield from super().run(job)
        random.random()


@caught_by("test_the_callers_state_stays_mid_stream")
class HoldsInferenceMode(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        import torch

        with torch.inference_mode():
            yield from super().run(job)


@caught_by("test_a_noisy_caller_changes_nothing")
class ReadsTheCallersState(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        before = random.getstate()
        for chunk in super().run(job):
            yield chunk if random.getstate() == before else replace(chunk, text=chunk.text.upper())


@caught_by(
    "test_a_noisy_caller_changes_nothing",
    "test_the_callers_state_stays_mid_stream",
    "test_two_streams_can_be_open_at_once",
)
class ForksAroundYields(Sound):
    lock = threading.RLock()  # so that what two threads get is no matter of luck

    def run(self, job: Job) -> Iterator[Text]:
        import torch

        with self.lock, torch.random.fork_rng(devices=[]):
            for chunk in super().run(job):
                torch.manual_seed(job.seeds[chunk.sample]) if chunk.text[0] != " " else None
                yield replace(chunk, text=f"{chunk.text}{torch.randint(1000, ())}")


class Shout(Text):
    """A kind of artifact that nobody else knows."""


@caught_by("test_artifacts_have_the_documented_layout")
class MakesItsOwnKind(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        return (Shout(chunk.text, sample=chunk.sample) for chunk in super().run(job))


@caught_by("test_artifacts_have_the_documented_layout")
class SaysImage(Sound):
    artifact = "image"


class Generates(Sound):
    """What the wrong plugins below change about what `generate` returns."""

    def generate(self, prompt: Any = None, *, seed: Any = None, **rest: Any) -> list[Text]:
        made = super().generate(prompt, seed=seed, **rest)
        return [replace(each, origin=self.origin(dict(each.origin), seed)) for each in made]

    def origin(self, origin: dict[str, Any], seed: int | None) -> dict[str, Any]:
        raise NotImplementedError


@caught_by("test_the_origin_is_complete", "test_a_saved_file_replays_to_the_byte")
class HidesVersions(Generates):
    def origin(self, origin: dict[str, Any], seed: int | None) -> dict[str, Any]:
        return {key: value for key, value in origin.items() if key != "versions"}


@caught_by("test_a_drawn_seed_is_recorded")
class RecordsAnotherSeed(Generates):
    def origin(self, origin: dict[str, Any], seed: int | None) -> dict[str, Any]:
        return origin if seed is not None else {**origin, "seed": origin["seed"] + 1}


@caught_by("test_a_saved_file_replays_to_the_byte")
class ForgetsAnOption(Sound):
    class Options(EchoOptions):
        shuffle: bool = Field(False, exclude=True, description="of which no origin tells")


@caught_by("test_on_step_counts_up_to_the_total")
class CountsDown(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        return super().run(replace(job, on_step=lambda step: job.on_step(Step(step.total - step.index, step.total))))


@caught_by("test_on_step_counts_up_to_the_total", "test_an_error_in_on_step_cancels_and_the_model_still_works")
class NeverCounts(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        return super().run(replace(job, on_step=ignore))


@caught_by("test_an_error_in_on_step_cancels_and_the_model_still_works")
class SwallowsErrors(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        def on_step(step: Step) -> None:
            with suppress(KeyError):
                job.on_step(step)

        return super().run(replace(job, on_step=on_step))


@caught_by("test_a_closed_stream_leaves_the_model_usable")
class BreaksWhenClosed(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        try:
            yield from super().run(job)
        except GeneratorExit:
            self.followers = {}
            raise


@caught_by("test_two_streams_can_be_open_at_once")
class OneStreamAtATime(Sound):
    here = threading.local()

    def run(self, job: Job) -> Iterator[Text]:
        self.here.job = job
        for chunk in super().run(job):
            yield chunk if self.here.job is job else replace(chunk, text=chunk.text.upper())


@caught_by("test_two_threads_get_what_each_gets_alone")
class OneThreadAtATime(Sound):
    both = threading.Barrier(2)

    def _words(self, prompt: str, seed: int, options: EchoOptions) -> list[str]:
        self.seed = seed
        if threading.current_thread() is not threading.main_thread():
            self.both.wait(timeout=60)
        return super()._words(prompt, self.seed, options)


@caught_by("test_repeated_calls_leak_nothing")
class LeaksFiles(Sound):
    files: tuple[Any, ...] = ()

    def run(self, job: Job) -> Iterator[Text]:
        self.files = (*self.files, open(os.devnull))  # noqa: SIM115
        return super().run(job)


@caught_by("test_repeated_calls_leak_nothing")
class LeaksThreads(Sound):
    def run(self, job: Job) -> Iterator[Text]:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return super().run(job)


@caught_by("test_a_saved_folder_holds_data_alone")
class Pickles(Sound):
    def save(self, folder: str | Path) -> None:
        with folders.writing(folder, backend=NAME, role="generator", fingerprint=self.fingerprint()) as path:
            (path / "followers.json").write_text(json.dumps(self.followers))
            (path / "notes.pkl").write_bytes(b"\x80\x04N.")


@caught_by("test_a_reopened_model_makes_the_same")
class SavesNothing(Sound):
    def fingerprint(self) -> str:
        return ""

    def save(self, folder: str | Path) -> None:
        Sound().save(folder)


@caught_by("test_a_saved_model_opens_in_another_process")
class KeepsInMemory(Sound):
    kept: ClassVar[dict[str, Any]] = {}

    def save(self, folder: str | Path) -> None:
        self.kept[str(folder)] = self.followers
        Sound().save(folder)

    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        model = super().open(source, **arguments)
        model.followers = cls.kept.get(str(source), model.followers)
        return model


@caught_by("test_what_is_no_model_is_refused")
class OpensAnything(Sound):
    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        try:
            return super().open(source, **arguments)
        except NotAModel:
            return cls()


@caught_by("test_a_damaged_model_is_refused")
class TrustsFiles(Sound):
    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        cls().to(arguments["device"])
        try:
            return cls(json.loads((Path(source) / "followers.json").read_text()), source=str(source))
        except (OSError, ValueError) as error:
            raise NotAModel(f"{source} cannot be read: {error}") from error


@caught_by("test_a_missing_device_is_refused")
class IgnoresDevices(Sound):
    def to(self, device: str) -> Self:
        return self


@caught_by("test_it_runs_on_cuda", cuda=True)
class StaysOnTheCPU(Sound):
    def to(self, device: str) -> Self:
        import torch

        return self if device == "cuda" and torch.cuda.is_available() else super().to(device)


# Trainers


class SoundTrainer(EchoTrainer):
    """Echo's, with an array in its state."""

    def __init__(self, model: Echo) -> None:
        super().__init__(model)
        self.average = np.zeros(1)

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        for step in super().run(data, fit):
            self.average = 0.9 * self.average + 0.1 * step.metrics["loss"]
            self.guard()
            yield Step(step.index, step.total, {**step.metrics, "average": float(self.average[0])})

    def guard(self) -> None:
        if not np.isfinite(self.average).all():
            raise TrainingDiverged("the average became NaN; train on something else")

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "average": self.average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if "average" not in state:
            raise MismatchedFolder("this is no state of a SoundTrainer")
        super().load_state_dict(state)
        self.average = state["average"]


caught_by()(SoundTrainer)
caught_by(**replaced("test_a_foreign_state_is_refused", "it takes any"))(SoundTrainer)
caught_by("test_no_check_is_overridden_without_a_reason", **replaced("test_a_foreign_state_is_refused"))(SoundTrainer)


@caught_by("test_every_option_is_described")
class UndescribedTraining(SoundTrainer):
    class Options(EchoTraining):
        fast: bool = False


@caught_by("test_every_number_has_bounds")
class UnboundedConfig(SoundTrainer):
    class Config(Options):
        layers: int | None = Field(None, description="layers")


@caught_by("test_an_unknown_option_is_refused")
class LenientTraining(SoundTrainer):
    class Options(EchoTraining):
        model_config = {"extra": "ignore"}  # noqa: RUF012 (pydantic's)


@caught_by("test_an_unknown_configuration_is_refused")
class LenientConfig(SoundTrainer):
    @classmethod
    def open(cls, source: Any = None, *, device: str = "auto", **config: Any) -> Self:
        return super().open(source, device=device)


@caught_by("test_bad_arguments_are_refused_at_the_call")
class RepairsSteps(SoundTrainer):
    def steps(self, data: Any, *, max_steps: int, **rest: Any) -> Iterator[Step]:
        return super().steps(data, max_steps=max(1, int(max_steps)), **rest)


@caught_by("test_bad_data_is_refused_at_the_call_and_nothing_written")
class ChecksLate(SoundTrainer):
    def check(self, data: Any, validation: Any, fit: Fit) -> None:
        """Nothing; `run` will find out."""


@caught_by("test_bad_data_is_refused_at_the_call_and_nothing_written")
class WritesFirst(SoundTrainer):
    def steps(self, data: Any, *, save_to: Any = None, **rest: Any) -> Iterator[Step]:
        if save_to is not None:
            Path(save_to).mkdir(parents=True, exist_ok=True)
        return super().steps(data, save_to=save_to, **rest)


@caught_by("test_one_step_per_update")
class HidesTheTotal(SoundTrainer):
    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        return (replace(step, total=None) for step in super().run(data, fit))


@caught_by("test_one_step_per_update")
class CountsInIntegers(SoundTrainer):
    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        return (replace(step, metrics={**step.metrics, "texts": 8}) for step in super().run(data, fit))


@caught_by("test_a_second_run_counts_from_one")
class GoesOnUnasked(SoundTrainer):
    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        self._resumed = self._done
        return super().run(data, fit)


@caught_by(
    "test_the_same_seed_gives_the_same_model",
    "test_state_goes_on_exactly",
    "test_a_run_that_was_left_resumes_exactly",
    "test_saving_and_validating_change_nothing",
    "test_a_finished_run_resumes_to_its_end",
)
class NeverTheSame(SoundTrainer):
    runs = itertools.count()

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        return super().run(data, replace(fit, seed=fit.seed + next(self.runs)))


@caught_by("test_the_callers_state_stays")
class DrawsWhileTraining(SoundTrainer):
    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        for step in super().run(data, fit):
            random.random()
            yield step


@caught_by(
    "test_state_goes_on_exactly",
    "test_a_run_that_was_left_resumes_exactly",
    "test_a_finished_run_resumes_to_its_end",
)
class ForgetsTheAverage(SoundTrainer):
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.average = state["average"] * 0


@caught_by(
    "test_a_run_that_was_left_resumes_exactly",
    "test_an_error_in_the_loop_leaves_a_sound_checkpoint",
    "test_a_finished_run_resumes_to_its_end",
)
class KeepsTuples(SoundTrainer):
    """Of which a checkpoint makes lists."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "done": (self._done, "steps")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        done = state.get("done")
        super().load_state_dict({**state, "done": done[0] if isinstance(done, tuple) else 0})


@caught_by("test_a_finished_run_resumes_to_its_end")
class ForgetsTheEnd(SoundTrainer):
    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        finished = self._resumed == fit.max_steps
        yield from super().run(data, fit)
        if finished:
            self._done = 0


@caught_by("test_a_killed_run_resumes_exactly")
class TrainsInMemory(SoundTrainer):
    kept: ClassVar[dict[str, Any]] = {}

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        token = f"{os.getpid()} {state}"
        self.kept[token] = state
        return {"token": token}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if "token" not in state:
            raise MismatchedFolder("this is no state of a TrainsInMemory")
        super().load_state_dict(self.kept.get(state["token"]) or SoundTrainer.state_dict(self))


@caught_by("test_another_run_is_not_resumed")
class ResumesAnything(SoundTrainer):
    def steps(self, data: Any, *, save_to: Any = None, resume: Any = False, **rest: Any) -> Iterator[Step]:
        return super().steps(data, save_to=save_to, resume="anyway" if save_to else resume, **rest)


@caught_by("test_a_saved_folder_holds_data_alone")
class TrainsPickles(SoundTrainer):
    def __init__(self, model: Echo) -> None:
        super().__init__(Pickles(model.followers))


@caught_by("test_an_error_in_the_loop_leaves_a_sound_checkpoint")
class SavesOnlyAtTheEnd(SoundTrainer):
    def steps(self, data: Any, *, save_to: Any = None, save_every: Any = None, **rest: Any) -> Iterator[Step]:
        return super().steps(data, save_to=save_to, save_every=None if save_to else save_every, **rest)


@caught_by("test_saving_and_validating_change_nothing")
class LearnsFromValidation(SoundTrainer):
    def validate(self, data: Any, fit: Fit) -> Mapping[str, float]:
        self.average = self.average + 1
        return super().validate(data, fit)


@caught_by(
    "test_saving_and_validating_change_nothing",
    "test_a_finished_run_resumes_to_its_end",
)
class KeepsTheAveragedWeights(SoundTrainer):
    @contextmanager
    def averaged(self) -> Iterator[None]:
        self.average = self.average / 2
        yield


@caught_by("test_nan_stops_the_run_and_is_not_saved")
class TrainsOnWithNaN(SoundTrainer):
    def guard(self) -> None:
        """Nothing."""


@caught_by("test_nan_stops_the_run_and_is_not_saved")
class NoticesNaNLate(SoundTrainer):
    steps_made = 0

    def guard(self) -> None:
        self.steps_made += 1
        if self.steps_made > 1:
            super().guard()


@caught_by("test_what_was_trained_is_a_model")
class ReturnsADict(SoundTrainer):
    def fit(self, data: Any, **arguments: Any) -> Any:
        return {"model": super().fit(data, **arguments)}


@caught_by("test_a_foreign_state_is_refused")
class TakesAnyState(SoundTrainer):
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict({**self.state_dict(), **state})


@caught_by("test_what_is_no_model_is_refused")
class StartsFromAnything(SoundTrainer):
    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        try:
            return super().open(source, **arguments)
        except FolderError:
            return cls(Echo())


# Evaluators


class SoundJudge(Overlap):
    """Echo's."""

    def run(self, exam: Exam) -> Report:
        report = super().run(exam)
        return Report({"overlap": self.score(report["overlap"], report.rows)}, self.rows(list(report.rows)))

    def score(self, score: Score, rows: Any) -> Score:
        return score

    def rows(self, rows: list[Any]) -> list[Any]:
        return rows


caught_by()(SoundJudge)
caught_by(**replaced("test_on_step_counts_up", "it has one step"))(SoundJudge)
caught_by("test_no_check_is_overridden_without_a_reason", **replaced("test_on_step_counts_up"))(SoundJudge)


@caught_by("test_every_option_is_described")
class UndescribedJudge(SoundJudge):
    class Options(Options):
        fast: bool = False


@caught_by("test_every_number_has_bounds")
class UnboundedJudge(SoundJudge):
    class Options(Options):
        weights: tuple[float, ...] = Field((), description="weights of words")


@caught_by("test_an_unknown_option_is_refused")
class LenientJudge(SoundJudge):
    class Options(Options):
        model_config = {"extra": "ignore"}  # noqa: RUF012 (pydantic's)


@caught_by("test_one_row_per_sample", "test_rows_follow_their_samples")
class OneRowMore(SoundJudge):
    def rows(self, rows: list[Any]) -> list[Any]:
        return [*rows, {"overlap": 0.123}]


@caught_by("test_a_report_is_plain_json")
class NumpyRows(SoundJudge):
    def rows(self, rows: list[Any]) -> list[Any]:
        return [{"overlap": np.float32(row["overlap"])} for row in rows]


@caught_by("test_scores_are_finite_and_state_their_protocol")
class SaysLittle(SoundJudge):
    def score(self, score: Score, rows: Any) -> Score:
        return replace(score, protocol="words")


@caught_by("test_scores_are_finite_and_state_their_protocol", "test_a_report_is_plain_json")
class Infinite(SoundJudge):
    def score(self, score: Score, rows: Any) -> Score:
        return replace(score, value=math.inf)


@caught_by("test_scores_are_finite_and_state_their_protocol")
class OutsideItsInterval(SoundJudge):
    def score(self, score: Score, rows: Any) -> Score:
        return replace(score, interval=(score.value + 1, score.value + 2))


@caught_by("test_rows_follow_their_samples")
class NumbersRows(SoundJudge):
    def rows(self, rows: list[Any]) -> list[Any]:
        return [{**row, "place": float(index)} for index, row in enumerate(rows)]


@caught_by("test_scores_do_not_depend_on_the_order")
class ScoresTheFirst(SoundJudge):
    def score(self, score: Score, rows: Any) -> Score:
        return replace(score, value=rows[0]["overlap"])


@caught_by("test_the_same_samples_get_the_same_report")
class Drifts(SoundJudge):
    calls = itertools.count()

    def score(self, score: Score, rows: Any) -> Score:
        return replace(score, value=score.value + 1e-9 * next(self.calls))


@caught_by("test_bad_samples_are_refused")
class TakesOneSample(SoundJudge):
    def evaluate(self, samples: Any, references: Any = None, **rest: Any) -> Report:
        return super().evaluate([samples] if isinstance(samples, str) else samples, references, **rest)


@caught_by("test_samples_of_another_kind_are_refused_or_judged")
class ExpectsText(SoundJudge):
    def run(self, exam: Exam) -> Report:
        assert all(len(sample.text) >= 0 for sample in exam.samples)
        return super().run(exam)


@caught_by("test_the_callers_state_stays")
class DrawsWhileJudging(SoundJudge):
    def rows(self, rows: list[Any]) -> list[Any]:
        random.random()
        return rows


@caught_by("test_on_step_counts_up")
class JudgesInSilence(SoundJudge):
    def run(self, exam: Exam) -> Report:
        return super().run(replace(exam, on_step=ignore))


@caught_by("test_a_saved_folder_holds_data_alone")
class PicklingJudge(SoundJudge):
    def save(self, folder: str | Path) -> None:
        with folders.writing(folder, backend="echo", role="evaluator") as path:
            (path / "notes.pkl").write_bytes(b"\x80\x04N.")


@caught_by("test_a_saved_judge_judges_the_same")
class ForgetsItsScale(SoundJudge):
    scale = 0.5

    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        judge = super().open(source, **arguments)
        judge.scale = 1.0
        return judge

    def score(self, score: Score, rows: Any) -> Score:
        return replace(score, value=score.value * self.scale)


@caught_by("test_what_is_no_model_is_refused")
class NeedsNoManifest(SoundJudge):
    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        with suppress(NotAModel):
            super().open(source, **arguments)
        return cls()


@caught_by("test_a_damaged_judge_is_refused")
class TrustsItsFolder(SoundJudge):
    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        if source is not None and not (Path(source) / folders.MANIFEST).is_file():
            raise NotAModel(f"{source} is no judge")
        return super().open(None, **arguments)


@caught_by("test_a_missing_device_is_refused")
class JudgesAnywhere(SoundJudge):
    def to(self, device: str) -> Self:
        return self


# The suites: what a plugin's author writes, for each of them


class GeneratorSuite:
    made: type[Any]
    cuda = False

    @pytest.fixture(autouse=True)
    def registered(self) -> Iterator[None]:
        if self.made.backend == NAME:
            target = f"{self.made.__module__}:{self.made.__qualname__}"
            aigc_sdk.register(NAME, Backend(summary="", artifact=self.made.artifact, generator=target))
        yield
        if self.made.backend == NAME:
            aigc_sdk.unregister(NAME)

    @pytest.fixture
    def model(self) -> Echo:
        return self.made(EchoTrainer.open().fit(TEXTS, max_steps=5).followers)

    @pytest.fixture
    def prompts(self) -> list[str]:
        return ["the sea was calm and", "the sky was"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"shuffle": True, "times": 2, "babble": 3}


class TrainerSuite:
    made: type[Any]

    @pytest.fixture
    def make(self) -> Callable[[], EchoTrainer]:
        return self.made.open

    @pytest.fixture
    def data(self) -> list[str]:
        return TEXTS


class EvaluatorSuite:
    made: type[Any]

    @pytest.fixture
    def judge(self) -> Overlap:
        return self.made()

    @pytest.fixture
    def samples(self) -> list[Artifact | str]:
        return ["the sea", "a grey sky"]

    @pytest.fixture
    def references(self) -> list[Any]:
        return ["the deep sea", "the sky"]


SUITES = {"generator": GeneratorSuite, "trainer": TrainerSuite, "evaluator": EvaluatorSuite}


def suites(role: str) -> dict[str, type[Any]]:
    """For the inner session: a class of tests per case."""
    return {
        f"Test{case.name}": type(
            f"Test{case.name}", (SUITES[role], CONTRACTS[role]), {"made": case.made, "case": case, **case.suite}
        )
        for case in CASES
        if case.role == role
    }


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """For the inner session: leave out the checks that start a process where they are not what is to be shown."""
    items[:] = [
        item
        for item in items
        if not item.cls.case.checks or item.name not in PROCESSES or item.name in item.cls.case.checks
    ]


Outcomes = dict[str, dict[str, tuple[str, str]]]
"""By suite and check: passed, failed or skipped, and the message."""


def session(folder: Path, role: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the kit on every plugin of one role."""
    folder.mkdir(exist_ok=True)
    files = {
        **HEAVY,
        "conftest.py": "from test_contract_kit import pytest_collection_modifyitems\n",
        f"test_{role}.py": f"from test_contract_kit import suites\nglobals().update(suites({role!r}))\n",
        "pytest.ini": "[pytest]\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "--junitxml=results.xml",
        *arguments,
    ]
    path = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, text=True, stdout=subprocess.PIPE
    )


def outcomes(folder: Path, running: subprocess.Popen[str]) -> Outcomes:
    """What pytest wrote down."""
    try:
        said, _ = running.communicate(timeout=240)
    finally:
        running.kill()
    assert running.returncode in (0, 1), said
    found: Outcomes = {}
    for case in ElementTree.parse(folder / "results.xml").iter("testcase"):
        result = next((each for each in case if each.tag in ("failure", "error", "skipped")), None)
        outcome = ("passed", "") if result is None else (result.tag, result.get("message", ""))
        found.setdefault(case.get("classname", "").rpartition(".")[2], {})[case.get("name", "")] = outcome
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """The three contracts, each in a process of its own."""
    folder = tmp_path_factory.mktemp("kit")
    running = {role: session(folder / role, role) for role in CONTRACTS}
    return {suite: found for role, each in running.items() for suite, found in outcomes(folder / role, each).items()}


def checks(role: str) -> set[str]:
    """The names of all checks of a contract."""
    return {name for name in dir(CONTRACTS[role]) if name.startswith("test_")}


WRONG = [case for case in CASES if case.checks]


@pytest.mark.parametrize("role", CONTRACTS)
def test_every_check_has_a_wrong_plugin_that_is_there_for_it(role: str) -> None:
    assert {case.checks[0] for case in WRONG if case.role == role} == checks(role)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_wrong_plugin_fails_what_it_breaks_and_nothing_else(case: Case, results: Outcomes) -> None:
    found = results[f"Test{case.name}"]
    if case.checks == ("test_it_runs_on_cuda",) and found[case.checks[0]][0] == "skipped":
        pytest.skip("no CUDA device")
    assert {name for name, (outcome, _) in found.items() if outcome in ("failure", "error")} == set(case.checks)
    assert found[case.checks[0]][1].startswith("AssertionError: "), "the message says in words what is wrong"


@pytest.mark.parametrize("case", [case for case in CASES if not case.checks], ids=lambda case: case.name)
def test_a_sound_plugin_passes_every_check(case: Case, results: Outcomes) -> None:
    left_out = {"test_it_runs_on_cuda", *case.suite}
    expected = {name: "skipped" if name in left_out else "passed" for name in checks(case.role)}
    assert {name: outcome for name, (outcome, _) in results[f"Test{case.name}"].items()} == expected


@pytest.mark.parametrize("role", CONTRACTS)
def test_every_check_can_be_selected_alone(role: str, tmp_path: Path) -> None:
    names = sorted(checks(role))
    assert not [(one, other) for one, other in itertools.permutations(names, 2) if one in other]
    [sound, *_] = suites(role)
    alone = session(tmp_path, role, f"test_{role}.py::{sound}", "-k", names[-1])
    assert outcomes(tmp_path, alone) == {sound: {names[-1]: ("passed", "")}}
