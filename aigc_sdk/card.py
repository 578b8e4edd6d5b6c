"""The page that goes with a model: what it is, how to load it, how it was trained, how it was judged, its limits.

Everything on it comes from the model's folder, from the record of the run that the folder lies in, and from what its
author says. What nobody has recorded or said is named as missing rather than left out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import registry
from .errors import AigcError, DataError, InputError, printable
from .folder import FINAL, LOG, MANIFEST, RUN, read_json

if TYPE_CHECKING:
    from .protocols import Report

VALIDATION = "validation_"  # what the metrics of a run's validation begin with, in its log
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_DESCRIBED = ("trainer", "max_steps", "seed", "data", "prepared", "processes", "torch")


def write(
    folder: Path,
    repository: str,
    *,
    manifest: Mapping[str, Any] | None = None,
    license: str | None = None,
    limits: str | None = None,
    reports: Mapping[str, Report] | None = None,
) -> str:
    """The card of the model in `folder`, as Markdown with YAML metadata, for the hub's `org/name`.

    manifest: its aigc.json as it goes there; None: as it is in the folder
    license: an identifier that the hub knows, such as apache-2.0, cc-by-4.0 or other
    limits: what the model cannot do or should not be used for, in your words
    reports: evaluations by name; each score stands there with its protocol
    Raises InputError.
    """
    if license is not None and not _LICENSE.fullmatch(license):
        raise InputError(
            f"license={printable(license)!r} is no identifier; give one such as apache-2.0, mit, cc-by-4.0 or other",
            field="license",
        )
    manifest = read_json(folder / MANIFEST) if manifest is None else manifest
    record, logged = _record(folder)
    parts = [
        _metadata(manifest, license),
        f"# {repository.rsplit('/', 1)[-1]}\n",
        _introduction(manifest),
        _usage(manifest, repository),
        "## Training\n",
        _training(manifest, record),
        "## Results\n",
        _results(logged, reports or {}),
        "## Limits\n",
        _text(limits) if limits else "Its author has stated none. Judge it on your own data before you rely on it.\n",
        "## Licence\n",
        f"`{license}`\n" if license else "Its author has stated none. Without one, ask before you use or pass it on.\n",
        "## Files\n",
        _files(manifest),
    ]
    return "\n".join(parts)


def _metadata(manifest: Mapping[str, Any], license: str | None) -> str:
    """What the hub reads: JSON strings are YAML."""
    tags = ["aigc-sdk", _backend(manifest), *_kind(manifest)]
    lines = ["library_name: aigc-sdk", *([f"license: {license}"] if license else []), "tags:"]
    return "\n".join(["---", *lines, *(f"- {json.dumps(each)}" for each in tags), "---", ""])


def _backend(manifest: Mapping[str, Any]) -> str:
    return printable(str(manifest["backend"]), 64)


def _kind(manifest: Mapping[str, Any]) -> list[str]:
    """What the backend makes or judges, where it is installed."""
    try:
        return [registry.backend(str(manifest["backend"])).artifact]
    except AigcError:
        return []


def _introduction(manifest: Mapping[str, Any]) -> str:
    role = str(manifest.get("role"))
    what = {"evaluator": "A judge of", "generator": "A model for"}.get(
        role, f"A part ({printable(role, 40)}) of a model for"
    )
    kind = "".join(_KINDS[each] for each in _kind(manifest)) or "artifacts"
    return f"{what} {kind}, of the backend `{_backend(manifest)}` of aigc_sdk. It is data alone: no code, no pickle.\n"


_KINDS = {"text": "text", "image": "images", "video": "videos", "audio": "sound"}


def _usage(manifest: Mapping[str, Any], repository: str) -> str:
    backend = _backend(manifest)
    try:
        distribution = registry.find(str(manifest["backend"])).distribution
    except AigcError:
        distribution = "registered"
    install = f"```bash\npip install {distribution}\n```\n\n" if distribution != "registered" else ""
    call = {"evaluator": "evaluator", "generator": "load"}.get(str(manifest.get("role")))
    if call is None:
        return (
            f'{install}Wherever its folder is opened, `"{repository}"`, or `"{repository}@COMMIT"`, stands instead.\n'
            + _beside(manifest)
        )
    return (
        f"{install}```python\nimport aigc_sdk\n\n"
        f'model = aigc_sdk.{call}("{backend}", "{repository}")\n```\n\n'
        f'`revision="..."`, a commit of this repository, opens the same bytes for ever.\n'
    )


def _beside(manifest: Mapping[str, Any]) -> str:
    """That an adapter's model has to be opened first, where nobody says what it is called."""
    base = dict(manifest.get("training") or {}).get("base", "")
    source = base.get("source", "") if isinstance(base, Mapping) else base
    if source is not None:
        return ""
    which = f", whose weights have the fingerprint `{printable(str(base.get('fingerprint')), 80)}`" if base else ""
    return (
        f"\nIts author has not said what the model is called that it was trained beside{which}; open that one first.\n"
    )


