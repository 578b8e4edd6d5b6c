"""The fingerprint of what was prepared stands in the record of every run that trains on it."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aigc_sdk
from aigc_sdk import Image, Text
from aigc_sdk.errors import DataError, OptionError
from aigc_sdk_process import prepare

TEXTS = [prepare.Item(f"t{index}", Text(f"the ferry leaves at {index}"), {"topic": "sea"}) for index in range(6)]
PICTURES = [
    prepare.Item(f"p{index}", Image(np.full((8, 8, 3), 40 * index, np.uint8)), {"label": "ab"[index % 2]})
    for index in range(6)
]


def recorded(backend: str, data: Any, run: Path, *, options: dict[str, Any] | None = None, **config: Any) -> Any:
    """What the record of a short run says was prepared."""
    aigc_sdk.trainer(backend, **config).fit(data, max_steps=1, save_to=run, **(options or {}))
    return json.loads((run / "run.json").read_text())["prepared"]


def with_gpt2(data: Any, run: Path) -> Any:
    pytest.importorskip("aigc_sdk_gpt2")
    return recorded("gpt2", data, run, options={"batch_size": 2}, vocab_size=257, context=8, width=8, layers=1, heads=1)


def with_vae(data: Any, run: Path) -> Any:
    pytest.importorskip("aigc_sdk_vae")
    return recorded("vae", data, run, options={"batch_size": 2}, size=8, channels=3, width=8, classes=0)


def test_texts_in_memory_take_their_fingerprint_along(tmp_path: Path) -> None:
    card = prepare.card({"train": TEXTS}, name="Ferries")
    assert with_gpt2(prepare.Prepared(TEXTS), tmp_path / "run") == card.splits["train"]["fingerprint"]


def test_pictures_with_labels_take_their_fingerprint_along(tmp_path: Path) -> None:
    data = prepare.Prepared(PICTURES, lambda item: (item.artifact, item.facts["label"]))
    assert data[1][1] == "b"
    assert with_vae(data, tmp_path / "run") == prepare.fingerprint(PICTURES)


@pytest.mark.parametrize("name", ["clean.jsonl", "clean.txt"])
def test_a_file_that_was_written_takes_the_fingerprint_along(name: str, tmp_path: Path) -> None:
    prepare.write(TEXTS, tmp_path / name)
    assert with_gpt2(tmp_path / name, tmp_path / "run") == prepare.fingerprint(TEXTS)


def test_a_folder_that_was_written_takes_the_fingerprint_along_wherever_it_goes(tmp_path: Path) -> None:
    prepare.write(PICTURES, tmp_path / "pictures")
    shutil.move(tmp_path / "pictures", tmp_path / "moved")
    assert with_vae(str(tmp_path / "moved"), tmp_path / "run") == prepare.fingerprint(PICTURES)


def test_what_is_read_again_has_the_fingerprint_that_was_written(tmp_path: Path) -> None:
    prepare.write(TEXTS, tmp_path / "clean.jsonl")
    mark = json.loads((tmp_path / "clean.jsonl.prepared.json").read_text())
    found = prepare.read(tmp_path / "clean.jsonl", prepare.Journal(), id_column="id")
    assert prepare.fingerprint(found) == mark["fingerprint"] == prepare.fingerprint(TEXTS)


def test_a_list_that_was_changed_has_no_fingerprint_any_more() -> None:
    data = prepare.Prepared(TEXTS)
    data.append("one more")
    assert data.fingerprint is None
    data.pop()
    assert data.fingerprint == prepare.fingerprint(TEXTS)
    data[0] = "another"
    assert data.fingerprint is None


def more(path: Path) -> None:
    if path.is_dir():
        (path / "more.png").write_bytes((path / "00000000.png").read_bytes())
    else:
        path.write_bytes(path.read_bytes() + b'{"text": "one more"}\n')


def damaged(path: Path) -> None:
    mark = path / "prepared.json" if path.is_dir() else path.with_name(f"{path.name}.prepared.json")
    mark.write_bytes(mark.read_bytes()[:20])


@pytest.mark.parametrize(
    ("change", "reason"), [(more, "it was changed after it was prepared"), (damaged, "is not JSON")]
)
@pytest.mark.parametrize("name", ["clean.jsonl", "pictures"])
def test_what_was_changed_since_is_not_taken_for_what_was_prepared(
    name: str, change: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    prepare.write(TEXTS if "." in name else PICTURES, tmp_path / name)
    change(tmp_path / name)
    train = with_gpt2 if "." in name else with_vae
    with pytest.warns(RuntimeWarning, match=f"no fingerprint of .*{name}: .*{reason}"):
        assert train(tmp_path / name, tmp_path / "run") is None


def test_other_data_have_no_fingerprint_and_nobody_is_warned(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert (
            with_gpt2([item.artifact.text for item in TEXTS if isinstance(item.artifact, Text)], tmp_path / "a") is None
        )


def test_a_run_goes_on_whatever_the_items_are_called(tmp_path: Path) -> None:
    """The data decide whether it is the same run; names and facts are no part of what is trained on."""
    with_gpt2(prepare.Prepared(TEXTS), tmp_path / "run")
    renamed = [prepare.Item(f"x{item.id}", item.artifact) for item in TEXTS]
    trainer = aigc_sdk.trainer("gpt2", vocab_size=257, context=8, width=8, layers=1, heads=1)
    trainer.fit(prepare.Prepared(renamed), max_steps=1, save_to=tmp_path / "run", batch_size=2, resume=True)
    assert json.loads((tmp_path / "run/run.json").read_text())["prepared"] == prepare.fingerprint(renamed)


def test_bad_calls_are_refused() -> None:
    with pytest.raises(OptionError, match="form='text'"):
        prepare.Prepared(TEXTS, "text")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="give items"):
        prepare.Prepared(["a text"])  # type: ignore[list-item]
