"""The background process of the panel: a job folder in, JSON lines out, a result folder at the end.

    python worker.py JOB_FOLDER

`JOB_FOLDER/request.json` names the task, which is "register", "report", "phantom" or "probe": {"task": "register",
"parent": process id, ...}.

Each line on the standard output is one event: {"event": "started", "pid"}, {"event": "progress", "step", "fraction"},
{"event": "note", "text"}, and at the end exactly one of {"event": "finished", ...}, {"event": "cancelled"} and
{"event": "failed", "kind", "message"} with the kind "input", "memory", "torch" or "error". Everything else that is
printed goes to the standard error. Results are in folders that appear when they are whole.

It ends within a second or two when a file `JOB_FOLDER/cancel` appears, when `JOB_FOLDER` vanishes, and when the parent
process is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

if __name__ == "__main__":  # run by its path: the library is beside this file, under its package name only
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __package__ = "GradientGuidedRegistrationLib"

REQUEST, CANCEL, INPUT, RESULT = "request.json", "cancel", "input", "result"
FINISHED, FAILED, REFUSED, CANCELLED = 0, 1, 2, 3
_POLL_S = 0.1
_LARGEST_PHANTOM = 256**3  # voxels
_GRACE_S = 0.7  # between the request to stop and the end without further ado
_SAMPLE = {"seed": 7, "shape": (72, 80, 96), "spacing": 3.0, "geometry": "scanner"}


class Events:
    """Writes events as JSON lines, none after the one that tells the end; a reader that has gone away is no error."""

    _ENDS = ("finished", "cancelled", "failed")

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._lock = threading.Lock()

    def send(self, event: str, **values: Any) -> None:
        """Write one line, in ASCII, at once."""
        with self._lock:
            if self._stream is None:
                return
            try:
                self._stream.write(json.dumps({"event": event, **values}) + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None
            if event in self._ENDS:
                self._stream = None


class Task:
    """One request: its folder, and what the work needs to report and to stop."""

    def __init__(self, folder: Path, events: Events) -> None:
        self.folder = folder
        self.events = events
        self.request = _read_request(folder / REQUEST)
        self._last: tuple[str, float] = ("", -1.0)

    def stop_requested(self) -> bool:
        """Whether the user wants the task to stop, or its folder is gone and with it the place of the result."""
        return (self.folder / CANCEL).exists() or not self.folder.exists()

    def progress(self, step: str, fraction: float) -> None:
        """Report; raises `Cancelled` when the user wants to stop."""
        from .errors import Cancelled

        if self.stop_requested():
            raise Cancelled
        if step != self._last[0] or fraction - self._last[1] >= 0.002:
            self._last = (step, fraction)
            self.events.send("progress", step=step, fraction=round(fraction, 4))


def _read_request(path: Path) -> dict[str, Any]:
    """The request. Raises `InputError` when it is none."""
    from .errors import InputError

    try:
        request = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"The request {path} cannot be read ({error}); start the registration again.") from None
    if not isinstance(request, dict) or request.get("task") not in [*TASKS]:
        raise InputError(f"The request {path} names none of the tasks {', '.join(TASKS)}; start again.")
    parent = request.get("parent")
    if parent is not None and (type(parent) is not int or not 0 < parent < 2**31):
        raise InputError(f"The request {path} names {parent!r} for its parent process; start again.")
    return request


def register(task: Task) -> dict[str, Any]:
    """Register the pair in `input` into `result`, on the device and grid that its memory allows."""
    from dataclasses import replace

    from .errors import is_gpu_error, is_memory_error
    from .registration import storage
    from .registration.pipeline import register

    job = storage.read_job(task.folder / INPUT)
    settings = _fitting(job, task)
    options = {name: getattr(job, name) for name in ("fixed_mask", "moving_mask", "initial_transform")}
    result = None
    try:
        result = register(job.fixed, job.moving, settings, progress=task.progress, **options)
    except Exception as error:
        if settings.device == "cpu" or not (is_memory_error(error) or is_gpu_error(error)):
            raise
        what = "ran out of memory" if is_memory_error(error) else "failed"
        task.events.send("note", text=f"The GPU {what}: going on with the CPU.")
    if result is None:  # out of the block, which keeps all that the first try held
        result = register(job.fixed, job.moving, replace(settings, device="cpu"), progress=task.progress, **options)
    if task.stop_requested():
        task.progress("done", 1.0)
    storage.write_result(result, task.folder / RESULT)
    return {"quality": result.quality, "device": result.settings.device}


def _fitting(job: Any, task: Task) -> Any:
    """The job's settings, changed where they would not fit into memory, with a note about it."""
    from dataclasses import replace

    import numpy as np

    from .registration import memory
    from .registration.device import pick_device
    from .registration.files import check_volume
    from .registration.grid import Grid, working_grid

    device = pick_device(job.settings.device)
    check_volume(job.fixed, "fixed image")
    grid = working_grid(Grid.of(job.fixed), job.settings.spacing, refined=job.settings.is_refined)
    free = {"cpu": memory.available_memory(), "cuda": _free_on_gpu() if device == "cuda" else None}
    images = job.fixed.GetNumberOfPixels() + job.moving.GetNumberOfPixels()
    plan = memory.plan(int(np.prod(grid.size)), grid.spacing[0], device, free, images)
    if plan.note:
        task.events.send("note", text=plan.note)
    coarser = plan.spacing != grid.spacing[0]
    return replace(job.settings, device=plan.device, spacing=plan.spacing if coarser else job.settings.spacing)