def _training(manifest: Mapping[str, Any], record: Mapping[str, Any] | None) -> str:
    rows = [(str(key), value) for key, value in dict(manifest.get("training") or {}).items()]
    if record is not None:
        rows += [(_NAMES.get(key, key), record.get(key)) for key in _DESCRIBED if record.get(key) is not None]
        rows += [(f"option {key}", value) for key, value in dict(record.get("options") or {}).items()]
    if not rows:
        return "No record of its training came with it.\n"
    said = _table(("what", "value"), ((key, _value(value)) for key, value in rows))
    if record is not None and record.get("data") is None:
        said += "\nThe data have no fingerprint: they could be read only once.\n"
    return said


_NAMES = {
    "data": "sha256 of the training data",
    "prepared": "fingerprint of their preparation",
    "max_steps": "updates",
}


def _results(logged: tuple[int, Mapping[str, float]] | None, reports: Mapping[str, Report]) -> str:
    said = []
    if reports:
        from .reports import table

        said.append(table(reports))
    if logged:
        step, metrics = logged
        said.append(
            f"By its trainer, on the run's own validation data, after {step:,} updates:\n\n"
            + _table(("metric", "value"), ((name, f"{value:.6g}") for name, value in metrics.items()))
        )
    return "\n".join(said) or "None were given.\n"


def _files(manifest: Mapping[str, Any]) -> str:
    rows = (
        (f"`{printable(name)}`", f"{each['size']:,}", f"`{printable(str(each['sha256']), 64)}`")
        for name, each in sorted(manifest["files"].items())
    )
    versions = ", ".join(f"{name} {version}" for name, version in dict(manifest.get("versions") or {}).items())
    fingerprint = printable(str(manifest.get("fingerprint") or ""), 80)
    return (
        _table(("file", "bytes", "sha256"), rows)
        + (f"\nFingerprint of the weights: `{fingerprint}`.\n" if fingerprint else "")
        + (f"\nWritten by {_cell(versions)}.\n" if versions else "")
    )


def _record(folder: Path) -> tuple[Mapping[str, Any] | None, tuple[int, Mapping[str, float]] | None]:
    """The record of the run that a model lies in, and the last validation before it was written, with its step."""
    run = folder.resolve().parent
    if not (run / RUN).is_file():
        return None, None
    checkpoint = _CHECKPOINT.fullmatch(folder.resolve().name)
    if checkpoint is None and folder.resolve().name != FINAL:
        return read_json(run / RUN), None  # nothing says which step `best` was made at
    until = int(checkpoint[1]) if checkpoint else None
    found = None
    for line in _lines(run / LOG):
        if until is None or line["step"] <= until:
            metrics = {key.removeprefix(VALIDATION): value for key, value in line.items() if key.startswith(VALIDATION)}
            found = (int(line["step"]), metrics) if metrics else found
    return read_json(run / RUN), found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_bytes().splitlines() if path.is_file() else [], 1):
        try:
            found = json.loads(line)
            ok = isinstance(found, dict) and all(
                isinstance(each, int | float) for each in [found["step"], *found.values()]
            )
        except (ValueError, KeyError):
            ok = False
        if not ok:
            raise DataError(f"{printable(str(path))}:{number} is no line of a run's log; mend or remove the file")
        yield found


def read_report(path: str | Path) -> Report:
    """A report that `Report.save` wrote as JSON. Raises DataError."""
    from .protocols import Report, Score

    try:
        content = json.loads(Path(path).read_bytes())
        scores = {
            str(name): Score(**{**each, "interval": tuple(each["interval"]) if each.get("interval") else None})
            for name, each in content["scores"].items()
        }
        return Report(scores, [dict(each) for each in content["rows"]])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{printable(str(path))} holds no report ({printable(f'{type(error).__name__}: {error}')}); "
            "write one with report.save('report.json')",
            field="report",
        ) from error


def _value(value: Any) -> str:
    if isinstance(value, str):
        return "a path on its author's machine" if os.path.isabs(value) or value.startswith("~") else value
    return json.dumps(value, ensure_ascii=False, default=str)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *(tuple(map(_cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def _cell(text: str) -> str:
    """Text in a table: on one line, and neither a column nor HTML."""
    return printable(text, 400).replace("|", "\\|").replace("<", "&lt;")


def _text(text: str) -> str:
    return "\n".join(printable(line, 4000) for line in text.strip().splitlines()) + "\n"
