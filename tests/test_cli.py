"""The command line: every flag comes from an Options model, every error is one line, and exit codes mean something."""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import pytest
import typer
from pydantic import Field

import aigc_sdk
from aigc_sdk import (
    Backend,
    Evaluator,
    Exam,
    Fit,
    Generator,
    Job,
    Options,
    Report,
    Score,
    Step,
    Text,
    Trainer,
    cli,
    flags,
    folder,
)
from aigc_sdk.errors import DeviceError

Run = Callable[..., tuple[int, str, str]]
AIGC = [sys.executable, "-m", "aigc_sdk.cli"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts in an empty folder, without debugging."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(cli.DEBUG, raising=False)


@pytest.fixture
def aigc(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return (cli.run(list(arguments)), *capsys.readouterr())

    return run


class Inner(Options):
    depth: int = Field(1, ge=1, description="how deep")


Part = Annotated[float, Field(ge=0, lt=1)]


class EveryKind(Options):
    """An option of every kind."""

    count: int = Field(3, ge=1, le=9, description="how many")
    ratio: float = Field(0.5, gt=0, lt=1, description="which part")
    loud: bool = Field(False, description="loudly")
    quick: bool = Field(True, description="quickly")
    mode: Literal["soft", "hard"] = Field("soft", description="how")
    level: Literal[1, 2] = Field(1, description="how high [a bracket]")
    stop: tuple[str, ...] = Field((), description="where to stop")
    words: list[str] = Field([], description="some words")
    sizes: tuple[int, ...] = Field((8, 16), description="some sizes")
    betas: tuple[Part, Part] = Field((0.9, 0.98), description="two decays")
    limit: float | None = Field(None, gt=0, description="at most")
    clip: float | None = Field(1.0, gt=0, description="longest")
    title: str | None = Field(None, description="a title")
    inner: Inner = Field(Inner(), description="a nested one")
    table: dict[str, float] = Field({}, description="a table")
    pairs: tuple[tuple[int, str], ...] = Field((), description="some pairs")
    start: int = Field(0, ge=0, lt=2**63, description="a large one")
    output: str = Field("", description="the command has a flag of this name")
    json_: str = Field("", description="nearly --json")


class Wrong(Options):
    """An evaluator's or trainer's options, named as the command's own flags are."""

    to: int = Field(0, ge=0, description="not --to")
    source: int = Field(0, ge=0, description="not --source")
    debug: int = Field(0, ge=0, description="not --debug")
    files: int = Field(0, ge=0, description="not FILE")


class NewModel(Options):
    seed: int = Field(0, ge=0, description="not the run's seed")
    debug: int = Field(0, ge=0, description="not --debug, nor the run's option")
    width: int = Field(4, ge=1, description="how wide")


class Recorder(Generator[Text]):
    """Writes down what reaches it."""

    Options = EveryKind
    backend, device, dtype, owns_randomness = "kinds", "cpu", "float32", True
    opened: ClassVar[int] = 0
    jobs: ClassVar[list[Job]] = []
    fault: ClassVar[BaseException | None] = None

    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        Recorder.opened += 1
        return cls()

    def run(self, job: Job) -> Iterator[Text]:
        self.jobs.append(job)
        if self.fault is not None:
            raise self.fault
        for index, prompt in enumerate(job.items):
            yield Text(str(prompt), sample=index, info={"path": Path("x")})

    def save(self, folder_: str | Path) -> None:
        with folder.writing(folder_, backend="kinds", role="generator"):
            pass

    def to(self, device: str) -> Self:
        return self


class RecordingTrainer(Trainer[Recorder]):
    Options, Config = Wrong, NewModel
    device = "cpu"
    seen: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def open(cls, source: Any = None, *, device: str = "auto", dtype: str = "", revision: Any = None, **c: Any) -> Self:
        made = cls()
        made.model = Recorder()
        made.seen.append({"config": NewModel(**c)})
        return made

    def run(self, data: Any, fit: Fit) -> Iterator[Step]:
        self.seen[-1] |= {"options": fit.options, "seed": fit.seed, "data": data}
        yield Step(1, 1, {"loss": 0.5})

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class RecordingJudge(Evaluator):
    Options = Wrong
    device = "cpu"
    seen: ClassVar[list[Exam]] = []

    @classmethod
    def open(cls, source: Any = None, **arguments: Any) -> Self:
        return cls()

    def run(self, exam: Exam) -> Report:
        self.seen.append(exam)
        return Report({"good": Score(1.0, 1, "by heart", True)}, [{"good": 1.0}])

    def save(self, folder: str | Path) -> None: ...

    def to(self, device: str) -> Self:
        return self


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Recorder]]:
    """A backend with options of every kind."""
    roles = {"generator": Recorder, "trainer": RecordingTrainer, "evaluator": RecordingJudge}
    targets = {role: f"{__name__}:{cls.__name__}" for role, cls in roles.items()}
    aigc_sdk.register("kinds", Backend(summary="of every kind", artifact="text", **targets))  # type: ignore[arg-type]
    monkeypatch.setattr(Recorder, "opened", 0)
    monkeypatch.setattr(Recorder, "fault", None)
    yield Recorder
    aigc_sdk.unregister("kinds")


