"""The page that goes with a model to the hub: what is recorded stands on it, and what is not is named as missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import aigc_sdk
from aigc_sdk import card, folder
from aigc_sdk.errors import DataError, InputError


def test_the_card_tells_what_the_record_of_the_training_tells(sea: Path) -> None:
    record = json.loads((sea / "run.json").read_text())
    log = [json.loads(line) for line in (sea / "log.jsonl").read_text().splitlines()]
    text = aigc_sdk.push(sea, "me/sea", license="cc-by-4.0", limits="It knows two lines.", dry_run=True).card
    for said in (
        *("license: cc-by-4.0", "# sea", "It knows two lines.", 'aigc_sdk.load("echo", "me/sea")'),
        *(record["data"], "| seed | 11 |", "| updates | 4 |", "after 4 updates"),
        *(f"| {key.removeprefix('validation_')} | {log[-1][key]:.6g} |" for key in log[-1] if "validation_" in key),
        *(
            "pip install aigc-sdk-echo",
            json.loads((sea / "model/aigc.json").read_text())["files"]["followers.json"]["sha256"],
        ),
    ):
        assert said in text
    at_two = aigc_sdk.push(sea / "checkpoint-000002", "me/sea", dry_run=True)
    assert "after 2 updates" in at_two.card
    assert "state.json" not in at_two.files
    assert "Its author has stated none. Without one, ask" in at_two.card


def test_the_card_has_every_score_with_its_protocol_and_what_the_markdown_could_break_is_escaped(sea: Path) -> None:
    score = aigc_sdk.Score(0.25, 40, "words split at white space | lower case", True, (0.2, 0.3))
    report = aigc_sdk.Report({"overlap": score}, [])
    text = aigc_sdk.push(sea, "me/sea", reports=report, limits="a\x1b[31m\n# b", dry_run=True).card
    assert "| overlap | 0.25 | 0.2 to 0.3 | 40 | higher | words split at white space \\| lower case |" in text
    assert "\x1b" not in text


def test_a_report_is_read_from_its_json_and_anything_else_is_refused(tmp_path: Path) -> None:
    report = aigc_sdk.Report({"x": aigc_sdk.Score(1.5, 2, "p", False, (1.0, 2.0))}, [{"x": 1.0}, {"x": 2.0}])
    assert card.read_report(report.save(tmp_path / "report.json")) == report
    for content in ("", "[]", '{"scores": {"x": {"value": 1}}, "rows": []}', '{"scores": {"x": 3}, "rows": []}'):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(DataError, match="holds no report"):
            card.read_report(tmp_path / "bad.json")


def test_a_readme_in_the_folder_is_the_card(sea: Path, tmp_path: Path) -> None:
    model = shutil.copytree(sea / "model", tmp_path / "model")
    (model / "README.md").write_text("# written by hand\n")
    assert aigc_sdk.push(model, "me/sea", dry_run=True).card == "# written by hand\n"
    with pytest.raises(InputError, match=r"README\.md is there") as caught:
        aigc_sdk.push(model, "me/sea", limits="none", dry_run=True)
    assert caught.value.field == "limits"


def test_a_part_of_a_model_is_pushed_without_the_rest(tmp_path: Path) -> None:
    with folder.writing(tmp_path / "part", backend="echo", role="adapter", training={"kind": "x|y"}) as path:
        save_file({"weight": np.ones(3, np.float32)}, path / "adapter_model.safetensors")
    plan = aigc_sdk.push(tmp_path / "part", "me/part", dry_run=True)
    assert set(plan.files) == {"README.md", "aigc.json", "adapter_model.safetensors"}
    assert "A part (adapter) of a model for text" in plan.card
    assert '`"me/part@COMMIT"`' in plan.card
    assert "| kind | x\\|y |" in plan.card


def test_the_metadata_is_yaml_whatever_the_backend_is_called(sea: Path, tmp_path: Path) -> None:
    import yaml

    text = aigc_sdk.push(sea, "me/sea", license="mit", dry_run=True).card
    assert yaml.safe_load(text.split("---\n")[1]) == {
        "library_name": "aigc-sdk",
        "license": "mit",
        "tags": ["aigc-sdk", "echo", "text"],
    }
    with folder.writing(tmp_path / "odd", backend="odd: [name]\n# x", role="generator") as path:
        (path / "config.json").write_text("{}")
    odd = card.write(tmp_path / "odd", "me/odd")
    assert yaml.safe_load(odd.split("---\n")[1])["tags"] == ["aigc-sdk", "odd: [name]\\u000a# x"]
    assert "license" not in odd.split("---\n")[1]


def test_a_log_that_is_none_is_refused(sea: Path, tmp_path: Path) -> None:
    run = shutil.copytree(sea, tmp_path / "run")
    for line in ("[]", "not JSON", '{"loss": 1}', '{"step": "x"}'):
        (run / "log.jsonl").write_text(f'{{"step": 1, "loss": 2.5}}\n{line}\n')
        with pytest.raises(DataError, match=r"log\.jsonl:2 is no line of a run's log"):
            card.write(run / "model", "me/run")