def report(task: Task) -> dict[str, Any]:
    """Write the report of the result in `input` into the directory of the request, all of it at the end."""
    from .figures import write_report
    from .figures.job import read_report_job
    from .renderer import report_renderer
    from .whole_files import write_bytes

    task.progress("report", 0.0)
    job = read_report_job(task.folder / INPUT)
    task.progress("report", 0.1)
    page = write_report(
        job.result, job.fixed, job.moving, task.folder / RESULT, fixed_labels=job.fixed_labels,
        moving_labels=job.moving_labels, label_names=job.label_names, case=task.request["title"],
        render=report_renderer(),
    )  # fmt: skip
    task.progress("report", 1.0)
    directory = Path(task.request["directory"])
    for file in sorted(page.parent.iterdir(), key=lambda file: file == page):  # the page comes last
        write_bytes(directory / file.name, file.read_bytes())
    return {"path": str(directory / page.name)}


def phantom(task: Task) -> dict[str, Any]:
    """Generate a CT-MR pair into `result`: fixed.mha, moving.mha, their labels, names.json."""
    from .registration.files import write_image
    from .training.phantom import phantom_images
    from .whole_files import replacing_folder, write_text

    task.progress("phantom", 0.0)
    images = phantom_images(**_phantom_options(task.request.get("options", {})))
    task.progress("phantom", 0.9)
    with replacing_folder(task.folder / RESULT) as part:
        for name in ("fixed", "moving", "fixed_labels", "moving_labels"):
            write_image(images[name], part / f"{name}.mha")
        write_text(part / "names.json", json.dumps({str(value): name for value, name in images["label_names"].items()}))
    return {}


