"""What the command-line scripts share: exit status, one clear line for bad input, a progress bar."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .errors import Cancelled, Incomplete, InputError, is_gpu_error, is_memory_error
from .interruption import interruptible
from .waiting import wait_briefly

_WIDTH = 28


def run_command(
    work: Callable[[], int],
    program: str = "error",
    interrupted: str = "interrupted; nothing was written",
    interrupted_status: int = 130,
) -> int:
    """Return the exit status of ``work``: its own, 2 for bad input, 1 for anything else, told on stderr.

    SIGTERM is heard like Ctrl+C while the work lasts, so that a batch system's stop leaves no temporary files. What is
    printed is no part of the work: a letter that the terminal does not have is written as its number, and where a
    pipe's reader is gone or the disk full, the rest is lost and the work goes on. The trace of an unexpected error is
    shown where the environment variable GGR_TRACEBACK is set.

    Args:
        program: the messages begin with it; "error" also brings a message, or each line of its list, into one line.
        interrupted, interrupted_status: what to say and to return after an interruption; where the work knows better
            what to say, that is the text of its `KeyboardInterrupt`.
    """
    wait_briefly()
    with _unfailing_streams():
        return _status(work, program, interrupted, interrupted_status)


def _status(work: Callable[[], int], program: str, interrupted: str, interrupted_status: int) -> int:
    try:
        with interruptible():
            return work()
    except InputError as error:
        _tell(program, meaning(error))
        return 2
    except (KeyboardInterrupt, Cancelled) as error:
        told = str(error) or interrupted
        print(told if program == "error" else f"{program}: {told}", file=sys.stderr)
        return interrupted_status
    except Exception as error:
        if os.environ.get("GGR_TRACEBACK"):
            traceback.print_exc()
        _tell(program, meaning(error))
        return 1


class _Stream:
    """A standard stream that takes whatever is written, even if that arrives nowhere."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Write what is kept back."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self, error: OSError) -> None:
        """Lead to nowhere from here on, for the end of the process too."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            with suppress(OSError):
                print(f"what is printed is lost: {error.strerror}", file=sys.stderr)


@contextmanager
def _unfailing_streams() -> Iterator[None]:
    """Let nothing that is printed in the block raise an error. (Windows has processes without streams.)"""
    before = sys.stdout, sys.stderr
    streams: Any = [None if stream is None else _Stream(stream) for stream in before]
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        for stream in streams:
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def _tell(program: str, message: str) -> None:
    if program == "error":
        message = "\n- ".join(" ".join(part.split()) for part in message.split("\n- "))
    print(f"{program}: {message}", file=sys.stderr)


def meaning(error: Exception) -> str:
    """What to tell a user of an exception."""
    if isinstance(error, (InputError, Incomplete)):
        return str(error)
    if is_memory_error(error):
        return "out of memory; give a coarser --spacing, close other programs, or choose another --device"
    if is_gpu_error(error):
        return f"the GPU failed ({_last_line(error)}); run again, or with --device cpu"
    if isinstance(error, OSError):
        return str(error)
    return (
        f"unexpected {type(error).__name__}: {_last_line(error)}. "
        "This is a bug: please report it with what GGR_TRACEBACK=1 in the environment adds to this message"
    )


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no further details"]
    return lines[-1].strip().rstrip(".")


def whole_number(text: str) -> int:
    """An argparse type: 0, 1, 2, …"""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 0 or more")
    return int(text)


class ProgressBar:
    """Shows ``(step, fraction)`` on stderr: a bar with the time left on a terminal, a line a step elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.on_terminal = sys.stderr.isatty()
        self.started = time.perf_counter()
        self.step = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        if not self.quiet and self.on_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, step: str, fraction: float) -> None:
        if self.quiet:
            return
        if not self.on_terminal:
            if step != self.step:
                print(f"{100 * fraction:3.0f} % {step}", file=sys.stderr, flush=True)
        else:
            elapsed = time.perf_counter() - self.started
            left = f", {elapsed * (1 - fraction) / fraction:.0f} s left" if fraction > 0.05 else ""
            filled = round(_WIDTH * fraction)
            bar = "#" * filled + "." * (_WIDTH - filled)
            sys.stderr.write(f"\r\x1b[K[{bar}] {100 * fraction:3.0f} % {step}{left}")
            sys.stderr.flush()
        self.step = step
