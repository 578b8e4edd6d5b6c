"""Comparing reports, and what a report can be written as."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest

from aigc_sdk import Report, Score, reports
from aigc_sdk.comparison import compare
from aigc_sdk.errors import InputError, MediaError
from aigc_sdk.statistics import Additive


def of_rows(values: list[float], *, protocol: str = "mean of something", higher: bool = True) -> Report:
    score = Score(sum(values) / len(values), len(values), protocol, higher, (0.1, 0.9))
    return Report({"good": score}, [{"good": each} for each in values])


def square_of_sum(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] ** 2


WORSE, BETTER = [0.1, 0.3, 0.2, 0.4, 0.3, 0.2, 0.1, 0.2], [0.3, 0.5, 0.6, 0.5, 0.5, 0.4, 0.2, 0.3]


def test_a_score_that_is_the_mean_of_its_rows_is_compared() -> None:
    found = compare(of_rows(WORSE), of_rows(BETTER))["good"]
    assert found.difference == pytest.approx(np.mean(BETTER) - np.mean(WORSE))
    assert found.p_value == pytest.approx(2 / 256, abs=0.004)  # all eight are better: 2 of 2**8 exchanges
    assert found.interval is not None
    assert 0 < found.interval[0] < found.difference < found.interval[1]
    assert found.better == "second"
    assert "paired bootstrap" in found.protocol
    assert "approximate randomisation" in found.protocol


def test_which_is_better_follows_the_score_s_direction() -> None:
    assert compare(of_rows(WORSE, higher=False), of_rows(BETTER, higher=False))["good"].better == "first"
    assert compare(of_rows(WORSE), of_rows(WORSE))["good"].better == ""


def test_a_score_of_sums_is_compared_by_what_the_report_holds_of_it() -> None:
    def report(values: list[float]) -> Report:
        part = Additive(np.array(values)[:, None], square_of_sum)
        return Report(
            {"square": Score(part.total, len(values), "square of the sum", True)}, [{}] * len(values), {"square": part}
        )

    found = compare(report(WORSE), report(BETTER))["square"]
    assert found.difference == pytest.approx(sum(BETTER) ** 2 - sum(WORSE) ** 2)
    assert found.p_value < 0.05
    assert pickle.loads(pickle.dumps(report(WORSE))).parts["square"].total == pytest.approx(sum(WORSE) ** 2)


def test_what_is_neither_is_left_out_with_its_reason() -> None:
    one = Report({"all": Score(0.9, 2, "of the whole set", True)}, [{"all": 0.1}, {"all": 0.2}])
    found = compare(one, one)
    assert found.left_out == {"all": "it is no function of sums over the samples"}
    assert "all not compared" in str(found)
    with pytest.raises(InputError, match="all could not be compared: it is no function of sums"):
        found["all"]


def test_a_comparison_is_plain_json_and_a_table() -> None:
    found = compare(of_rows(WORSE), of_rows(BETTER))
    assert json.loads(json.dumps(found.to_dict()))["differences"]["good"]["better"] == "second"
    assert "second is better" in str(found)
    assert "<td>good</td>" in found._repr_html_()


def test_other_protocols_are_refused_unless_asked_for() -> None:
    one, other = of_rows(WORSE, protocol="tokenizer a"), of_rows(BETTER, protocol="tokenizer b")
    with pytest.raises(InputError, match="'tokenizer a' and 'tokenizer b'; evaluate both with the same options"):
        compare(one, other)
    assert compare(one, other, other_protocol=True)["good"].protocol.startswith("tokenizer a; tokenizer b")


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (of_rows(WORSE), of_rows(WORSE[:3]), {}, "on 8 and 3 samples"),
        (of_rows(WORSE), {"good": 1}, {}, "second is a dict"),
        (of_rows(WORSE), of_rows(WORSE), {"times": 0}, "times=0"),
        (
            of_rows(WORSE),
            Report({"bad": Score(1, 8, "another", True)}, [{}] * 8),
            {},
            "no score in common: good and bad",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    first: Report, second: Report, options: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compare(first, second, **options)


def test_a_report_of_one_sample_is_not_compared() -> None:
    assert compare(of_rows([0.5]), of_rows([0.6])).left_out == {"good": "there is one sample"}


def test_a_report_is_written_in_every_format(tmp_path: Path) -> None:
    report = of_rows(WORSE, protocol="a|b <c>")
    for suffix in reports.WRITERS:
        assert report.save(tmp_path / f"report.{suffix}").stat().st_size > 100
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report.to_dict()))
    assert "| good | 0.225 | 0.1 to 0.9 | 8 | higher | a\\|b <c> |" in (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "a|b &lt;c&gt;" in page
    assert "<svg" in page
    ElementTree.parse(tmp_path / "report.svg")
    with PIL.Image.open(tmp_path / "report.png") as picture:
        pixels = np.asarray(picture)
    assert (pixels == (0x33, 0x66, 0xCC)).all(-1).any()


def test_several_reports_stand_side_by_side(tmp_path: Path) -> None:
    both = {"before": of_rows(WORSE), "after": of_rows(BETTER)}
    reports.write(both, tmp_path / "both.json")
    assert set(json.loads((tmp_path / "both.json").read_text())) == {"before", "after"}
    assert "| good before |" in reports.table(both)
    assert reports.bars(both).count("<rect") == 2


def test_a_bar_is_as_long_as_its_value_and_starts_at_nought() -> None:
    up, down = (Report({"x": Score(value, 2, "by hand", True)}, []) for value in (0.25, -4.0))
    assert 'width="90.0"' in reports.bars({"": up})  # a quarter of 360
    drawn = ElementTree.fromstring(reports.bars({"": down})).find(".//{*}rect")
    assert drawn is not None
    assert float(drawn.attrib["width"]) == pytest.approx(0.4 * 360, abs=0.1)  # of an axis from -10 to 0


def test_an_infinite_score_is_told_in_the_table_and_refused_by_json(tmp_path: Path) -> None:
    report = Report({"perplexity": Score(float("inf"), 1, "of a hopeless model", False)}, [{}])
    assert "| inf |" in reports.table({"": report})
    assert "inf" in reports.bars({"": report})
    with pytest.raises(MediaError, match=r"write it as \.md"):
        report.save(tmp_path / "report.json")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="md, json, html, svg, png"):
        of_rows(WORSE).save(tmp_path / "report.pdf")
    with pytest.raises(InputError, match="at least one Report"):
        reports.write({}, tmp_path / "none.md")
