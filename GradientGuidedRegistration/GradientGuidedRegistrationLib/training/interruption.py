"""What an interruption (Ctrl+C, or SIGTERM where it is heard like it) must not leave half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block is done, and let them through then. For blocks that are short.

    In other threads than the main one, where signals are not heard, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard: list[int] = []
    try:
        for number, handler in handlers.items():
            if handler is not None:  # one that is not Python's could not be brought back
                signal.signal(number, lambda number, frame: heard.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])
