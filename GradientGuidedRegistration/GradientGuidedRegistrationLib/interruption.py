"""How Ctrl+C and SIGTERM are heard: at once, or after what must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl+C and SIGTERM raise KeyboardInterrupt in the block; a second one ends the process at once, silently."""

    def interrupt(*_: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl+C and SIGTERM off until the end of the block. For blocks that are short."""
    heard: list[int] = []
    with _handling(lambda number, _: heard.append(number)):
        yield
    if heard:
        signal.raise_signal(heard[0])


@contextmanager
def _handling(handler: Callable[..., object]) -> Iterator[None]:
    """Handle both signals in the block, but for one that is ignored, or handled by what is not Python.

    Does nothing in other threads than the main one, where signals are not heard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heard = {number: previous for number, previous in before.items() if previous not in (signal.SIG_IGN, None)}
    try:
        for number in heard:
            signal.signal(number, handler)
        yield
    finally:
        for number, previous in heard.items():
            signal.signal(number, previous)
