"""What the command-line scripts share: exit status, one clear line for bad input, a progress bar."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable

from .errors import Cancelled, InputError

_WIDTH = 28


def run_command(work: Callable[[], int]) -> int:
    """Return the exit status of ``work``: its own, 2 with one line on stderr for bad input, 1 for anything else."""
    try:
        return work()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Cancelled):
        print("cancelled", file=sys.stderr)
        return 1
    except MemoryError:
        print("error: out of memory; give a coarser --spacing", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1


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
