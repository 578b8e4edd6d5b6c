"""The progress line: count, rate and remaining time on stderr, through tqdm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .protocols import Step


class Bar:
    """A context manager that gives a callable taking Steps; nothing is shown in the first `delay` seconds."""

    def __init__(self, label: str, delay: float = 0) -> None:
        self.label = label
        self.delay = delay
        self._bar: Any = None

    def __enter__(self) -> Bar:
        return self

    def __call__(self, step: Step) -> None:
        if self._bar is None:
            from tqdm.auto import tqdm

            first = step.index - 1  # a resumed run does not start at nothing
            self._bar = tqdm(desc=self.label, initial=first, delay=self.delay, dynamic_ncols=True, total=step.total)
        if step.metrics:
            shown = {name: f"{value:.4g}" for name, value in step.metrics.items()}
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(step.index - self._bar.n)

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()
