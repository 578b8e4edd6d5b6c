"""Which tokens made a model say what it says: integrated gradients and occlusion, and the coloured text of what they find.

Plugins give the score that is to be explained as a function of the embeddings of their tokens:

    attribute(score, inputs, baseline, text, pieces, "log p(law)")      # score: (k, tokens, width) -> (k,)

torch is imported inside the functions that need it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from .errors import InputError, OptionError

if TYPE_CHECKING:
    import torch

    Score: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

Method = Literal["gradients", "occlusion"]
TOLERANCE = 0.01  # of what is explained, which is mostly in nats
FIRST, LIMIT = 16, 1024  # points of the integral: at first, and at most
BUDGET = 4096  # tokens at a time
BAR = 20  # characters


@dataclass(frozen=True)
class Attribution:
    """What each token of a text adds to a score, in the score's unit; `show()` it, or print it.

    Positive values speak for `target`, negative ones against it. By integrated gradients the values add up to
    `score - baseline_score`, but for `completeness_error`, the distance that is left; `complete` says whether that is
    within the tolerance that was asked for. Occlusion promises no sum, and its error is None.
    """

    text: str
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    """Where each token stands in the text, in characters."""
    values: tuple[float, ...]
    target: str
    """What the score is of, such as "log p(law)"."""
    score: float
    baseline_score: float
    """The score of the text with all of its tokens replaced by the baseline."""
    method: str
    completeness_error: float | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        if not len(self.tokens) == len(self.offsets) == len(self.values):
            sizes = f"{len(self.tokens)} tokens, {len(self.offsets)} offsets and {len(self.values)} values"
            raise InputError(f"an Attribution has one offset and one value per token, got {sizes}", field="values")

    def __str__(self) -> str:
        width = max((len(token) for token in self.tokens), default=0)
        lines = [
            f"{value:+9.4f} {'#' * round(BAR * abs(value) / self._highest):{BAR}} {token!r:{width + 2}}".rstrip()
            for token, value in zip(self.tokens, self.values, strict=True)
        ]
        return "\n".join([self._heading(), *lines])

    def show(self) -> None:
        """The coloured text in a notebook, and plain lines elsewhere."""
        notebook = sys.modules.get("IPython")
        if notebook is not None and getattr(notebook.get_ipython(), "kernel", None) is not None:
            importlib.import_module("IPython.display").display(self)
        else:
            print(self)

    def to_html(self) -> str:
        """A page of its own."""
        title = escape(self.target)
        return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>\n{self._repr_html_()}\n</html>\n'

    def _repr_html_(self) -> str:
        body = "".join(_coloured(piece, value, self._highest) for piece, value in self._pieces())
        return (
            '<div style="font:15px/1.9 system-ui,sans-serif;color:#222233;background:#ffffff;padding:.5rem">'
            f'<div style="white-space:pre-wrap">{body}</div>'
            f'<div style="color:#666677;font-size:12px">{escape(self._heading())}; '
            f"{_coloured('speaks for it', 1, 1)} {_coloured('speaks against it', -1, 1)}</div></div>"
        )

    @property
    def _highest(self) -> float:
        return max((abs(value) for value in self.values), default=0.0) or 1.0

    def _heading(self) -> str:
        told = f"{self.target} = {self.score:.4g}, without the text {self.baseline_score:.4g}; {self.method}"
        if self.completeness_error is None:
            return told
        warning = "" if self.complete else ", MORE THAN ASKED FOR: raise `limit`, or compute in float32"
        return f"{told}, completeness error {self.completeness_error:.2g}{warning}"

    def _pieces(self) -> Iterator[tuple[str, float | None]]:
        """The text in order: stretches between tokens without a value, and tokens; those of one character go together."""
        done, value = 0, 0.0
        start = stop = 0
        for (first, last), each in [*zip(self.offsets, self.values, strict=True), ((len(self.text), 0), 0.0)]:
            if first < stop:  # the bytes of one character can be several tokens
                value, stop = value + each, max(stop, last)
                continue
            if stop > start:
                yield self.text[done:start], None
                yield self.text[start:stop], value
                done = stop
            start, stop, value = first, last, each
        yield self.text[done:], None


@dataclass(frozen=True)
class Piece:
    """A token that is to be explained: its place among the inputs, and in the text."""

    place: int
    token: str
    offset: tuple[int, int]


def attribute(
    score: Score,
    inputs: torch.Tensor,
    baseline: torch.Tensor,
    text: str,
    pieces: Sequence[Piece],
    target: str,
    *,
    method: Method = "gradients",
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
) -> Attribution:
    """What the pieces of `text` add to a score, by either method.

    Inputs that are no piece, such as a token that stands before every text, have themselves for their baseline.
    score, inputs, baseline, tolerance, limit: as `integrated_gradients` takes them. Raises OptionError.
    """
    if method not in ("gradients", "occlusion"):
        raise OptionError(f"method={method!r}: one of 'gradients', 'occlusion'", field="method")
    _check(tolerance, limit)
    places = [each.place for each in pieces]
    start = inputs.clone()
    start[places] = baseline[places]
    shared: dict[str, Any] = {
        "text": text,
        "tokens": tuple(each.token for each in pieces),
        "offsets": tuple(each.offset for each in pieces),
        "target": target,
    }
    if method == "occlusion":
        low, high = ends(score, inputs, start)
        values = occlusion(score, inputs, start, places)
        return Attribution(**shared, values=values, score=high, baseline_score=low, method="occlusion")
    found = integrated_gradients(score, inputs, start, tolerance=tolerance, limit=limit)
    return Attribution(
        **shared,
        values=tuple(found.values[place] for place in places),
        score=found.score,
        baseline_score=found.baseline_score,
        method=f"integrated gradients of {found.points} points",
        completeness_error=found.completeness_error,
        complete=found.complete,
    )


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients: what each token adds, and how well the sum came out."""

    values: tuple[float, ...]
    score: float
    baseline_score: float
    completeness_error: float
    complete: bool
    points: int