@pytest.mark.parametrize(
    ("words", "field", "expected"),
    [
        ("--count 7", "count", 7),
        ("--ratio 0.25", "ratio", 0.25),
        ("--loud", "loud", True),
        ("--no-quick", "quick", False),
        ("--mode hard", "mode", "hard"),
        ("--level 2", "level", 2),
        ("--stop . --stop a,b", "stop", (".", "a,b")),
        ("--words a --words b", "words", ["a", "b"]),
        ("--sizes 1 --sizes 2 --sizes 3", "sizes", (1, 2, 3)),
        ("--betas 0.1 0.2", "betas", (0.1, 0.2)),
        ("--limit 2", "limit", 2.0),
        ("--clip 3", "clip", 3.0),
        ("--clip none", "clip", None),
        ("--title none", "title", "none"),
        ('--inner {"depth":4}', "inner", Inner(depth=4)),
        ('--table {"a":1.5}', "table", {"a": 1.5}),
        ('--pairs [[1,"a"]]', "pairs", ((1, "a"),)),
        (f"--start {2**63 - 1}", "start", 2**63 - 1),
        ("--option-output x", "output", "x"),
        ("--json- x", "json_", "x"),
    ],
)
def test_a_flag_of_every_kind_reaches_the_generator_and_leaves_the_others_at_their_defaults(
    aigc: Run, kinds: type[Recorder], words: str, field: str, expected: Any
) -> None:
    code, out, err = aigc("generate", "kinds", "hello", "--seed", "5", *words.split())
    assert (code, out, err) == (0, "hello\n", "")
    job = kinds.jobs[-1]
    assert job.options == EveryKind(**{field: expected})
    assert type(getattr(job.options, field)) is type(expected)
    assert job.seed == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--count 0", "option count=0: input should be greater than or equal to 1. (count: how many)"),
        ("--count x", "--count"),
        ("--ratio nan", "option ratio=nan"),
        ("--mode loud", "--mode"),
        ("--clip much", "--clip 'much'"),
        ("--betas 0.9 2", "option betas=2"),
        ("--inner {", "--inner '{': Invalid JSON"),
        ('--inner {"dept":1}', "--inner"),
        ("--table [1]", "--table '[1]'"),
        ("--cuont 3", "--count"),
        ("--seed -1", "seed=-1: a seed is an integer from 0"),
        ("-n 0", "--n"),
        ("-- -- \ud800", "holds a lone surrogate"),
        ("--dtype int4", "bfloat16"),
    ],
)
def test_a_wrong_value_is_named_and_nothing_is_opened(aigc: Run, kinds: type[Recorder], words: str, said: str) -> None:
    code, out, err = aigc("generate", "kinds", "hello", *words.split())
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert "Traceback" not in err
    assert kinds.opened == 0


