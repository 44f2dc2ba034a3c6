"""Work in steps on the main thread: the application stays alive between them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import qt


class Steps:
    """Runs a generator step by step from Qt's event loop.

    Args:
        generator: each value that it yields is passed to `on_step` before the step it announces is done.
        on_end: gets what the generator returns.
        on_error: gets what it raises.
    """

    def __init__(self, generator: Generator[Any, None, Any], on_step: Callable[[Any], None],
                 on_end: Callable[[Any], None], on_error: Callable[[Exception], None]) -> None:  # fmt: skip
        self._generator: Generator[Any, None, Any] | None = generator
        self._on_step, self._on_end, self._on_error = on_step, on_end, on_error
        self._later()

    def stop(self) -> None:
        """Leave it there; nobody is told."""
        self._generator = None

    def _later(self) -> None:
        qt.QTimer.singleShot(0, self._step)

    def _step(self) -> None:
        if self._generator is None:
            return
        try:
            announced = next(self._generator)
        except StopIteration as end:
            self._generator = None
            self._on_end(end.value)
        except Exception as error:
            self._generator = None
            self._on_error(error)
        else:
            self._on_step(announced)
            self._later()
