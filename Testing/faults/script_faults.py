"""Faults of the scripts: each function does one thing to a run and raises AssertionError if a promise is broken."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from faults.harness import (
    OUTPUTS,
    Case,
    arguments,
    check_message,
    digests,
    finish,
    not_whole,
    register_here,
    start,
    step_of,
    wait_until,
)

STEPS = ("prepare", "align", "refine", "assemble")


def killed_at_a_step(case: Case, step: str) -> None:
    out = case.new_output()
    process = start("register.py", *arguments(case.inputs, out))
    step_of(process, step)
    process.kill()
    assert finish(process).status == -signal.SIGKILL
    case.check(out)


def killed_while_writing(case: Case, number: int) -> None:
    """As soon as the file after `number` others is begun."""
    out = case.new_output()
    process = start("register.py", *arguments(case.inputs, out, report=True), "--quiet")
    wait_until(lambda: out.exists() and _whole(out) >= number and any(out.rglob(".writing-*")), process)
    process.kill()
    assert finish(process).status in (-signal.SIGKILL, 0)
    case.check(out)


def _whole(out: Path) -> int:
    return sum(path.is_file() and not path.name.startswith(".") for path in out.rglob("*"))


def killed_over_old_results(case: Case) -> None:
    """The results of an earlier run stay as they were until new ones are whole."""
    out = case.new_output()
    case.check_rerun(out)
    before = digests(out)
    process = start("register.py", *arguments(case.inputs, out, refine=4))
    step_of(process, "assemble")
    process.kill()
    finish(process)
    after = {name: digest for name, digest in digests(out).items() if ".writing-" not in name}
    assert set(after) == set(before)
    case.check(out)


def terminated(case: Case, step: str) -> None:
    """SIGTERM: a clear word, an exit status, and no temporary files."""
    out = case.new_output()
    process = start("register.py", *arguments(case.inputs, out, refine=300))
    step_of(process, step)
    process.terminate()
    run = finish(process)
    check_message(run, "interrupted", status=130)
    assert not out.exists() or not list(out.rglob(".writing-*"))
    case.check(out)


def interrupted(case: Case) -> None:
    out = case.new_output()
    process = start("register.py", *arguments(case.inputs, out, refine=300))
    step_of(process, "refine")
    process.send_signal(signal.SIGINT)
    check_message(finish(process), "interrupted", status=130)
    case.check(out)


def limited(resource_name: str, limit: int) -> Callable[[], None]:
    """What a child does before it starts: limit itself."""
    import resource

    kind = getattr(resource, resource_name)
    return lambda: resource.setrlimit(kind, (limit, limit))


def disk_full(case: Case, size: int) -> None:
    """No file can grow beyond `size` bytes, as with a quota."""
    out = case.new_output()
    process = start("register.py", *arguments(case.inputs, out), "--quiet", preexec_fn=limited("RLIMIT_FSIZE", size))
    check_message(finish(process), "cannot be written", status=1)
    assert not list(out.rglob(".writing-*"))
    case.check(out)


def disk_full_for(case: Case, option: str, size: int) -> None:
    """The same with one output alone, so that each kind of file is the one that does not fit."""
    out = case.new_output()
    command = arguments(case.inputs, out)
    for other in OUTPUTS:
        if other != option and other != "--report":
            at = command.index(other)
            del command[at : at + 2]
    process = start("register.py", *command, "--quiet", preexec_fn=limited("RLIMIT_FSIZE", size))
    run = finish(process)
    check_message(run, "cannot be written", status=1)
    assert not list(out.rglob("*.*"))
    case.check(out)


def small_filesystem(case: Case, kilobytes: int) -> None:
    """A real, full disk; needs the right to mount one."""
    out = case.new_output()
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(out)])
    assert mounted.returncode == 0
    try:
        process = start("register.py", *arguments(case.inputs, out, report=True), "--quiet")
        check_message(finish(process), "cannot be written", status=1)
        assert not list(out.rglob(".writing-*"))
        case.check(out, rerun=False)
    finally:
        subprocess.run(["umount", str(out)], check=True)
    case.check(out)


def without_privileges() -> None:
    """Let file permissions count for root, too: for a child before it starts."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, capability)  # PR_CAPBSET_DROP


def read_only_output(case: Case) -> None:
    """Refused before the work."""
    out = case.new_output()
    out.mkdir(mode=0o555)
    process = start("register.py", *arguments(case.inputs, out), preexec_fn=without_privileges)
    run = finish(process)
    check_message(run, "cannot be written", "choose another folder", status=2)
    assert "align" not in run.err
    out.chmod(0o755)
    case.check(out)


def output_becomes_read_only(case: Case) -> None:
    """After the check, before the writing."""
    out = case.new_output()
    out.mkdir()
    process = start("register.py", *arguments(case.inputs, out), preexec_fn=without_privileges)
    step_of(process, "align")
    out.chmod(0o555)
    check_message(finish(process), "cannot be written", "Permission denied", status=1)
    out.chmod(0o755)
    case.check(out)


def output_folder_vanishes(case: Case) -> None:
    """It is made again: nothing is lost."""
    out = case.new_output()
    out.mkdir()
    process = start("register.py", *arguments(case.inputs, out))
    step_of(process, "align")
    out.rmdir()
    run = finish(process)
    assert run.status == 0, run.err
    case.check(out)


def memory_limit(case: Case, megabytes: int) -> None:
    """So little address space that the work cannot be done, wherever it runs out."""
    out = case.new_output()
    process = start("register.py", *arguments(case.inputs, out), "--quiet", "--spacing", "0.5",
                    preexec_fn=limited("RLIMIT_AS", megabytes << 20))  # fmt: skip
    check_message(finish(process), "memory", status=1)
    case.check(out)


