"""Registrations one after the other: one runs, others wait. Knows processes and node names, no widgets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .process import Outcome, WorkerProcess, new_folder, remove_folder


@dataclass(eq=False)
class Run:
    """One request to the background process, and what is needed to use its result.

    Attributes:
        task: of `worker.py`.
        title: for the user, for example "CT to MR".
        nodes: node IDs by role; looked up when the result is there, since nodes may be gone by then.
        options: what else the end needs to know.
        folder: the job folder; removed when the run is done with.
    """

    task: str
    title: str
    nodes: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    folder: Path = field(default_factory=new_folder)
    started: float = 0.0

    def discard(self) -> None:
        """Remove the files of this run."""
        remove_folder(self.folder)


class RunQueue:
    """At most one run at a time.

    `on_change` is called whenever a run starts, ends or is added; `on_event(run, event)` for each event of the process;
    `on_end(run, outcome)` at its end, after which the run's folder belongs to the listener.
    """

    def __init__(self, on_change: Callable[[], None], on_event: Callable[[Run, dict[str, Any]], None],
                 on_end: Callable[[Run, Outcome], None]) -> None:  # fmt: skip
        self._on_change, self._on_event, self._on_end = on_change, on_event, on_end
        self._process: WorkerProcess | None = None
        self.current: Run | None = None
        self.waiting: list[Run] = []
        self.cancelling = False

    def add(self, run: Run) -> None:
        """Start the run, or let it wait for its turn."""
        self.waiting.append(run)
        self._next()

    def cancel(self) -> None:
        """Stop the current run; the next one then has its turn."""
        if self._process is not None:
            self.cancelling = True
            self._process.cancel()
            self._on_change()

    def clear(self) -> None:
        """Forget the waiting runs."""
        for run in self.waiting:
            run.discard()
        self.waiting.clear()
        self._on_change()

    def stop(self) -> None:
        """End everything at once and tell nobody: the scene or the application closes."""
        process, run = self._process, self.current
        self._process = self.current = None
        self.cancelling = False
        if process is not None:
            process.kill()
        for other in [*([run] if run else []), *self.waiting]:
            other.discard()
        self.waiting.clear()

    def _next(self) -> None:
        if self.current is None and self.waiting:
            run = self.waiting.pop(0)
            run.started = time.monotonic()
            self.current = run
            self._process = WorkerProcess(run.folder, lambda event: self._heard(run, event),
                                          lambda outcome: self._ended(run, outcome))  # fmt: skip
            self._process.start(run.task, **run.options.get("request", {}))
        self._on_change()

    def _heard(self, run: Run, event: dict[str, Any]) -> None:
        if not self.cancelling:  # what is still under way then is of no interest
            self._on_event(run, event)

    def _ended(self, run: Run, outcome: Outcome) -> None:
        if run is not self.current:  # it was stopped
            return
        self._process = self.current = None
        self.cancelling = False
        try:
            self._on_end(run, outcome)
        finally:
            self._next()