def integrated_gradients(
    score: Score, inputs: torch.Tensor, baseline: torch.Tensor, *, tolerance: float = TOLERANCE, limit: int = LIMIT
) -> Integrated:
    """What each token adds to the score on the way from the baseline to the inputs (Sundararajan et al. 2017).

    score: of embeddings (k, tokens, width), k numbers, each a function of its own entry alone; inputs, baseline:
    (tokens, width). The gradient is integrated over the straight line by Gauss and Legendre's rule; its points are
    doubled until the values add up to score(inputs) - score(baseline) within `tolerance`, or there are `limit` of them.
    """
    _check(tolerance, limit)
    import torch

    # A caller may be in inference mode, whose tensors can have no gradient.
    with torch.inference_mode(False), torch.enable_grad():
        start, change = baseline.detach().float().clone(), (inputs - baseline).detach().float().clone()
        low, high = ends(score, inputs, baseline)
        points = min(FIRST, limit)
        while True:
            gradient = _mean_gradient(score, start, change, points, inputs.dtype)
            values = (gradient * change.double()).sum(1)  # (tokens,)
            error = abs(float(values.sum()) - (high - low))
            if error <= tolerance or 2 * points > limit:
                return Integrated(tuple(values.tolist()), high, low, error, error <= tolerance, points)
            points *= 2


def occlusion(score: Score, inputs: torch.Tensor, baseline: torch.Tensor, places: Sequence[int]) -> tuple[float, ...]:
    """How far the score falls when one token at a time is replaced by its baseline (Zeiler and Fergus 2014).

    score, inputs, baseline: as `integrated_gradients` takes them; places: the tokens that are tried.
    """
    import torch

    with torch.no_grad():
        whole = float(score(inputs[None]).double())
        falls: list[float] = []
        for some in _portions(list(places), len(inputs)):
            rows = inputs.repeat(len(some), 1, 1)  # (k, tokens, width)
            for row, place in zip(rows, some, strict=True):
                row[place] = baseline[place]
            falls += [whole - each for each in score(rows).double().tolist()]
    return tuple(falls)


def ends(score: Score, inputs: torch.Tensor, baseline: torch.Tensor) -> tuple[float, float]:
    """The score of the baseline and that of the inputs."""
    import torch

    with torch.no_grad():
        low, high = score(torch.stack([baseline, inputs])).double().tolist()
    return low, high


@contextmanager
def evaluating(network: torch.nn.Module) -> Iterator[None]:
    """For as long as the block lasts, nothing of the network is dropped."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def _mean_gradient(
    score: Score, start: torch.Tensor, change: torch.Tensor, points: int, dtype: torch.dtype
) -> torch.Tensor:
    """The gradient's mean over the line from `start` to `start + change`, in float64: (tokens, width)."""
    import torch

    places, weights = np.polynomial.legendre.leggauss(points)  # on -1 to 1, where the weights add up to 2
    total = torch.zeros_like(change, dtype=torch.float64)
    for some in _portions(list(range(points)), len(change)):
        along = torch.tensor((places[some] + 1) / 2, dtype=torch.float32, device=change.device)
        rows = (start + along[:, None, None] * change).to(dtype).requires_grad_()  # (k, tokens, width)
        [gradient] = torch.autograd.grad(score(rows).sum(), rows)
        total += torch.tensor(weights[some] / 2, device=change.device)[:, None, None].mul(gradient).sum(0)
    return total


def _portions(rows: list[int], tokens: int) -> Iterator[list[int]]:
    size = max(1, BUDGET // max(1, tokens))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _coloured(text: str, value: float | None, highest: float) -> str:
    if value is None:
        return escape(text)
    colour = "204,68,34" if value > 0 else "51,102,204"
    style = f"background:rgba({colour},{0.75 * min(1.0, abs(value) / highest):.3f})"
    return f'<span style="{style}" title="{value:+.4f}">{escape(text)}</span>'


def _check(tolerance: float, limit: int) -> None:
    if not 0 < tolerance < float("inf"):
        message = f"tolerance={tolerance}: give a number above 0, in the unit of the score"
        raise OptionError(message, field="tolerance")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 1 << 14:
        raise OptionError(f"limit={limit!r}: give a whole number of points from 1 to {1 << 14:,}", field="limit")