def _phantom_options(options: Any) -> dict[str, Any]:
    """The options of a phantom, those that are not given as in the sample. Raises `InputError`."""
    from .errors import InputError

    if not isinstance(options, dict) or not set(options) <= {*_SAMPLE, "kind"}:
        raise InputError(f"The options of the phantom are {options!r}; known are {', '.join(_SAMPLE)} and kind.")
    options = {**_SAMPLE, **options}
    shape = options["shape"]
    if not isinstance(shape, (list, tuple)) or len(shape) != 3 or not all(type(n) is int for n in shape):
        raise InputError(f"The shape of the phantom is {shape!r}; give three whole numbers.")
    if min(shape) < 16 or shape[0] * shape[1] * shape[2] > _LARGEST_PHANTOM:
        raise InputError(f"The shape of the phantom is {shape!r}; give at least 16 and not more than 256³ voxels.")
    if type(options["seed"]) is not int or not 0 <= options["seed"] < 2**32:
        raise InputError(f"The seed of the phantom is {options['seed']!r}; give a whole number.")
    spacing = options["spacing"]
    if type(spacing) not in (int, float) or not 0.1 <= spacing <= 20:
        raise InputError(f"The spacing of the phantom is {spacing!r}; give 0.1 to 20 mm.")
    return {**options, "shape": tuple(shape)}


def probe(task: Task) -> dict[str, Any]:
    """Tell what there is to compute with: the version of torch, the devices and their memory in bytes."""
    import torch

    from .registration.memory import available_memory

    devices: dict[str, dict[str, Any]] = {"cpu": {"name": "CPU", "free": available_memory()}}
    if torch.cuda.is_available():
        devices["cuda"] = {"name": torch.cuda.get_device_name(0), "free": _free_on_gpu()}
    if torch.backends.mps.is_available():
        devices["mps"] = {"name": "Apple GPU", "free": None}
    return {"torch": torch.__version__, "devices": devices}


TASKS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "register": register,
    "report": report,
    "phantom": phantom,
    "probe": probe,
}


def _free_on_gpu() -> int | None:
    import torch

    try:
        return int(torch.cuda.mem_get_info()[0])
    except (RuntimeError, AssertionError):
        return None


def run(task: Task) -> int:
    """Do the task, tell how it ended, and return the exit status."""
    from .errors import Cancelled, InputError

    try:
        values = TASKS[task.request["task"]](task)
    except Cancelled:
        task.events.send("cancelled")
        return CANCELLED
    except InputError as error:
        task.events.send("failed", kind="input", message=str(error))
        return REFUSED
    except Exception as error:
        traceback.print_exc()
        task.events.send("failed", kind=_kind(error), message=f"{type(error).__name__}: {error}")
        return FAILED
    task.events.send("finished", **values)
    return FINISHED


def _kind(error: Exception) -> str:
    from .errors import is_memory_error

    if is_memory_error(error):
        return "memory"
    torch_missing = isinstance(error, ImportError) and "torch" in (error.name or str(error))
    return "torch" if torch_missing else "error"


def watch(task: Task) -> None:
    """End the process when it does not stop by itself, or when its parent is gone. For a thread."""
    parent = task.request.get("parent")
    while True:
        time.sleep(_POLL_S)
        if task.stop_requested():
            time.sleep(_GRACE_S)
            task.events.send("cancelled")
            os._exit(CANCELLED)
        if parent is not None and not is_alive(parent):
            shutil.rmtree(task.folder, ignore_errors=True)
            os._exit(CANCELLED)


def is_alive(pid: int) -> bool:
    """Whether there is a process with this id."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = kernel.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
        if not handle:
            return ctypes.get_last_error() == 5  # access denied: it is there, and somebody else's
        alive = kernel.WaitForSingleObject(handle, 0) != 0
        kernel.CloseHandle(handle)
        return alive
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _own_channel() -> TextIO:
    """The standard output for events alone: from now on, whatever else is printed goes to the standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return channel


def main(arguments: list[str]) -> int:
    """Run one job folder; returns the exit status."""
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # a group of its own, so that it can be killed with all that it started
    events = Events(_own_channel())
    events.send("started", pid=os.getpid())
    from .errors import InputError
    from .waiting import wait_briefly

    wait_briefly()
    try:
        task = Task(Path(arguments[0]), events)
    except InputError as error:
        events.send("failed", kind="input", message=str(error))
        return REFUSED
    threading.Thread(target=watch, args=(task,), daemon=True).start()
    return run(task)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # at once: nothing that a library does at exit may delay or change the status
