"""Reports as tables, pages and pictures: one, or several side by side under names of their own.

    write({"before": first, "after": second}, "both.html")

A bar is drawn from 0; each score has an axis of its own, which ends at the next power of ten that holds all of it, so
that 0.4 of a score up to 1 and 40 of one up to 100 look alike. The thin line is the 95 % interval.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from . import storage
from .errors import InputError, MediaError, printable
from .protocols import Report, Score

Reports = Mapping[str, Report]
"""Reports by name; the name of a single one may be empty."""

ROW, LEFT, AXIS, RIGHT, MARGIN = 22, 230, 360, 210, 14  # pixels
COLOURS = ("#3366cc", "#cc6600", "#2e8b57", "#8b4d9e", "#777777", "#b03a48")
HEADINGS = ("score", "value", "95 % interval", "n", "better", "protocol")


@dataclass(frozen=True)
class Bar:
    """One bar of the picture: where it runs, and what stands beside it; positions are parts of the axis, 0 to 1."""

    title: str
    label: str
    colour: str
    start: float
    stop: float
    whiskers: tuple[float, float] | None
    limits: tuple[float, float]
    """What the axis runs from and to."""


def write(reports: Reports, path: str | Path) -> Path:
    """Write reports to one file: .md, .json, .html, .svg or .png. Raises MediaError or DiskError."""
    target = Path(path)
    suffix = target.suffix[1:].lower()
    if suffix not in WRITERS:
        known = ", ".join(WRITERS)
        raise MediaError(f"{printable(str(target))}: a report is written as one of {known}; the suffix says which")
    storage.write_file(target, WRITERS[suffix](_checked(reports)))
    return target


def table(reports: Reports) -> str:
    """A Markdown table with a line per score."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *_rows(reports)]
    return "".join(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in row)} |\n" for row in rows)


