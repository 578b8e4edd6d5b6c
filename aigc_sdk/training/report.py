"""What a run shows of itself: `samples/step-000500.png` while it trains, and one page, `report.html`, when it ends."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from aigc_sdk import media, storage
from aigc_sdk.artifacts import EMBED_LIMIT, Artifact, Image, Text
from aigc_sdk.errors import BrokenBackend, shown
from aigc_sdk.folder import LOG, RUN

SAMPLES = "samples"
PAGE = "report.html"
SUFFIXES = {"image": "png", "text": "txt", "audio": "wav", "video": "mp4"}
CELL = 64  # pixels; smaller pictures are enlarged by whole times up to it, to be seen at all
PREVIEWS = 40  # on the page, spread evenly over the run
POINTS = 400  # of a curve; more would not be seen
_SAMPLE = re.compile(r"step-(\d{6,})(-\d+)?\.(png|txt|wav|mp4)")

Curve = Sequence[tuple[float, float]]


def write_samples(folder: Path, step: int, artifacts: Iterable[Artifact], owner: str) -> None:
    """Write what a trainer's `preview` made at a step: pictures as one grid, texts as one file, others one by one."""
    made = list(artifacts)
    for each in made:
        if not isinstance(each, Artifact) or each.kind not in SUFFIXES:
            raise BrokenBackend(f"{owner}.preview returned {shown(each)}; it returns a list of artifacts")
    if made:
        with storage.disk_errors(folder / SAMPLES):
            (folder / SAMPLES).mkdir(exist_ok=True)
    for kind, suffix in SUFFIXES.items():
        some = _gathered([each for each in made if each.kind == kind])
        for number, artifact in enumerate(some, 1):
            several = f"-{number}" if len(some) > 1 else ""
            artifact.save(folder / SAMPLES / f"step-{step:06d}{several}.{suffix}", origin=False)


def cut_samples(folder: Path, step: int) -> None:
    """Remove the samples that a run will make again when it goes on from `step`."""
    for path, at in _samples(folder):
        if at > step:
            path.unlink(missing_ok=True)


def write_report(folder: Path) -> None:
    """Write the page about the run in `folder`, whole or not at all. Raises DiskError."""
    page = render(folder.name, _record(folder), _logged(folder), list(_samples(folder)))
    storage.write_file(folder / PAGE, page.encode("utf-8", "replace"))


def render(
    title: str, record: Mapping[str, Any], log: Sequence[Mapping[str, Any]], samples: Sequence[tuple[Path, int]]
) -> str:
    """The page: its title, `run.json`, the lines of `log.jsonl`, and the samples with their steps."""
    done = max((int(line["step"]) for line in log), default=0)
    options = record.get("options") or {}
    facts = {name: record[name] for name in ("trainer", "seed", "torch", "processes") if name in record}
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>
<style>{_STYLE}</style>
<h1>{escape(title)}</h1>
<p>{done} of {escape(str(record.get("max_steps", "?")))} steps</p>
{_section("Last validation", _table(_last(log, "validation_")))}
{_section("Last step", _table(_last(log, "", without="validation_")))}
{_section("Curves", _plots(_curves(log)))}
{_section("Samples", _gallery(samples))}
{_section("Options", _table({name: shown(value) for name, value in options.items()}))}
{_section("Run", _table({name: str(value) for name, value in facts.items()}))}
</html>
"""


def plot(title: str, curves: Mapping[str, Curve]) -> str:
    """Curves of (step, value) in one picture, as SVG; on a logarithmic scale where values differ by far."""
    lines = {name: [(x, y) for x, y in curve if math.isfinite(y)] for name, curve in curves.items()}
    values = [y for line in lines.values() for _, y in line]
    if not values:
        return ""
    logarithmic = min(values) > 0 and max(values) > 50 * min(values)
    scale = math.log10 if logarithmic else float
    low, high = scale(min(values)), scale(max(values))
    first = min(line[0][0] for line in lines.values() if line)
    last = max(line[-1][0] for line in lines.values() if line)
    width, height = 320, 130
    across, down = width / ((last - first) or 1), height / ((high - low) or 1)
    drawn = "".join(
        _line([((x - first) * across, height - (scale(y) - low) * down) for x, y in line], colour)
        for line, colour in zip(lines.values(), _COLOURS, strict=False)
    )
    key = "  ".join(
        f'<tspan fill="{colour}">{escape(name)}</tspan>' for name, colour in zip(lines, _COLOURS, strict=False)
    )
    note = ", log scale" if logarithmic else ""
    return f"""<figure><svg viewBox="-52 -22 {width + 62} {height + 44}" role="img" aria-label="{escape(title)}">