def input_changed_while_read(case: Case, rounds: int) -> None:
    """A file that is replaced again and again by half of itself and by the whole: read whole, or refused."""
    out = case.new_output()
    changing = out.with_name(out.name + " changing.nii.gz")
    whole = (case.inputs / "moving.nii.gz").read_bytes()
    changing.write_bytes(whole)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            changing.write_bytes(whole[: len(whole) // 2])
            changing.write_bytes(whole)

    command = arguments(case.inputs, out) + ["--quiet"]
    command[command.index("--moving") + 1] = str(changing)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        statuses = [register_here(command) for _ in range(rounds)]
    finally:
        stop.set()
        thread.join()
    assert set(statuses) <= {0, 2}
    changing.unlink()
    case.check(out)
    # what got through was read whole: the same transform as from the untouched file
    if 0 in statuses:
        import SimpleITK as sitk

        assert sitk.ReadTransform(str(out / "t.h5")).GetNumberOfParameters() > 0


def input_removed(case: Case) -> None:
    """After it was read, it is not missed; before, it is."""
    out, copy = case.new_output(), case.folder / "copy"
    shutil.copytree(case.inputs, copy)
    process = start("register.py", *arguments(copy, out))
    step_of(process, "align")
    shutil.rmtree(copy)
    run = finish(process)
    assert run.status == 0, run.err
    check_message(finish(start("register.py", *arguments(copy, out))), "does not exist", status=2)
    case.check(out)


def two_into_one_output(case: Case) -> None:
    """Each file is one of the two runs', whole."""
    out = case.new_output()
    processes = [start("register.py", *arguments(case.inputs, out, refine=n), "--quiet") for n in (3, 5)]
    for process in processes:
        run = finish(process)
        assert run.status == 0, run.err
    assert not list(out.rglob(".writing-*"))
    case.check(out)


def four_at_once(case: Case) -> None:
    """The same result from each, as if it were alone."""
    outs = [case.new_output() for _ in range(4)]
    for process in [start("register.py", *arguments(case.inputs, out), "--quiet") for out in outs]:
        run = finish(process)
        assert run.status == 0, run.err
    transforms = {digests(out)["i.nrrd"] for out in outs}
    assert len(transforms) == 1
    for out in outs:
        assert list(not_whole(out)) == []
    case.check(outs[0])


CLOCK = """
import datetime, itertools, time
jumps = itertools.cycle((0.0, 7200.0, -90000.0, 4e9, -1.5e9))
real = time.time
time.time = lambda: max(0.0, real() + next(jumps))
time.time_ns = lambda: int(time.time() * 1e9)
"""


def clock_jumps(case: Case) -> None:
    """The time of day goes forth and back by hours, days and decades between any two looks at it."""
    out = case.new_output()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(CLOCK, encoding="utf-8")
        process = start("register.py", *arguments(case.inputs, out, report=True), env={"PYTHONPATH": folder})
        run = finish(process)
    assert run.status == 0, run.err
    import json

    seconds = json.loads((out / "m.json").read_text(encoding="utf-8"))["seconds"]
    assert all(0 <= value < 600 for value in seconds.values()), seconds
    case.check(out)


def files_of_the_future(case: Case) -> None:
    out = case.new_output()
    out.mkdir()
    for name in OUTPUTS.values():
        if name != "report":
            path = out / name
            path.write_bytes(b"old")
            os.utime(path, (4e9, 4e9))
    run = finish(start("register.py", *arguments(case.inputs, out), "--quiet"))
    assert run.status == 0, run.err
    case.check(out)


LOST_GPU = """
import sys, torch
from torch import nn
import runpy
real = torch.Tensor.to
def to(self, *a, **k):
    if "cuda" in map(str, [*a, *k.values()]):
        raise RuntimeError("CUDA error: the device is lost\\nCUDA kernel errors might be asynchronously reported")
    return real(self, *a, **k)
torch.Tensor.to = to
torch.cuda.is_available = lambda: True
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def gpu_disappears(case: Case) -> None:
    """It is there when asked for, and fails when the first tensor goes to it."""
    from faults.harness import ENVIRONMENT, SCRIPTS

    out = case.new_output()
    process = subprocess.Popen(
        [sys.executable, "-c", LOST_GPU, str(SCRIPTS / "register.py"), *arguments(case.inputs, out), "--quiet"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    check_message(finish(process), "GPU failed", "--device cpu", status=1)
    case.check(out)


def closed_output(case: Case) -> None:
    """The reader of stdout and stderr has gone away, as with `| head`."""
    out = case.new_output()
    process = start("register.py", *arguments(case.inputs, out))
    process.stdout.close()
    process.stderr.close()
    process.wait(timeout=240)
    case.check(out)


def phantom_disk_full(case: Case) -> None:
    out = case.new_output()
    process = start("phantom.py", "--output", out, "--size", 40, 40, 40, preexec_fn=limited("RLIMIT_FSIZE", 20_000))
    check_message(finish(process), "phantom.py", "cannot be written", status=1)
    assert list(not_whole(out)) == []


def phantom_terminated(case: Case) -> None:
    out = case.new_output()
    process = start("phantom.py", "--output", out, "--size", 96, 96, 96)
    wait_until(lambda: out.exists() and any(out.glob(".writing-*")), process)
    process.terminate()
    run = finish(process)
    assert run.status in (130, 0) and "Traceback" not in run.err, run.err
    assert list(not_whole(out)) == [] and not list(out.glob(".writing-*"))
