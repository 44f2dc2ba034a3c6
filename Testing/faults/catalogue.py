"""All faults by name; those that `make test` tries are marked short."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from faults import script_faults as s
from faults import worker_faults as w
from faults.harness import OUTPUTS, Case


@dataclass(frozen=True)
class Fault:
    """One thing that is done to a run; `do` raises AssertionError when a promise is broken."""

    name: str
    do: Callable[[Case], None]
    short: bool = False


def _with(function: Callable, name: str, *values: object, short: bool = False) -> Fault:
    return Fault(name, lambda case: function(case, *values), short)


def _killed() -> list[Fault]:
    faults = [_with(s.killed_at_a_step, f"kill -9 at {step}", step, short=step == "align") for step in s.STEPS]
    faults += [_with(s.killed_while_writing, f"kill -9 while file {n + 1} is written", n, short=n == 9)
               for n in range(12)]  # fmt: skip
    steps = ("prepare", "align", "refine", "assemble", "done")
    faults += [_with(w.worker_killed_at_a_step, f"worker: kill -9 at {step}", step) for step in steps]
    faults += [_with(w.worker_killed_while_writing, f"worker: kill -9 after {n} result files", n, short=n == 1)
               for n in range(1, 6)]  # fmt: skip
    faults += [
        _with(w.training_killed, f"training: {signal.Signals(number).name}", number)
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    ]
    return [*faults, Fault("kill -9 over old results", s.killed_over_old_results)]


def _stopped() -> list[Fault]:
    faults = [_with(s.terminated, f"SIGTERM at {step}", step, short=step == "refine") for step in s.STEPS]
    return [
        *faults,
        Fault("Ctrl+C", s.interrupted),
        Fault("phantom.py: SIGTERM while writing", s.phantom_terminated),
        Fault("worker: SIGTERM", w.worker_terminated),
        Fault("output closed by its reader", s.closed_output),
    ]


def _disks() -> list[Fault]:
    sizes = (100, 1000, 30_000, 200_000)
    faults = [_with(s.disk_full, f"no file beyond {size} bytes", size, short=size == 30_000) for size in sizes]
    faults += [_with(s.disk_full_for, f"no room for {option}", option, 500)
               for option in OUTPUTS if option != "--report"]  # fmt: skip
    faults += [_with(w.worker_disk_full, f"worker: no file beyond {size} bytes", size)
               for size in (100, 1000, 200_000)]  # fmt: skip
    faults += [_with(w.training_disk_full, f"training: no file beyond {size} bytes", size)
               for size in (100, 100_000, 3_000_000)]  # fmt: skip
    return [
        *faults,
        *(_with(s.small_filesystem, f"a disk of {size} kB", size) for size in (64, 300, 1500)),
        Fault("phantom.py: no room", s.phantom_disk_full),
        Fault("read-only output", s.read_only_output, True),
        Fault("output becomes read-only", s.output_becomes_read_only),
        Fault("output folder vanishes", s.output_folder_vanishes),
    ]


def _others() -> list[Fault]:
    return [
        *(_with(s.memory_limit, f"{size} MB of address space", size)
          for size in (700, 1000, 1500, 2000, 2500, 3000)),
        _with(s.input_changed_while_read, "input changed while it is read", 8, short=True),
        Fault("input removed", s.input_removed),
        Fault("two runs into one output", s.two_into_one_output),
        Fault("four runs at once", s.four_at_once),
        Fault("two trainings into one folder", w.two_trainings_into_one_folder),
        Fault("clock jumps", s.clock_jumps),
        Fault("old results from the future", s.files_of_the_future),
        Fault("GPU disappears", s.gpu_disappears),
        Fault("worker: GPU disappears", w.worker_loses_its_gpu, True),
        Fault("worker: finished job again", w.worker_repeats_a_finished_job),
        Fault("worker: incomplete job", w.worker_job_is_incomplete),
    ]  # fmt: skip


FAULTS = [] if sys.platform == "win32" else [*_killed(), *_stopped(), *_disks(), *_others()]