<text x="0" y="-9">{key}{note}</text>
<path d="M0 0V{height}H{width}" fill="none" stroke="#99a"/>{drawn}
<text x="-5" y="9" text-anchor="end">{max(values):.3g}</text>
<text x="-5" y="{height}" text-anchor="end">{min(values):.3g}</text>
<text x="0" y="{height + 16}">{first:.0f}</text>
<text x="{width}" y="{height + 16}" text-anchor="end">step {last:.0f}</text></svg></figure>"""


_COLOURS = ("#36c", "#c60")
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#223;background:#fff}
section>div{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}svg,pre{background:#f6f5f1;border-radius:.5rem}
svg{width:19rem;font-size:13px}img,video{max-width:19rem;image-rendering:pixelated;display:block}
pre{padding:.7rem;margin:0;white-space:pre-wrap;max-width:28rem}figcaption,text{color:#667;fill:#667}figcaption{font-size:.8rem}
th,td{padding:.1rem 2rem .1rem 0;text-align:left;font-weight:400;vertical-align:top}th{color:#667}
"""


def _gathered(some: list[Artifact]) -> list[Artifact]:
    """The artifacts of one kind as the files that show them."""
    images = [each for each in some if isinstance(each, Image)]
    if images:
        side = max(max(each.pixels.shape[:2]) for each in images)
        return [media.grid(images, scale=max(1, CELL // max(1, side)))]
    texts = [each for each in some if isinstance(each, Text)]
    return [Text("\n\n* * *\n\n".join(each.text for each in texts))] if texts else some


def _samples(folder: Path) -> Iterator[tuple[Path, int]]:
    """The samples of a run and the steps that they are of, in order."""
    found = []
    for path in (folder / SAMPLES).glob("step-*"):
        match = _SAMPLE.fullmatch(path.name)
        if match:
            found.append((int(match[1]), int((match[2] or "0").lstrip("-")), match[3], path))
    yield from ((path, step) for step, _, _, path in sorted(found))


def _record(folder: Path) -> Mapping[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads((folder / RUN).read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _logged(folder: Path) -> list[Mapping[str, Any]]:
    """The lines of the log; a line that is none is left out, since the page must not fail."""
    found: list[Mapping[str, Any]] = []
    with suppress(OSError):
        for line in (folder / LOG).read_bytes().splitlines():
            with suppress(ValueError):
                each = json.loads(line)
                if isinstance(each, dict) and isinstance(each.get("step"), int):
                    found.append(each)
    return found


def _curves(log: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Every metric over the steps."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in log:
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                curves.setdefault(name, []).append((line["step"], value))
    return {name: _thinned(curve) for name, curve in curves.items()}


def _thinned(curve: Curve) -> Curve:
    """No more points than can be seen, each the mean of those it stands for."""
    size = math.ceil(len(curve) / POINTS)
    parts = (curve[start : start + size] for start in range(0, len(curve), size))
    return [(part[-1][0], math.fsum(y for _, y in part) / len(part)) for part in parts]


def _plots(curves: Mapping[str, Curve]) -> str:
    """A picture per metric, that of the validation beside it in the same one."""
    names = dict.fromkeys(name.removeprefix("validation_") for name in curves)
    return "".join(
        plot(name, {each: curves[each] for each in (name, f"validation_{name}") if each in curves}) for name in names
    )


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    if len(points) == 1:
        return f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" fill="{colour}"/>'
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _gallery(samples: Sequence[tuple[Path, int]]) -> str:
    """The samples in order; the last ones first claim the room that the page has, and the rest are links."""
    count = min(PREVIEWS, len(samples))
    spread = sorted({round(index * (len(samples) - 1) / max(1, count - 1)) for index in range(count)})
    room = EMBED_LIMIT
    figures = []
    for path, step in [samples[index] for index in reversed(spread)]:
        data = _bytes(path, room)
        room -= len(data or b"")
        figures.append(f"<figure>{_embedded(path, data)}<figcaption>step {step}</figcaption></figure>")
    left = len(samples) - len(spread)
    rest = f"<p>{left} more lie in <code>{SAMPLES}/</code>.</p>" if left else ""
    return "".join(reversed(figures)) + rest


def _bytes(path: Path, limit: int) -> bytes | None:
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= limit:
            return path.read_bytes()
    return None


def _embedded(path: Path, data: bytes | None) -> str:
    if data is None:
        place = escape(f"{SAMPLES}/{path.name}")
        return f'<a href="{place}">{place}</a>'
    if path.suffix == ".txt":
        return f"<pre>{escape(data.decode('utf-8', 'replace'))}</pre>"
    url = f"data:{media.mime_type(path.suffix[1:])};base64,{base64.b64encode(data).decode()}"
    tags = {".png": f'<img src="{url}" alt="">', ".wav": f'<audio controls src="{url}"></audio>'}
    return tags.get(path.suffix, f'<video controls loop muted src="{url}"></video>')


def _last(log: Sequence[Mapping[str, Any]], prefix: str, without: str | None = None) -> dict[str, str]:
    """The metrics of the last step that has any whose name begins with `prefix`."""
    for line in reversed(log):
        found = {
            name: f"{value:.6g}"
            for name, value in line.items()
            if name.startswith(prefix) and not (without and name.startswith(without))
            if name != "step" and isinstance(value, int | float)
        }
        if found:
            return {"step": str(line["step"]), **found}
    return {}


def _table(rows: Mapping[str, str]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f"<table>{cells}</table>" if cells else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2><div>{content}</div></section>" if content else ""
