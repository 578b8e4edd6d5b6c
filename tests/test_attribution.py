"""Integrated gradients, occlusion, and the coloured text of what they find."""

from __future__ import annotations

import re
import sys
from html import unescape

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_sdk.attribution import Attribution, Piece, attribute, evaluating, integrated_gradients, occlusion
from aigc_sdk.errors import InputError, OptionError

TOKENS, WIDTH = 5, 3


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.nn.Module]:
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(TOKENS * WIDTH, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
    )
    return torch.randn(TOKENS, WIDTH), torch.randn(TOKENS, WIDTH), network


def scorer(network: torch.nn.Module):
    return lambda rows: network(rows)[:, 0]


def colours(attribution: Attribution) -> str:
    """The text of the coloured part, without its tags."""
    inner = attribution._repr_html_().split('pre-wrap">')[1].split("</div>")[0]
    return unescape(re.sub("<[^>]*>", "", inner))


def test_a_linear_score_gives_each_token_its_own_part() -> None:
    inputs, baseline, _ = drawn(0)
    weights = torch.randn(TOKENS, WIDTH)
    found = integrated_gradients(lambda rows: (rows * weights).sum((1, 2)), inputs, baseline)
    expected = (weights * (inputs - baseline)).sum(1)
    assert found.values == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_integrated_gradients_are_the_integral_of_the_paper(seed: int) -> None:
    inputs, baseline, network = drawn(seed)
    total = torch.zeros(TOKENS, WIDTH)
    steps = 4000
    for step in range(steps):
        point = (baseline + (step + 0.5) / steps * (inputs - baseline)).requires_grad_()
        network(point[None]).sum().backward()
        total += point.grad / steps
    expected = ((inputs - baseline) * total).sum(1)
    found = integrated_gradients(scorer(network), inputs, baseline, tolerance=1e-5)
    assert found.values == pytest.approx(expected.tolist(), abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_the_values_add_up_to_what_is_explained(seed: int) -> None:
    inputs, baseline, network = drawn(seed)
    found = integrated_gradients(scorer(network), inputs, baseline, tolerance=1e-4)
    assert found.complete
    assert found.completeness_error <= 1e-4
    difference = (network(inputs[None]) - network(baseline[None])).item()
    assert sum(found.values) == pytest.approx(difference, abs=found.completeness_error + 1e-5)
    assert found.score - found.baseline_score == pytest.approx(difference, abs=1e-5)


def test_points_are_doubled_until_the_sum_is_right() -> None:
    inputs, baseline = torch.full((1, 1), 40.0), torch.full((1, 1), -41.0)  # most of the way nothing changes
    few = integrated_gradients(lambda rows: rows[:, 0, 0].tanh(), inputs, baseline, limit=16)
    assert (few.points, few.complete) == (16, False)
    many = integrated_gradients(lambda rows: rows[:, 0, 0].tanh(), inputs, baseline)
    assert many.points > 16
    assert many.complete


def test_an_explanation_that_does_not_add_up_says_so() -> None:
    inputs, baseline = torch.full((1, 1), 40.0), torch.full((1, 1), -41.0)
    found = attribute(
        lambda rows: rows[:, 0, 0].tanh(), inputs, baseline, "a", [Piece(0, "a", (0, 1))], "score", limit=16
    )
    assert not found.complete
    assert "MORE THAN ASKED FOR" in str(found)
    assert "MORE THAN ASKED FOR" in found.to_html()


def test_occlusion_is_how_far_the_score_falls() -> None:
    inputs, baseline, network = drawn(1)
    expected = []
    for place in range(TOKENS):
        changed = inputs.clone()
        changed[place] = baseline[place]
        expected.append((network(inputs[None]) - network(changed[None])).item())
    assert occlusion(scorer(network), inputs, baseline, range(TOKENS)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", ["gradients", "occlusion"])
def test_tokens_that_are_no_piece_stay_as_they_are(method: str) -> None:
    inputs, baseline, network = drawn(2)
    pieces = [Piece(1, "one", (0, 3)), Piece(3, "two", (4, 7))]
    found = attribute(scorer(network), inputs, baseline, "one two", pieces, "score", method=method)
    start = inputs.clone()
    start[[1, 3]] = baseline[[1, 3]]
    assert found.baseline_score == pytest.approx(network(start[None]).item(), abs=1e-5)
    assert found.score == pytest.approx(network(inputs[None]).item(), abs=1e-5)
    assert len(found.values) == 2


def test_gradients_are_found_in_inference_mode_and_no_weight_is_given_one() -> None:
    inputs, baseline, network = drawn(3)
    expected = integrated_gradients(scorer(network), inputs, baseline)
    with torch.inference_mode():
        assert integrated_gradients(scorer(network), inputs.clone(), baseline.clone()) == expected
    assert all(each.grad is None for each in network.parameters())


def test_evaluating_gives_the_mode_back() -> None:
    network = torch.nn.Dropout()
    with evaluating(network):
        assert not network.training
    assert network.training


def shown(text: str, offsets: list[tuple[int, int]], values: list[float]) -> Attribution:
    return Attribution(text, tuple("x" for _ in values), tuple(offsets), tuple(values), "log p(x)", 0.0, -1.0, "m")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=20), st.data())
def test_the_coloured_text_is_the_text(text: str, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    offsets = list(zip(places[::2], places[1::2], strict=False))
    text = text.replace("\r", " ")
    assert colours(shown(text, offsets, [0.5] * len(offsets))) == text


def test_several_tokens_of_one_character_are_coloured_once_with_their_sum() -> None:
    page = shown("aé", [(0, 1), (1, 2), (1, 2)], [1.0, 0.25, 0.25])._repr_html_()
    assert page.count("+0.5000") == 1


def test_a_text_cannot_break_out_of_the_page() -> None:
    found = Attribution("<script>", ("<script>",), ((0, 8),), (1.0,), "log p(<b>)", 0.0, 0.0, "m")
    assert "<script>" not in found.to_html()
    assert "<b>" not in found.to_html()


def test_what_speaks_for_and_against_have_different_colours() -> None:
    page = shown("a b", [(0, 1), (2, 3)], [1.0, -1.0])._repr_html_()
    first, second = re.findall(r'rgba\((\d+,\d+,\d+),0.750\)" title', page)[:2]
    assert first != second


def test_show_prints_the_lines_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    found = shown("a b", [(0, 1), (2, 3)], [1.0, -0.5])
    found.show()
    printed = capsys.readouterr().out
    assert printed == f"{found}\n"
    assert "+1.0000 ####################" in printed


def test_show_displays_itself_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    class Notebook:
        kernel = object()
        shown: list[object] = []  # noqa: RUF012

        @classmethod
        def get_ipython(cls) -> type[Notebook]:
            return cls

        @classmethod
        def display(cls, what: object) -> None:
            cls.shown.append(what)

    monkeypatch.setitem(sys.modules, "IPython", Notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", Notebook)
    found = shown("a", [(0, 1)], [1.0])
    found.show()
    assert Notebook.shown == [found]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"method": "lime"}, "method"),
        ({"tolerance": 0}, "tolerance"),
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], field: str) -> None:
    inputs, baseline, network = drawn(0)
    with pytest.raises(OptionError) as caught:
        attribute(scorer(network), inputs, baseline, "a", [Piece(0, "a", (0, 1))], "score", **options)
    assert caught.value.field == field


def test_an_attribution_needs_a_value_for_each_token() -> None:
    with pytest.raises(InputError, match="one value per token"):
        Attribution("a", ("a",), ((0, 1),), (), "x", 0.0, 0.0, "m")