def test_help_shows_description_bounds_and_default_of_every_option(aigc: Run, kinds: type[Recorder]) -> None:
    code, out, _ = aigc("generate", "kinds", "--help")
    words = " ".join(out.split())
    assert code == 0
    for expected in (
        "Options of kinds:",
        "how many (≥ 1, ≤ 9) [default: 3]",
        "which part (> 0, < 1) [default: 0.5]",
        "--loud / --no-loud loudly [default: no]",
        "quickly [default: yes]",
        "how high [a bracket] [default: 1]",
        "where to stop [default: none]",
        "some sizes [default: 8 16]",
        "two decays (≥ 0, < 1) [default: 0.9 0.98]",
        "--clip <float|none> longest (> 0) [default: 1.0]",
        '--inner <JSON> a nested one [default: {"depth":1}]',
        "a large one (≥ 0, < 2**63) [default: 0]",
        "--option-output",
    ):
        assert expected in words
    assert kinds.opened == 0


def test_options_named_like_a_commands_own_flags_reach_the_trainer_and_the_new_model(
    aigc: Run, kinds: type[Recorder]
) -> None:
    own = "--option-to 1 --option-source 2 --option-debug 3 --files 4 --model-seed 5 --model-debug 6 --width 7"
    code, out, err = aigc(
        "train", "kinds", "--data", "a.txt", "--data", "b.txt", "--to", "run", "--max-steps", "1", "--seed", "8",
        "--json", *own.split()
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert json.loads(out) == {"folder": "run", "step": 1, "metrics": {"loss": 0.5}}
    seen = RecordingTrainer.seen[-1]
    assert seen["options"] == Wrong(to=1, source=2, debug=3, files=4)
    assert seen["config"] == NewModel(seed=5, debug=6, width=7)
    assert seen["seed"] == 8
    assert seen["data"] == [Path("a.txt"), Path("b.txt")]


def test_an_option_named_like_a_flag_is_renamed_though_the_parameter_behind_it_has_another_name() -> None:
    class Shadow(Options):
        loud: int = Field(0, ge=0, description="not --loud")

    def say(options: dict[str, Any], shout: Annotated[bool, typer.Option("--loud", "-l")] = False) -> None: ...

    made = flags.command(say, options=flags.Group(Shadow, "Options", "option"))
    assert list(inspect.signature(made).parameters) == ["shout", "option_loud"]


def test_options_named_like_a_commands_own_flags_reach_the_evaluator(aigc: Run, kinds: type[Recorder]) -> None:
    Path("a.txt").write_text("words")
    code, out, err = aigc("evaluate", "kinds", "a.txt", "--to", "1", "--option-source", "2", "--option-files", "3")
    assert (code, out, err) == (0, "good 1 (n=1; by heart)\n", "")
    exam = RecordingJudge.seen[-1]
    assert exam.options == Wrong(to=1, source=2, files=3)
    assert exam.samples == (Text("words"),)


WRONG_INPUT = {
    "generate ehco hi": "Did you mean 'echo'?",
    "generate echo": "echo needs a prompt",
    "generate echo hi --tmes 2": "--times",
    "generate echo hi -o a.xyz": "use one of txt, md, json",
    "generate echo hi -o noformat": "use one of txt, md, json",
    "generate echo hi -o a.png": "for text use one of txt, md, json",
    "generate echo hi -o nowhere/a.txt": "there is no folder nowhere",
    "generate echo hi -o folder.txt": "is a folder",
    "generate --seed 3 echo hi": "the backend comes first: aigc generate BACKEND",
    "generate ./nowhere hi": "there is no folder",
    "generate ./folder.txt hi": "holds no model",
    "generate folder.txt hi": "write ./folder.txt",
    "generate ./folder.txt hi --source x": "no model",
    "generat echo hi": "Did you mean 'generate'?",
    "generate echo hi --times 0 --babble -1": "\necho option babble=-1",
    "train echo --to run": "--data",
    "train echo --data nowhere.txt --to run": "nowhere.txt",
    "train echo --data text.txt --to run --anyway": "--anyway goes with --resume",
    "train echo --data text.txt --to run --evaluate-every 2": "pass --validation",
    "train echo --data text.txt --to run --max-steps 0": "max_steps=0",
    "evaluate echo nowhere.txt": "nowhere.txt",
    "evaluate echo text.txt": "pass --references",
    "evaluate echo text.txt --references text.txt --references text.txt": "2 references for 1 samples",
    "replay nowhere.txt": "nowhere.txt",
    "replay": "FILE",
    "backends --jsn": "--json",
}  # fmt: skip
FAILS = {
    "generate echo hi --device cuda": "use 'cpu' or 'auto'",
    "replay text.txt": "carries no origin",
    "evaluate echo broken.png": "broken.png cannot be read",
    "train echo --data text.txt --to text.txt": "is a file",
}


@pytest.mark.parametrize(("line", "code", "said"), [(k, 2, v) for k, v in WRONG_INPUT.items()] + [(k, 1, v) for k, v in FAILS.items()])  # fmt: skip # noqa: E501
def test_an_error_is_told_without_a_traceback_and_leaves_nothing(aigc: Run, line: str, code: int, said: str) -> None:
    Path("text.txt").write_text("some words to learn from")
    Path("broken.png").write_bytes(b"no picture")
    Path("folder.txt").mkdir()
    before = sorted(Path().rglob("*"))
    got, out, err = aigc(*line.split())
    assert (got, out) == (code, "")
    assert err.startswith("error: ")
    assert said in err
    assert "Traceback" not in err
    assert "\\u000a" not in err
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_a_traceback_is_shown_when_asked_for_and_the_exit_code_is_the_same(
    aigc: Run, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "environment":
        monkeypatch.setenv("AIGC_SDK_DEBUG", "1")
    code, _, err = aigc("generate", "echo", "hi", "--times", "0", *(["--debug"] if how == "flag" else []))
    assert code == 2
    assert err.startswith("Traceback")
    assert "OptionError" in err


def test_debug_behind_two_dashes_is_a_prompt(aigc: Run) -> None:
    assert aigc("generate", "echo", "--", "--debug") == (0, "--debug\n", "")


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (ValueError("a bug"), 1, "error: ValueError: a bug\nthis is a fault of aigc_sdk or of a backend; --debug shows where"),
        (FileNotFoundError(2, "gone", "weights"), 1, "error: FileNotFoundError: [Errno 2] gone: 'weights'\nthis is a fault"),
        (OSError(28, "No space left on device"), 1, "error: standard output cannot be written: No space left on device"),
        (DeviceError("no such device \x1b[31m"), 1, "error: no such device \\u001b[31m"),
        (BrokenPipeError(), 0, ""),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_whatever_a_backend_raises_is_told_in_a_line(
    aigc: Run, kinds: type[Recorder], monkeypatch: pytest.MonkeyPatch, fault: BaseException, code: int, said: str
) -> None:
    monkeypatch.setattr(Recorder, "fault", fault)
    got, out, err = aigc("generate", "kinds", "hello")
    assert (got, out) == (code, "")
    assert err.startswith(said)
    assert "Traceback" not in err


def test_without_a_backend_every_command_says_what_to_install(aigc: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_SDK_BACKENDS", "none-of-them")
    hint = "pip install aigc-sdk-gpt2"
    for line, code in (("backends", 0), ("generate", 0), ("generate gpt2 hi", 2), ("train --help", 0)):
        got, out, err = aigc(*line.split())
        assert got == code
        assert hint in out + err
    assert aigc("backends", "--json")[1] == "[]\n"


def test_a_name_alone_asks_for_help_and_backends_are_listed_without_importing_them(aigc: Run) -> None:
    for line in ("", "generate", "train", "evaluate"):
        code, out, err = aigc(*line.split())
        assert (code, err) == (0, "")
        assert out.startswith(f"Usage: aigc {line}".rstrip())
    assert "echo" in aigc("generate")[1]
    assert aigc("--version")[:2] == (0, f"aigc_sdk {aigc_sdk.__version__}\n")


def test_backends_are_listed_as_json_and_checking_fails_on_a_fault(
    aigc: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "plug_faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[aigc_sdk]\nfaulty = plug_faulty:backend\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("AIGC_SDK_BACKENDS", "aigc-sdk-echo,plug-faulty")
    code, out, _ = aigc("backends", "--json")
    assert code == 0
    assert [(each["name"], each["problem"]) for each in json.loads(out)] == [("echo", None), ("faulty", None)]
    assert set(json.loads(out)[0]) == {"name", "distribution", "version", "summary", "value", "problem"}
    code, out, _ = aigc("backends", "--check")
    assert code == 1
    assert out.startswith("echo    aigc-sdk-echo ")
    assert "faulty  plug-faulty 1.0  PROBLEM: plug-faulty 1.0 (faulty) fails to import" in out


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_dash_reads_standard_input_without_its_last_line_end(aigc: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "zwei\nWörter\n".encode())
    code, out, _ = aigc("generate", "echo", "one", "-", "--json")
    assert code == 0
    assert [each["origin"]["prompt"] for each in json.loads(out)] == ["one", "zwei\nWörter"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe", "standard input is no UTF-8 text"),
        (b"", "prompt is empty"),
        (b"x" * 1_100_000, "standard input holds more than"),
    ],
    ids=["binary", "empty", "too long"],
)
def test_standard_input_that_is_no_prompt_is_refused(
    aigc: Run, monkeypatch: pytest.MonkeyPatch, data: bytes, said: str
) -> None:
    stdin(monkeypatch, data)
    code, _, err = aigc("generate", "echo", "-")
    assert code == 2
    assert said in err


def test_several_samples_go_to_numbered_files_that_each_replay(aigc: Run) -> None:
    code, out, _ = aigc("generate", "echo", "a b", "c d", "-n", "2", "--shuffle", "--seed", "3", "-o", "out.md")
    names = ["out-0.md", "out-1.md", "out-2.md", "out-3.md"]
    assert (code, out.split()) == (0, names)
    assert [set(str(aigc_sdk.read(each)).split()) for each in names] == [{"a", "b"}] * 2 + [{"c", "d"}] * 2
    for each in names:
        assert aigc("replay", each) == (0, "the same, to the byte\n", "")


def test_json_of_generate_says_what_was_made_where_and_how(aigc: Run, kinds: type[Recorder]) -> None:
    code, out, _ = aigc("generate", "kinds", "hé\x1b", "--seed", "3", "-o", "a.txt", "--json")
    [made] = json.loads(out)
    assert code == 0
    assert out.isascii()
    assert set(made) == {"kind", "sample", "text", "path", "info", "origin"}
    assert (made["text"], made["path"], made["info"]) == ("hé\x1b", "a.txt", {"path": "x"})
    assert made["origin"]["seed"] == 3


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_anything_is_made(aigc: Run, kinds: type[Recorder]) -> None:
    Path("locked").mkdir(mode=0o500)
    code, _, err = aigc("generate", "kinds", "hi", "-o", "locked/a.txt")
    assert code == 2
    assert "you may not write in locked" in err
    assert kinds.opened == 0


def test_a_changed_file_replays_as_different_with_a_code_of_its_own(aigc: Run) -> None:
    aigc("generate", "echo", "some words", "--seed", "1", "-o", "a.txt")
    whole = Path("a.txt").read_text()
    Path("a.txt").write_text(whole.replace("some words\n", "other words\n").replace('"pydantic":"', '"pydantic":"0.'))
    code, out, _ = aigc("replay", "a.txt")
    assert code == 3
    assert out.startswith("not the same\n- versions.pydantic was '0.")
    code, out, _ = aigc("replay", "a.txt", "--json")
    assert code == 3
    assert json.loads(out)["same"] is False
    assert len(json.loads(out)["differences"]) == 1


TEXT = "in the beginning God created the heaven and the earth\nand the earth was without form and void\n"


def test_train_resume_generate_evaluate_and_replay_work_from_one_folder(aigc: Run) -> None:
    Path("text.txt").write_text(TEXT)
    train = (
        "train echo --data text.txt --to runs/mine --max-steps 6 --save-every 2 --batch-size 2 --validation text.txt"
    )
    code, out, err = aigc(*train.split())
    assert (code, err) == (0, "")
    assert out.startswith("runs/mine: step 6, loss ")
    assert "validation_loss" in out
    whole = Path("runs/mine/model/followers.json").read_bytes()
    log = Path("runs/mine/log.jsonl").read_bytes()

    code, _, err = aigc(*train.split())
    assert code == 1
    assert "pass --resume to go on with it" in err
    shutil.rmtree("runs/mine/model")  # as if it had been killed after step 4
    shutil.rmtree("runs/mine/checkpoint-000006")
    code, out, _ = aigc(*train.split(), "--resume")
    assert code == 0
    assert Path("runs/mine/model/followers.json").read_bytes() == whole
    assert Path("runs/mine/log.jsonl").read_bytes() == log
    assert aigc(*train.split(), "--resume")[1] == "runs/mine: finished already\n"

    code, _, err = aigc(*train.split(), "--seed", "1", "--resume")
    assert code == 1
    assert "pass --resume --anyway to go on nevertheless" in err

    assert aigc("generate", "runs/mine", "the", "--babble", "6", "--seed", "4", "-o", "a.txt")[0] == 0
    assert str(aigc_sdk.read("a.txt")).startswith("the ")
    assert len(str(aigc_sdk.read("a.txt")).split()) > 1
    assert aigc("replay", "a.txt") == (0, "the same, to the byte\n", "")

    code, out, _ = aigc("evaluate", "echo", "a.txt", "--references", "a.txt", "--json")
    assert code == 0
    assert json.loads(out)["scores"]["overlap"]["value"] == 1.0
    assert json.loads(out)["rows"] == [{"overlap": 1.0}]


def test_folders_are_judged_file_by_file_and_the_report_is_written(aigc: Run) -> None:
    for name, text in {
        "made/b.txt": "one two",
        "made/a.txt": "three",
        "real/1.txt": "three",
        "real/2.txt": "one",
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    Path("made/notes.bin").write_bytes(b"left alone")
    line = "evaluate echo made --references real --json -o report.json"
    code, out, _ = aigc(*line.split())
    assert code == 0
    assert [row["overlap"] for row in json.loads(out)["rows"]] == [1.0, 1.0]
    assert json.loads(Path("report.json").read_text()) == json.loads(out)
    Path("empty").mkdir()
    assert "empty holds no text" in aigc("evaluate", "echo", "empty")[2]


def test_several_files_are_learnt_from_together(aigc: Run) -> None:
    first, second = TEXT.splitlines()
    Path("a.txt").write_text(first)
    Path("b.txt").write_text(second)
    line = "train echo --data a.txt --data b.txt --to run --max-steps 4"
    assert aigc(*line.split())[0] == 0
    learnt = json.loads(Path("run/model/followers.json").read_text())
    assert "beginning" in learnt["the"]
    assert "without" in learnt["was"]


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="mlflow is installed")
def test_a_tracker_that_is_missing_leaves_no_run_behind(aigc: Run) -> None:
    Path("text.txt").write_text(TEXT)
    code, _, err = aigc("train", "echo", "--data", "text.txt", "--to", "run", "--tracker", "mlflow")
    assert code == 1
    assert "pip install aigc-sdk[mlflow]" in err
    assert not Path("run").exists()


# What only a process of its own can show.

WITHOUT = """
import sys
from aigc_sdk.cli import run
code = run(sys.argv[1:])
heavy = sorted({"torch", "numpy", "PIL", "av", "transformers", "rich", "huggingface_hub"} & set(sys.modules))
print(code, heavy, [name for name in sys.modules if name.startswith("aigc_sdk_")])
"""


@pytest.mark.parametrize("line", ["--help", "backends", "backends --json", "generate --help", "--version"])
def test_help_and_the_list_of_backends_import_nothing_heavy_and_no_plugin(line: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, *line.split()], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 [] []"


def test_the_installed_command_is_this_one() -> None:
    command = Path(sys.executable).with_name("aigc")
    if not command.exists():
        pytest.skip("the package is not installed with its scripts")
    done = subprocess.run([command, "generate", "ehco", "hi"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: No backend 'ehco'")


@pytest.mark.skipif(os.name == "nt", reason="no pipes that break")
def test_a_reader_that_has_enough_is_no_error() -> None:
    line = [*AIGC, "generate", "echo", "hi", "--times", "1000", "-n", "50"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(5) == b"hi hi"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("n", ["1", "50"])
def test_output_that_cannot_be_written_is_an_error_in_one_line(n: str) -> None:
    line = [*AIGC, "generate", "echo", "hi", "--times", "100", "-n", n]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a single process")
def test_ctrl_c_ends_training_with_a_checkpoint_and_says_how_to_go_on() -> None:
    Path("text.txt").write_text(TEXT)
    line = [*AIGC, "train", "echo", "--data", "text.txt", "--to", "run", "--max-steps", "1000000"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while (
            not (Path("run/log.jsonl").exists() and Path("run/log.jsonl").stat().st_size) and time.monotonic() < until
        ):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "interrupted; the same command with --resume goes on" in err
    assert "Traceback" not in err
    assert [each.name for each in Path("run").glob("checkpoint-*")]


HOSTILE = "\x1b]0;title\x07\x1b[31mred\u202e"


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
@pytest.mark.parametrize(
    "line", [["generate", "echo", HOSTILE], ["generate", "echo", HOSTILE, "-n", "2"], ["replay", "hostile.txt"]]
)
def test_nothing_that_controls_a_terminal_is_printed_to_one(line: list[str]) -> None:
    [made] = aigc_sdk.load("echo").generate("hi", seed=1)
    versions = {**made.origin["versions"], HOSTILE: HOSTILE}
    Text("hi", origin={**made.origin, "versions": versions}).save("hostile.txt")
    shown = in_a_terminal([*AIGC, *line])
    assert b"\\u001b[31mred\\u202e" in shown
    assert b"\x1b" not in shown
    assert b"\x07" not in shown
    assert "\u202e".encode() not in shown


def in_a_terminal(command: list[str]) -> bytes:
    """What a command prints to a terminal."""
    import pty

    ours, theirs = pty.openpty()
    try:
        subprocess.run(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, timeout=60, check=False)
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # on Linux, how the other end's closing is told
                return shown
            if not part:
                return shown
            shown += part
    finally:
        os.close(ours)


def test_to_a_pipe_text_goes_as_it_is() -> None:
    done = subprocess.run([*AIGC, "generate", "echo", HOSTILE], capture_output=True, check=True)
    assert done.stdout == HOSTILE.encode() + b"\n"


def test_a_character_that_the_terminal_cannot_show_is_escaped() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*AIGC, "generate", "echo", "é"], capture_output=True, check=True, env=environment)
    assert done.stdout == b"\\xe9\n"
