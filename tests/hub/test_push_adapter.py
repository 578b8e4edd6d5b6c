"""Pushing an adapter: what it says of its model is a name for others, and no path of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aigc_sdk
from aigc_sdk import cli, folder
from aigc_sdk.adapters import LoRA
from aigc_sdk.errors import InputError

Ask = Callable[..., dict[str, Any]]
SIZES: dict[str, Any] = {"vocab_size": 280, "context": 32, "width": 16, "layers": 1, "heads": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model, and a run that trained an adapter beside it."""
    place = tmp_path_factory.mktemp("somebody")
    text = ["in the beginning was the word"] * 8
    aigc_sdk.trainer("gpt2", **SIZES).fit(text, max_steps=1, batch_size=2, save_to=place / "whole")
    trainer = aigc_sdk.trainer("gpt2", place / "whole", adapter=LoRA(rank=2), device="cpu")
    trainer.fit(text, max_steps=1, batch_size=2, save_to=place / "beside")
    return place


def pushed(hub: Any, ask: Ask, run: Path, repository: str, arguments: str = "") -> dict[str, bytes]:
    """The files that are on the hub after a push."""
    said = ask(f"result = str(aigc_sdk.push({str(run)!r}, {repository!r}{arguments}))")
    assert "error" not in said, said
    there = hub.repositories[repository]
    return {**there.commits[there.branches["main"]], "said": said["result"].encode()}


def test_a_path_of_this_machine_does_not_go_up_and_that_is_said(hub: Any, ask: Ask, place: Path) -> None:
    plan = aigc_sdk.push(place / "beside", "me/beside", dry_run=True)
    files = pushed(hub, ask, place / "beside", "me/beside")
    assert plan.notes == (f"it does not say where its model lies, {place / 'whole' / 'model'}",)
    assert str(place) in files.pop("said").decode()
    assert not [name for name, content in files.items() if str(place).encode() in content]
    assert len(files["aigc.json"]) == plan.files["aigc.json"]
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] is None
    card, print_ = files["README.md"].decode(), json.loads(files["aigc.json"])["training"]["base"]["fingerprint"]
    assert f"the fingerprint `{print_}`; open that one first" in card


def test_an_adapter_that_came_without_it_is_used_beside_the_open_model(hub: Any, ask: Ask, place: Path) -> None:
    pushed(hub, ask, place / "beside", "me/alone")
    said = ask("aigc_sdk.load('gpt2', 'me/alone', device='cpu')")
    assert said["error"] == "NotAModel"
    assert "does not say which model it is an adapter of, whose weights have the fingerprint" in said["message"]
    whole = str(place / "whole")
    made = ask(f"""
model = aigc_sdk.load('gpt2', {whole!r}, device='cpu')
model.use_adapter(model.add_adapter('me/alone'))
result = model.generate('in', seed=1, max_new_tokens=8)[0].text
""")
    here = aigc_sdk.load("gpt2", place / "beside", device="cpu").generate("in", seed=1, max_new_tokens=8)[0].text
    assert made["result"] == here
    other = ask("model = aigc_sdk.load('gpt2', device='cpu'); model.add_adapter('me/alone')")
    assert other["error"] == "MismatchedFolder"


def test_the_name_of_its_model_on_the_hub_goes_with_an_adapter(hub: Any, ask: Ask, place: Path) -> None:
    pushed(hub, ask, place / "whole", "me/whole")
    files = pushed(hub, ask, place / "beside", "me/named", ", base='me/whole'")
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "me/whole"
    assert not [name for name, content in files.items() if str(place).encode() in content]
    made = ask(
        "result = aigc_sdk.load('gpt2', 'me/named', device='cpu').generate('in', seed=1, max_new_tokens=8)[0].text"
    )
    here = aigc_sdk.load("gpt2", place / "beside", device="cpu").generate("in", seed=1, max_new_tokens=8)[0].text
    assert made["result"] == here


def test_a_name_on_the_hub_and_the_default_model_stay_as_they_are(hub: Any, tmp_path: Path) -> None:
    for name, base in (("named", "org/name@" + "a" * 40), ("default", "")):
        training = {"adapter": "x", "base": {"source": base, "fingerprint": "f"}}
        with folder.writing(tmp_path / name, backend="echo", role="adapter", training=training) as path:
            (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base or None}))
        plan = aigc_sdk.push(tmp_path / name, "me/kept", dry_run=True)
        assert plan.notes == ()
        assert plan.files["aigc.json"] == (tmp_path / name / "aigc.json").stat().st_size
    assert hub.seen == []


def test_a_lora_that_names_its_pipeline_alone_goes_without_the_path_too(hub: Any, tmp_path: Path) -> None:
    with folder.writing(tmp_path / "lora", backend="echo", role="part", training={"base": str(tmp_path)}) as path:
        (path / "config.json").write_text("{}")
    plan = aigc_sdk.push(tmp_path / "lora", "me/lora", dry_run=True)
    assert str(tmp_path) not in plan.card
    assert plan.notes == (f"it does not say where its model lies, {tmp_path}",)


@pytest.mark.parametrize("base", ["/home/me/model", "model", "a/b/c", 3])
def test_a_base_that_is_no_name_on_the_hub_is_refused(place: Path, base: Any) -> None:
    with pytest.raises(InputError) as caught:
        aigc_sdk.push(place / "beside", "me/beside", base=base, dry_run=True)
    assert caught.value.field == "base"


def test_a_base_for_what_is_no_adapter_is_refused(place: Path) -> None:
    with pytest.raises(InputError, match="no adapter") as caught:
        aigc_sdk.push(place / "whole", "me/whole", base="org/name", dry_run=True)
    assert caught.value.field == "base"


def test_the_command_says_what_it_leaves_out_and_takes_the_name_of_the_model(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push = ["push", str(place / "beside"), "me/beside", "--dry-run"]
    assert cli.run(push) == 0
    assert f"note: it does not say where its model lies, {place}" in capsys.readouterr().out
    assert cli.run([*push, "--base", "me/whole"]) == 0
    assert "note" not in capsys.readouterr().out
    assert cli.run([*push, "--base", str(place)]) == 2
    assert "give its name there, 'org/name'" in capsys.readouterr().err
