"""Time and memory of a call in this process, measured alike for every method.

Imported by the processes of both environments: nothing here needs more than Python.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
STARTED = "BENCHMARK_PROCESS_STARTED"  # variable of the environment: seconds since 1970


def timed(call: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What `call` returns, its wall time and the processor time of all its threads, in seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = call()
    return result, {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - processor}


def since_start() -> float:
    """Seconds since this process was started: Python, imports and files so far."""
    return time.time() - float(os.environ[STARTED])


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in MB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, else kB
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
