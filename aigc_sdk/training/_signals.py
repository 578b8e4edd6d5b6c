"""Ctrl-C and SIGTERM in a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from . import processes

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Ctrl-C and SIGTERM end the run at the step's edge with a checkpoint; a second one ends it at once."""

    def __init__(self, save: Callable[[], None]) -> None:
        self._save = save
        self._before: dict[int, Any] = {}
        self._busy = False
        self._received: int | None = None

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # handlers can be set nowhere else
            self._before = {each: signal.signal(each, self._handle) for each in _SIGNALS}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def working(self) -> Signals._Work:
        """A block that a first signal does not interrupt."""
        return self._Work(self)

    def _handle(self, number: int, frame: object) -> None:
        if (self._busy or processes.sharded()) and self._received is None:
            self._received = number
            print("\nstopping after this step; once more stops at once", file=sys.stderr, flush=True)
            return
        if not self._busy and not processes.sharded():
            self._received = number
            self._save()
        self._deliver(number)

    def _deliver(self, number: int) -> None:
        self.__exit__()
        if number == signal.SIGINT and signal.getsignal(number) is signal.default_int_handler:
            raise KeyboardInterrupt
        os.kill(os.getpid(), number)

    class _Work:
        def __init__(self, signals: Signals) -> None:
            self.signals = signals

        def __enter__(self) -> None:
            self.signals._busy = True

        def __exit__(self, kind: object, *exc: object) -> None:
            self.signals._busy = False
            if kind is not None:
                return
            received = processes.agreed(self.signals._received) if processes.sharded() else self.signals._received
            if received is not None:
                self.signals._save()
                if processes.sharded():
                    processes.agreed(received)  # nobody ends, which ends the others too, while the first still writes
                self.signals._deliver(received)