def html_table(reports: Reports) -> str:
    """The table as HTML."""
    head = "".join(f"<th>{each}</th>" for each in HEADINGS)
    body = "".join("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in _rows(reports))
    return f"<table><tr>{head}</tr>{body}</table>"


def page(reports: Reports) -> str:
    """A page of its own: bars, the table, and the rows of the samples."""
    rows = "".join(_sample_table(name, report) for name, report in reports.items())
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title>
<style>{_STYLE}</style>
<h1>Report</h1>
{bars(reports)}
{html_table(reports)}
{rows}
</html>
"""


def bars(reports: Reports) -> str:
    """The scores with their intervals as SVG."""
    drawn = list(_bars(reports))
    height = 2 * MARGIN + ROW * len(drawn)
    parts = []
    for index, each in enumerate(drawn):
        top = MARGIN + ROW * index
        middle = top + ROW / 2
        left, right = sorted((LEFT + AXIS * each.start, LEFT + AXIS * each.stop))
        parts.append(f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(each.title)}</text>')
        parts.append(f'<path d="M{LEFT} {middle}h{AXIS}" stroke="#dddddd"/>')
        parts.append(
            f'<rect x="{left:.1f}" y="{top + 4}" width="{right - left:.1f}" height="{ROW - 8}" fill="{each.colour}"/>'
        )
        if each.whiskers:
            low, high = (LEFT + AXIS * end for end in each.whiskers)
            ends = f"M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"
            parts.append(f'<path d="M{low:.1f} {middle}H{high:.1f}{ends}" stroke="#222233" fill="none"/>')
        parts.append(f'<text x="{LEFT + AXIS + 8}" y="{middle + 4}">{escape(_beside(each))}</text>')
    width = LEFT + AXIS + RIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui,sans-serif" font-size="12" role="img" aria-label="scores">{"".join(parts)}</svg>'
    )


def picture(reports: Reports) -> bytes:
    """The scores with their intervals as PNG."""
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFont

    drawn = list(_bars(reports))
    image = PIL.Image.new("RGB", (LEFT + AXIS + RIGHT, 2 * MARGIN + ROW * len(drawn)), "white")
    pen, font = PIL.ImageDraw.Draw(image), PIL.ImageFont.load_default(12)
    for index, each in enumerate(drawn):
        top = MARGIN + ROW * index
        middle = top + ROW // 2
        left, right = sorted((LEFT + AXIS * each.start, LEFT + AXIS * each.stop))
        pen.text((LEFT - 8, middle), each.title, "#222233", font, anchor="rm")
        pen.line((LEFT, middle, LEFT + AXIS, middle), "#dddddd")
        pen.rectangle((left, top + 4, right, top + ROW - 4), each.colour)
        if each.whiskers:
            low, high = (LEFT + AXIS * end for end in each.whiskers)
            for line in ((low, middle, high, middle), *((end, middle - 4, end, middle + 4) for end in (low, high))):
                pen.line(line, "#222233")
        pen.text((LEFT + AXIS + 8, middle), _beside(each), "#222233", font, anchor="lm")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#223;background:#fff}
th,td{padding:.1rem 1.2rem .1rem 0;text-align:left;font-weight:400;vertical-align:top}th{color:#667}
details{margin-top:1rem}table{font-size:.9rem}
"""
ROWS_SHOWN = 200  # of the samples on a page; the JSON holds all


def _checked(reports: Reports) -> Reports:
    if not reports or not all(isinstance(each, Report) and each.scores for each in reports.values()):
        raise InputError("pass at least one Report that has a score", field="reports")
    return reports


def _rows(reports: Reports) -> Iterator[tuple[str, ...]]:
    """The cells of every score; those of one name stand together."""
    for title, score in _titled(reports):
        interval = f"{score.interval[0]:.4g} to {score.interval[1]:.4g}" if score.interval else ""
        better = "higher" if score.higher_is_better else "lower"
        yield title, f"{score.value:.4g}", interval, f"{score.n:,}", better, score.protocol


def _titled(reports: Reports) -> Iterator[tuple[str, Score]]:
    for name in dict.fromkeys(name for report in reports.values() for name in report.scores):
        for label, report in reports.items():
            if name in report.scores:
                yield f"{name} {label}".strip(), report.scores[name]


def _bars(reports: Reports) -> Iterator[Bar]:
    names = dict.fromkeys(name for report in reports.values() for name in report.scores)
    for name in names:
        scores = {label: report.scores[name] for label, report in reports.items() if name in report.scores}
        low, high = _limits(list(scores.values()))
        for label, score in scores.items():
            colour = COLOURS[list(reports).index(label) % len(COLOURS)]
            places = [(each - low) / (high - low) for each in (0.0, *_ends(score))]
            yield Bar(
                title=printable(f"{name} {label}".strip(), 36),
                label=f"{score.value:.4g}",
                colour=colour,
                start=places[0],
                stop=places[1] if math.isfinite(score.value) else places[0],
                whiskers=(places[2], places[3]) if score.interval and len(places) == 4 else None,
                limits=(low, high),
            )


def _ends(score: Score) -> list[float]:
    """The finite ends of what is drawn of a score: its value, and its interval."""
    value = score.value if math.isfinite(score.value) else 0.0
    whole = score.interval and all(map(math.isfinite, score.interval))
    return [value, *(score.interval or ())] if whole else [value]


def _limits(scores: list[Score]) -> tuple[float, float]:
    """Where the axis begins and ends: at 0, and at the next power of ten beyond everything drawn."""
    ends = [end for score in scores for end in _ends(score)]
    low, high = (_power(max(0.0, -min(ends))), _power(max(0.0, *ends)))
    return -low if low else 0.0, high if high or low else 1.0


def _power(size: float) -> float:
    return float(10.0 ** math.ceil(math.log10(size) - 1e-9)) if size > 0 else 0.0


def _beside(bar: Bar) -> str:
    low, high = bar.limits
    return f"{bar.label}   ({low:g} to {high:g})"


def _sample_table(name: str, report: Report) -> str:
    names = list(dict.fromkeys(key for row in report.rows for key in row))
    if not names:
        return ""
    head = "".join(f"<th>{escape(str(each))}</th>" for each in ["sample", *names])
    shown = "".join(
        f"<tr><td>{index}</td>{''.join(f'<td>{escape(_cell(row.get(each)))}</td>' for each in names)}</tr>"
        for index, row in enumerate(report.rows[:ROWS_SHOWN])
    )
    left = len(report.rows) - ROWS_SHOWN
    more = f"<p>{left:,} more are in the JSON.</p>" if left > 0 else ""
    title = escape(f"Samples {name}".strip())
    return f"<details><summary>{title}</summary><table><tr>{head}</tr>{shown}</table>{more}</details>"


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def _json(reports: Reports) -> bytes:
    alone = list(reports) == [""]
    content: Any = reports[""].to_dict() if alone else {name: each.to_dict() for name, each in reports.items()}
    try:
        return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise MediaError(f"the report holds what JSON cannot ({error}); write it as .md or .html") from error


WRITERS = {
    "md": lambda reports: table(reports).encode("utf-8", "replace"),
    "json": _json,
    "html": lambda reports: page(reports).encode("utf-8", "replace"),
    "svg": lambda reports: bars(reports).encode("utf-8", "replace"),
    "png": picture,
}
"""How each suffix is written."""
