"""The checks for generators."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import aigc_sdk
from aigc_sdk import Artifact, Audio, Generator, Image, Step, Text, Video
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
        assert isinstance(model, Generator)
        assert model.backend, "set the class attribute `backend` to the registered name"
        assert isinstance(model.device, str)
        assert isinstance(model.dtype, str)
        assert isinstance(model.fingerprint(), str)

    def test_every_option_is_described(self, model: Generator[Any]) -> None:
        contract.describes_every_option(model.Options)

    def test_recorded_options_can_be_given_back(self, model: Generator[Any]) -> None:
        contract.survives_json(model.Options)

    def test_an_unknown_option_is_refused(self, model: Generator[Any], prompts: list[Any]) -> None:
        contract.refuses_unknown_options(lambda **given: model.generate(prompts[0], **given), model.Options)
        contract.refuses_unknown_options(lambda **given: model.stream(prompts[0], **given), model.Options)

    def test_bad_calls_are_refused_at_the_call(self, model: Generator[Any], prompts: list[Any]) -> None:
        for bad in ({"n": 0}, {"n": 1.5}, {"seed": -1}, {"seed": 2**63}, {"seed": True}):
            with pytest.raises(OptionError):
                model.stream(prompts[0], **bad)
        with pytest.raises(PromptError):
            model.stream([])

    def test_hostile_prompts_are_refused_or_answered(self, model: Generator[Any], options: dict[str, Any]) -> None:
        if str not in model.prompt_types:
            with pytest.raises(PromptError):
                model.generate("text")
            return
        for bad in ("", "\ud800", b"bytes", 7):
            with pytest.raises(PromptError):
                model.stream(bad, **options)
        for odd in ("\0", "‮abc", "\x1b[31m", "é" * 40):
            with contextlib.suppress(AigcError):
                model.generate(odd, seed=1, **options)
        huge, started = "x" * 10_000_000, time.perf_counter()
        with pytest.raises(PromptError):
            model.stream(huge, **options)
        assert time.perf_counter() - started < 0.5, "refusing a prompt of 10 MB takes long"

    def test_the_same_seed_gives_the_same_artifact(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        assert model.generate(prompts[0], seed=7, **options) == model.generate(prompts[0], seed=7, **options)

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

    def check_alike(self, alone: Artifact, batched: Artifact) -> None:
        """Equal content; override it where a batch rounds otherwise, and compare within a tolerance."""
        assert alone == batched, "an item depends on the batch it is in; draw from a generator per job.seeds[i]"

    def test_results_are_flat_and_prompt_major(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        made = model.generate(prompts, n=2, seed=0, **options)
        assert [each.sample for each in made] == list(range(2 * len(prompts)))
        assert [each.origin["prompt"] for each in made] == [p for p in prompts for _ in range(2)]

    def test_the_joined_stream_equals_generate(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        whole = model.generate(prompts, seed=11, **options)
        parts: list[list[Artifact]] = [[] for _ in whole]
        for chunk in model.stream(prompts, seed=11, **options):
            parts[chunk.sample].append(chunk)
        assert [type(each[0]).join(each) for each in parts] == whole

    def test_the_callers_state_stays(self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]) -> None:
        with contract.untouched():
            model.generate(prompts, seed=1, **options)

    def test_the_callers_state_stays_mid_stream(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        with contract.untouched():
            stream = model.stream(prompts, seed=1, **options)
            for _ in stream:
                with contract.untouched():
                    pass
                break
            before_close = contract._states()
            stream.close()  # type: ignore[attr-defined]
            assert contract._states() == before_close

    def test_a_noisy_caller_changes_nothing(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        quiet = list(model.stream(prompts[0], seed=2, **options))
        noisy = []
        for chunk in model.stream(prompts[0], seed=2, **options):
            noisy.append(chunk)
            _draw()
        assert noisy == quiet, "drawing random numbers between chunks changes the artifact"

    def test_artifacts_have_the_documented_layout(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        [made] = model.generate(prompts[0], seed=1, **options)
        assert isinstance(made, Text | Image | Video | Audio)  # whose constructors check dtype, shape and range

    def test_the_origin_is_complete(self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]) -> None:
        [made] = model.generate(prompts[0], seed=9, **options)
        for key in ("backend", "versions", "model", "device", "dtype", "options", "prompt", "seed"):
            assert key in made.origin, f"the origin has no {key!r}"
        assert made.origin["seed"] == 9
        assert made.origin["backend"] == model.backend
        json.dumps(dict(made.origin))

    def test_a_drawn_seed_is_recorded(self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]) -> None:
        [made] = model.generate(prompts[0], **options)
        assert [made] == model.generate(prompts[0], seed=made.origin["seed"], **options)

    def test_a_saved_file_replays_to_the_byte(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any], tmp_path: Path
    ) -> None:
        model.save(tmp_path / "model")
        opened = type(model).open(tmp_path / "model", device="cpu")
        made = opened.generate(prompts, n=2, seed=4, **options)[-1]
        file = made.save(tmp_path / f"made.{_SUFFIX[made.kind]}")
        replay = aigc_sdk.replay(file)
        assert replay.same, str(replay)

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

        with pytest.raises(KeyError, match="enough"):
            model.generate(prompts[0], seed=1, on_step=stop, **options)
        assert model.generate(prompts[0], seed=1, **options) == expected

    def test_a_closed_stream_leaves_the_model_usable(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        expected = model.generate(prompts[0], seed=1, **options)
        stream = model.stream(prompts, seed=1, **options)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert model.generate(prompts[0], seed=1, **options) == expected

    def test_two_threads_get_what_each_gets_alone(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]
    ) -> None:
        expected = [model.generate(prompts[0], seed=seed, **options) for seed in (1, 2)]
        found: list[Any] = [None, None]

        def work(index: int) -> None:
            found[index] = model.generate(prompts[0], seed=1 + index, **options)

        threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == expected

    def test_a_saved_model_opens_in_another_process(
        self, model: Generator[Any], prompts: list[Any], options: dict[str, Any], tmp_path: Path
    ) -> None:
        model.save(tmp_path / "model")
        contract.holds_a_model(tmp_path / "model", model.backend)
        where = [type(model).__module__, type(model).__qualname__, str(tmp_path / "model"), prompts[0], options]
        command = [sys.executable, "-c", _OPEN, json.dumps(where)]
        path = {"PYTHONPATH": ":".join(each for each in sys.path if each)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**_environment(), **path})
        assert done.returncode == 0, done.stderr[-2000:]
        content, fingerprint = json.loads(done.stdout.splitlines()[-1])
        assert fingerprint == model.fingerprint(), "the weights are not those that were saved"
        [here] = type(model).open(tmp_path / "model", device="cpu").generate(prompts[0], seed=5, **options)
        assert content == list(map(repr, here._content()))

    def test_what_is_no_model_is_refused(self, model: Generator[Any], tmp_path: Path) -> None:
        for source in (tmp_path, tmp_path / "missing"):
            with pytest.raises(AigcError):
                type(model).open(source, device="cpu")
        with pytest.raises(AigcError):
            type(model).open(None, device="no-such-device")

    @pytest.mark.gpu
    def test_it_runs_on_cuda(self, model: Generator[Any], prompts: list[Any], options: dict[str, Any]) -> None:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        moved = model.to("cuda")
        assert moved.device.startswith("cuda")
        assert moved.generate(prompts, seed=1, **options) == moved.generate(prompts, seed=1, **options)


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def _draw() -> None:
    import random

    random.random()
    for name in ("numpy", "torch"):
        module = sys.modules.get(name)
        if module is not None:
            module.random.rand(3) if name == "numpy" else module.rand(3)
