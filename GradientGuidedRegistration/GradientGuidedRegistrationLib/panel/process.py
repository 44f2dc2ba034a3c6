"""The background process as the panel sees it: start, hear, stop. All on the main thread."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..worker import CANCEL, FINISHED, REQUEST, is_alive

WORKER = Path(__file__).resolve().parents[1] / "worker.py"
_LOG = "log.txt"
_LOG_LINES = 12
_KILL_AFTER_MS = 1400  # the worker ends by itself about 0.8 s after the cancel file appears


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        kind: "finished", "cancelled", "input" (the user can change it), "memory", "torch", "crash" or "error".
        message: what went wrong, in a sentence; empty if nothing did.
        log: the last lines that the process printed.
        values: what the last event carried.
    """

    kind: str
    message: str = ""
    log: str = ""
    values: dict[str, Any] = field(default_factory=dict)


class WorkerProcess:
    """One run of `worker.py` in a job folder.

    `on_event` gets each event (a dictionary), `on_end` the `Outcome`, once. The folder is the caller's to remove.
    """

    def __init__(
        self, folder: Path, on_event: Callable[[dict[str, Any]], None], on_end: Callable[[Outcome], None]
    ) -> None:
        self.folder = folder
        self._on_event, self._on_end = on_event, on_end
        self._process: Any = None
        self._pending = b""
        self._last: dict[str, Any] = {}
        self._pid: int | None = None
        self._cancelling = False
        self._not_started = False

    def start(self, task: str, **request: Any) -> None:
        """Start the task; that it cannot be started is told like any other end."""
        try:
            (self.folder / CANCEL).unlink(missing_ok=True)
            (self.folder / REQUEST).write_text(json.dumps({"task": task, "parent": os.getpid(), **request}), "utf-8")
        except OSError as error:
            self._on_end(Outcome("input", _("The job folder cannot be written: {error}").format(error=error)))
            return
        process = qt.QProcess()
        process.setStandardErrorFile(str(self.folder / _LOG))  # a file: no pipe that could run full, and it stays
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._error)
        self._process = process
        process.start(python(), [str(WORKER), str(self.folder)])

    def cancel(self) -> None:
        """Ask the process to stop; if it does not within a good second, end it with all that it started."""
        if self._process is None or self._cancelling:
            return
        self._cancelling = True
        self._ask_to_stop()
        qt.QTimer.singleShot(_KILL_AFTER_MS, self._kill)

    def kill(self) -> None:
        """End the process at once, without a word to the listeners: the scene or the application is closing."""
        process, self._process = self._process, None
        if process is None:
            return
        self._cancelling = True
        self._ask_to_stop()  # for a process that has not told its id yet
        process.blockSignals(True)
        self._kill_tree(process)
        process.waitForFinished(2000)
        process.deleteLater()

    def _ask_to_stop(self) -> None:
        with suppress(OSError):  # somebody has emptied the temporary folder: the process is ended all the same
            (self.folder / CANCEL).touch()

    def _kill(self) -> None:
        if self._process is not None:
            self._kill_tree(self._process)

    def _kill_tree(self, process: Any) -> None:
        if self._pid is not None:
            kill_tree(self._pid)
        process.kill()  # PythonSlicer is a launcher: this ends the launcher only

    def _read(self) -> None:
        if self._process is None:
            return
        data = self._process.readAllStandardOutput()
        *lines, self._pending = (self._pending + (data if isinstance(data, bytes) else bytes(data.data()))).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line.decode("utf-8", errors="replace"))
                event["event"]
            except (ValueError, TypeError, KeyError):
                logging.warning("Unexpected output of the background process: %r", line[:200])
                continue
            self._last = event
            if event["event"] == "started":
                self._pid = event["pid"]
            self._on_event(event)

    def _error(self, error: Any) -> None:
        if error == qt.QProcess.FailedToStart:  # the only error after which Qt tells no end
            self._not_started = True
            self._finished()

    def _finished(self, *_args: Any) -> None:
        process = self._process
        if process is None or process.state() != qt.QProcess.NotRunning:
            return
        self._read()
        self._process = None
        outcome = self._outcome(process)
        qt.QTimer.singleShot(0, lambda: process.deleteLater())  # not while it is telling its end
        self._on_end(outcome)

    def _outcome(self, process: Any) -> Outcome:
        log = log_tail(self.folder)
        event, values = self._last.get("event"), {k: v for k, v in self._last.items() if k != "event"}
        crashed = process.exitStatus() != qt.QProcess.NormalExit
        if self._cancelling or event == "cancelled":
            return Outcome("cancelled", log=log)
        if event == "finished" and not crashed and process.exitCode() == FINISHED:
            return Outcome("finished", values=values, log=log)
        if event == "failed":
            return Outcome(values["kind"], values["message"], log)
        if self._not_started:
            return Outcome("error", f"The background process could not be started: {python()}", log)
        status = f"exit code {process.exitCode()}" + (", crashed or killed" if crashed else "")
        return Outcome("crash", f"The background process ended unexpectedly ({status}).", log)


def python() -> str:
    """Slicer's own Python as a program; outside Slicer the one that runs."""
    return shutil.which("PythonSlicer") or sys.executable


def new_folder() -> Path:
    """A new, empty job folder in the application's temporary folder; its name tells the process it belongs to."""
    Path(slicer.app.temporaryPath).mkdir(parents=True, exist_ok=True)  # somebody may have cleaned up
    return Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-", dir=slicer.app.temporaryPath))


def remove_orphans() -> None:
    """Remove the job folders of processes of this machine that are gone, such as a Slicer that was killed."""
    for folder in Path(slicer.app.temporaryPath).glob(f"{_prefix()}*-*"):
        pid = folder.name.split("-")[2]
        if pid.isdecimal() and not is_alive(int(pid)):
            remove_folder(folder)


def _prefix() -> str:
    return f"registration-{re.sub('[^A-Za-z0-9]', '_', platform.node())}-"


def remove_folder(folder: Path) -> None:
    """Remove a job folder; what is still open stays."""
    shutil.rmtree(folder, ignore_errors=True)


def log_tail(folder: Path) -> str:
    """The last lines that the process of a job folder printed."""
    try:
        text = (folder / _LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_LOG_LINES:])


def kill_tree(pid: int) -> None:
    """End a worker and everything that it started."""
    try:
        if sys.platform == "win32":
            subprocess.run(
                ["taskkill", "/PID", str(pid), "/T", "/F"],
                capture_output=True,
                timeout=5,
                creationflags=subprocess.CREATE_NO_WINDOW,
            )
        else:
            os.killpg(pid, signal.SIGKILL)
    except (OSError, subprocess.SubprocessError):
        pass  # it has ended in the meantime
