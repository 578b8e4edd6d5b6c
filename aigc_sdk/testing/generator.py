"""The checks for generators."""

from __future__ import annotations

import gc
import itertools
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import aigc_sdk
from aigc_sdk import Artifact, Generator, Step, registry
from aigc_sdk.artifacts import KINDS
from aigc_sdk.errors import AigcError, OptionError, PromptError

from . import contract
from .contract import Contract

_OPEN = """
import json, sys
from importlib import import_module
module, name, folder, prompt, options = json.loads(sys.argv[1])
model = getattr(import_module(module), name).open(folder, device="cpu")
[made] = model.generate(prompt, seed=5, **options)
print(json.dumps([list(map(repr, made._content())), model.fingerprint()]))
"""
_SUFFIX = {"text": "txt", "image": "png", "video": "mp4", "audio": "wav"}


class GeneratorContract(Contract):
    """Give a `model` fixture: a small generator that runs on the CPU in a moment."""

    random = True
    """Whether another seed gives another artifact."""

    cuda = True
    """Whether it runs on CUDA where there is a device."""

    @pytest.fixture
    def model(self) -> Generator[Any]:
        """The generator under test; small, and opened anew for every check."""
        raise NotImplementedError("give a fixture `model` that returns a small Generator")

    @pytest.fixture
    def prompts(self, model: Generator[Any]) -> list[Any]:
        """At least two different prompts; [None] where there is no prompt."""
        return ["one two three", "four five"] if str in model.prompt_types else [None]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """Options that make a call quick."""
        return {}

    def test_its_manifest_imports_without_torch(self, model: Generator[Any]) -> None:
        contract.imports_without_torch(model.backend)

    def test_its_attributes_are_what_the_contract_says(self, model: Generator[Any]) -> None:
        assert isinstance(model, Generator), f"{type(model).__name__} is no subclass of aigc_sdk.Generator"
        assert model.backend, "set the class attribute `backend` to the registered name"
        for name, value in {"device": model.device, "dtype": model.dtype, "fingerprint()": model.fingerprint()}.items():
            assert isinstance(value, str), f"{name} is {value!r}; make it a string, which an origin can hold"

    def test_every_option_is_described(self, model: Generator[Any]) -> None:
        contract.describes_every_option(model.Options)

    def test_every_number_has_bounds(self, model: Generator[Any]) -> None:
        contract.bounds_every_number(model.Options)

    def test_recorded_options_can_be_given_back(self, model: Generator[Any]) -> None:
        contract.survives_json(model.Options)

    def test_an_unknown_option_is_refused(self, model: Generator[Any], prompts: list[Any]) -> None:
        contract.refuses_unknown_options(lambda **given: model.generate(prompts[0], **given), model.Options)
        contract.refuses_unknown_options(lambda **given: model.stream(prompts[0], **given), model.Options)

    def test_bad_calls_are_refused_at_the_call(self, model: Generator[Any], prompts: list[Any]) -> None:
        advice = "leave `generate` and `stream` to the base class, which checks what they are called with"
        for bad in ({"n": 0}, {"n": 1.5}, {"seed": -1}, {"seed": 2**63}, {"seed": True}):
            with contract.refuses(OptionError, f"stream({bad})", advice):
                model.stream(prompts[0], **bad)
        with contract.refuses(PromptError, "an empty list of prompts", advice):
            model.stream([])

    def test_hostile_prompts_are_refused_or_answered(self, model: Generator[Any], options: dict[str, Any]) -> None:
        if str not in model.prompt_types:
            with contract.refuses(PromptError, "a text for a prompt", "see `prompt_types`"):
                model.generate("text")
            return
        for bad in ("", "\ud800", b"bytes", 7):
            with contract.refuses(PromptError, f"the prompt {bad!r}", "see `prompt_types`"):
                model.stream(bad, **options)
        for odd in ("\0", "\u202eabc", "\x1b[31m", "é" * 40):
            try:
                model.generate(odd, seed=1, **options)
            except AigcError:
                pass
            except Exception as error:
                raise AssertionError(
                    f"the prompt {odd!a} gives {type(error).__name__}; answer it, or refuse it"
                ) from error
        huge, started = "x" * 10_000_000, time.perf_counter()
        with contract.refuses(PromptError, "a prompt of 10 MB"):
            model.stream(huge, **options)
        assert time.perf_counter() - started < 0.5, "refusing a prompt of 10 MB takes long; refuse it in `check`"

    def test_the_same_seed_gives_the_same_artifact(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        first = model.generate(prompts[0], seed=7, **options)
        again = model.generate(prompts[0], seed=7, **options)
        assert first == again, "the same seed gives another artifact; draw from generators made of job.seeds alone"

    def test_another_seed_gives_another_artifact(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        made = [model.generate(prompts[0], seed=seed, **options)[0] for seed in range(6)]
        if self.random:
            assert any(each != made[0] for each in made), "six seeds give the same artifact; does `run` use job.seeds?"
        else:
            assert all(each == made[0] for each in made), "seeds change the artifact; set random = True"

    def test_an_item_is_the_same_alone_and_in_a_batch(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        batch = model.generate(prompts, n=2, seed=3, **options)
        for index, made in enumerate(batch):
            [alone] = model.generate(prompts[index // 2], seed=3 + index, **options)
            self.check_alike(alone, made)

    def check_alike(self, first: Artifact, second: Artifact) -> None:
        """Equal content; override it where a batch rounds otherwise, and compare within a tolerance."""
        assert first == second, "an item depends on the batch it is in; draw from a generator per job.seeds[i]"

    def test_results_are_flat_and_prompt_major(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        try:
            made = model.generate(prompts, n=2, seed=0, **options)
        except AigcError as error:
            raise AssertionError(f"n=2 fails; yield every item of job.items, numbered by `sample`: {error}") from error
        samples = [each.sample for each in made]
        assert samples == list(range(2 * len(prompts))), f"n=2 for {len(prompts)} prompts gives the samples {samples}"
        assert [each.origin["prompt"] for each in made] == [each for each in prompts for _ in range(2)], (
            "results are not prompt-major: sample i answers prompts[i // n]"
        )

    def test_the_joined_stream_equals_generate(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        whole = model.generate(prompts, seed=11, **options)
        parts: list[list[Artifact]] = [[] for _ in whole]
        for chunk in model.stream(prompts, seed=11, **options):
            parts[chunk.sample].append(chunk)
        assert [_joined(each) for each in parts] == whole, "the chunks of stream, joined, are not what generate returns"

    def test_the_first_chunk_comes_before_the_last_is_made(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        steps: list[Step] = []
        stream = model.stream(prompts[0], seed=1, on_step=steps.append, **options)
        next(stream)
        at_first = len(steps)
        if next(stream, None) is None:
            pytest.skip("its artifacts come in one piece")
        for _ in stream:
            pass
        assert not steps or at_first < len(steps), (
            "everything is made before the first chunk is yielded; yield chunks as they are made"
        )

    def test_a_chunk_stays_as_it_was_handed_out(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        seen = [(chunk, chunk._content()) for chunk in model.stream(prompts, seed=1, **options)]
        assert all(chunk._content() == content for chunk, content in seen), (
            "a chunk changes when later ones are made; yield a copy of a buffer that is used again"
        )

    def test_a_call_leaves_the_callers_state(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        with contract.untouched():
            model.generate(prompts, seed=1, **options)

    def test_the_callers_state_stays_mid_stream(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        stream: Any = model.stream(prompts, seed=1, **options)
        with contract.untouched() as check, closing(stream):
            for _ in range(2):
                next(stream, None)
                check()

    def test_a_noisy_caller_changes_nothing(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        quiet = list(model.stream(prompts[0], seed=2, **options))
        noisy = []
        for chunk in model.stream(prompts[0], seed=2, **options):
            noisy.append(chunk)
            _draw()
        assert noisy == quiet, "drawing random numbers between chunks changes the artifact; see `owns_randomness`"

    def test_artifacts_have_the_documented_layout(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        """The artifacts' constructors check dtype, shape and range."""
        [made] = model.generate(prompts[0], seed=1, **options)
        assert type(made) in KINDS.values(), (
            f"{type(made).__name__} is none of Text, Image, Video and Audio; what is special about it goes into `info`"
        )
        declared = registry.backend(model.backend).artifact
        assert made.kind == declared, f"it makes {made.kind}, but its Backend says artifact={declared!r}"
        try:
            json.dumps(dict(made.info))
        except TypeError as error:
            raise AssertionError(f"`info` holds what JSON cannot: {error}") from error

    def test_the_origin_is_complete(self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]) -> None:
        [made] = model.generate(prompts[0], seed=9, **options)
        wanted = ("backend", "versions", "model", "device", "dtype", "options", "prompt", "seed")
        missing = [key for key in wanted if key not in made.origin]
        assert not missing, f"the origin has no {', '.join(missing)}; artifacts keep what the base class gives them"
        assert (made.origin["backend"], made.origin["seed"]) == (model.backend, 9), f"the origin is {dict(made.origin)}"
        json.dumps(dict(made.origin))

    def test_a_drawn_seed_is_recorded(self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]) -> None:
        [made] = model.generate(prompts[0], **options)
        again = model.generate(prompts[0], seed=made.origin["seed"], **options)
        assert [made] == again, "without a seed one is drawn, but the origin's is not it: leave seeds to the base class"

    def test_a_saved_file_replays_to_the_byte(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any], tmp_path: Path
    ) -> None:
        model.save(tmp_path / "model")
        opened = type(model).open(tmp_path / "model", device="cpu")
        made = opened.generate(prompts, n=2, seed=4, **options)[-1]
        replay = aigc_sdk.replay(made.save(tmp_path / f"made.{_SUFFIX[made.kind]}"))
        assert replay.same, f"the file cannot be made again from its origin: {replay}"

    def test_on_step_counts_up_to_the_total(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        steps: list[Step] = []
        model.generate(prompts, seed=1, on_step=steps.append, **options)
        assert steps, "run never calls job.on_step"
        counts = [each.index for each in steps]
        assert counts == sorted(counts), f"on_step does not count up: {counts[:20]}"
        assert steps[-1].total in (None, steps[-1].index), f"the last step is {steps[-1].index} of {steps[-1].total}"

    def test_an_error_in_on_step_cancels_and_the_model_still_works(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        expected = model.generate(prompts[0], seed=1, **options)

        def stop(step: Step) -> None:
            raise KeyError("enough")

        cancelled = False
        try:
            model.generate(prompts[0], seed=1, on_step=stop, **options)
        except KeyError:
            cancelled = True
        assert cancelled, "an error in on_step does not reach the caller; let it pass, it cancels the call"
        again = model.generate(prompts[0], seed=1, **options)
        assert again == expected, "after a cancelled call the model makes something else; keep no state across calls"

    def test_a_closed_stream_leaves_the_model_usable(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        expected = model.generate(prompts[0], seed=1, **options)
        stream = model.stream(prompts, seed=1, **options)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        again = model.generate(prompts[0], seed=1, **options)
        assert again == expected, "after a closed stream the model makes something else; clean up in `finally`"

    def test_two_streams_can_be_open_at_once(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        expected = [model.generate(prompts[0], seed=seed, **options)[0] for seed in (1, 2)]
        parts: list[list[Artifact]] = [[], []]
        for turn in itertools.zip_longest(*(model.stream(prompts[0], seed=seed, **options) for seed in (1, 2))):
            for part, chunk in zip(parts, turn, strict=True):
                part += [chunk] if chunk is not None else []
        assert [_joined(each) for each in parts] == expected, (
            "two open streams disturb each other; keep a call's state in `run`"
        )

    def test_two_threads_get_what_each_gets_alone(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        expected = [model.generate(prompts[0], seed=seed, **options) for seed in (1, 2)]
        together = threading.Barrier(2)

        def work(seed: int) -> list[Any]:
            together.wait(timeout=60)
            return model.generate(prompts[0], seed=seed, **options)

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(work, (1, 2)))
        assert found == expected, "two threads disturb each other; keep a call's state in `run`, not on the model"

    def test_repeated_calls_leak_nothing(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        def held_after(calls: int) -> dict[str, int]:
            for _ in range(calls):
                model.generate(prompts[0], seed=1, **options)
                stream = model.stream(prompts, seed=1, **options)
                next(stream)
                stream.close()  # type: ignore[attr-defined]
            gc.collect()
            return contract.held()

        before, after = held_after(2), held_after(3)  # what the first call opens may stay for the others
        more = [f"{after[name] - before[name]} {name}" for name in before if after[name] > before[name]]
        assert not more, f"three more calls leave {' and '.join(more)} open; close them in `finally`"

    def test_a_saved_folder_holds_data_alone(self, model: Generator[Any], tmp_path: Path) -> None:
        model.save(tmp_path / "model")
        contract.holds_a_model(tmp_path / "model", model.backend)

    def test_a_reopened_model_makes_the_same(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any], tmp_path: Path
    ) -> None:
        [made] = model.generate(prompts[0], seed=5, **options)
        model.save(tmp_path / "model")
        [again] = type(model).open(tmp_path / "model", device="cpu").generate(prompts[0], seed=5, **options)
        try:
            self.check_alike(again, made)
        except AssertionError as error:
            raise AssertionError("saved and opened again, it makes something else; does save() write all?") from error

    def test_a_saved_model_opens_in_another_process(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any], tmp_path: Path
    ) -> None:
        model.save(tmp_path / "model")
        where = [type(model).__module__, type(model).__qualname__, str(tmp_path / "model"), prompts[0], options]
        done = contract.run_python(["-c", _OPEN, json.dumps(where)])
        assert done.returncode == 0, f"it cannot be opened and used in another process: {done.stderr[-2000:]}"
        content, fingerprint = json.loads(done.stdout.splitlines()[-1])
        assert fingerprint == model.fingerprint(), "the weights in another process are not those that were saved"
        [here] = type(model).open(tmp_path / "model", device="cpu").generate(prompts[0], seed=5, **options)
        assert content == list(map(repr, here._content())), "another process makes something else of the same folder"

    def test_what_is_no_model_is_refused(self, model: Generator[Any], tmp_path: Path) -> None:
        contract.refuses_what_is_no_model(type(model), tmp_path / "empty")

    def test_a_damaged_model_is_refused(self, model: Generator[Any], tmp_path: Path) -> None:
        model.save(tmp_path / "model")
        contract.refuses_damage(type(model), tmp_path / "model")

    def test_a_missing_device_is_refused(self, model: Generator[Any], tmp_path: Path) -> None:
        contract.refuses_missing_devices(model, tmp_path / "model")

    def test_it_runs_on_cuda(self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]) -> None:
        if not self.cuda or not contract.has_cuda():
            pytest.skip("no CUDA device, or no use for it")
        moved = model.to("cuda")
        assert moved.device.startswith("cuda"), f"after to('cuda') the model's device is {moved.device!r}"
        first, again = (moved.generate(prompts, seed=1, **options) for _ in range(2))
        assert first == again, "on CUDA the same seed gives another artifact; are there deterministic kernels?"


def _joined(chunks: list[Artifact]) -> Artifact:
    return type(chunks[0]).join(chunks)


def _draw() -> None:
    random.random()
    for name in ("numpy", "torch"):
        module = sys.modules.get(name)
        if module is not None:
            module.random.rand(3) if name == "numpy" else module.rand(3)
