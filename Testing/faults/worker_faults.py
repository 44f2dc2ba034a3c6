"""Faults of the panel's background process, and of training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from faults.harness import ENVIRONMENT, WORKER, Case, check_message, finish, not_whole, start, wait_until
from faults.script_faults import LOST_GPU, limited

FINISHED, FAILED = 0, 1


def job(case: Case, **settings: object) -> Path:
    """A job folder as the panel writes it."""
    import SimpleITK as sitk

    from GradientGuidedRegistrationLib.registration import Settings
    from GradientGuidedRegistrationLib.registration.storage import Job, write_job

    folder = case.new_output()
    folder.mkdir()
    (folder / "request.json").write_text(json.dumps({"task": "register"}), encoding="utf-8")
    fixed, moving = (
        sitk.ReadImage(str(case.inputs / f"{name}.nii.gz"), sitk.sitkFloat32) for name in ("fixed", "moving")
    )
    write_job(Job(fixed, moving, Settings(**{"refine": 3, "use_network": False, **settings})), folder / "input")
    return folder


def begin(folder: Path, code: str | None = None, **options: object) -> subprocess.Popen:
    """Start the worker; `code` runs it in its own way."""
    command = [sys.executable, *(["-c", code] if code else []), str(WORKER), str(folder)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options
    )


def events(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def wait_for_step(process: subprocess.Popen, step: str) -> None:
    for line in process.stdout:
        event = json.loads(line)
        if event.get("step") == step:
            return
    raise AssertionError(f"ended before '{step}': {process.stderr.read()}")


def check_rerun(folder: Path) -> None:
    """The same job again, in this process, and its result can be read."""
    import io

    from GradientGuidedRegistrationLib import worker
    from GradientGuidedRegistrationLib.registration.storage import read_result

    stream = io.StringIO()
    assert worker.run(worker.Task(folder, worker.Events(stream))) == FINISHED, stream.getvalue()
    assert read_result(folder / "result").field.GetNumberOfComponentsPerPixel() == 3
    assert not list(folder.glob("*.part")) and list(not_whole(folder)) == []


def worker_killed_at_a_step(case: Case, step: str) -> None:
    folder = job(case)
    process = begin(folder)
    wait_for_step(process, step)
    process.kill()
    assert finish(process).status == -signal.SIGKILL
    assert list(not_whole(folder)) == []
    check_rerun(folder)


def worker_killed_while_writing(case: Case, files: int) -> None:
    """When the unfinished result folder holds some files."""
    folder = job(case)
    process = begin(folder)
    part = folder / "result.part"
    wait_until(lambda: part.exists() and len(os.listdir(part)) >= files, process)
    process.kill()
    finish(process)
    assert list(not_whole(folder)) == []
    check_rerun(folder)


def worker_repeats_a_finished_job(case: Case) -> None:
    folder = job(case)
    assert finish(begin(folder)).status == FINISHED
    check_rerun(folder)


def worker_terminated(case: Case) -> None:
    folder = job(case, refine=300)
    process = begin(folder)
    wait_for_step(process, "refine")
    process.terminate()
    assert finish(process).status == -signal.SIGTERM
    assert not (folder / "result").exists()
    (folder / "cancel").unlink(missing_ok=True)
    check_rerun(folder)


def worker_disk_full(case: Case, size: int) -> None:
    folder = job(case)
    run = finish(begin(folder, preexec_fn=limited("RLIMIT_FSIZE", size)))
    last = events(run.out)[-1]
    assert run.status == FAILED and last["event"] == "failed", run.out
    assert "too large" in last["message"].lower() or "write" in last["message"].lower(), last
    assert "\n" not in last["message"]
    assert not (folder / "result").exists() and not list(folder.glob("*.part"))
    check_rerun(folder)


def worker_loses_its_gpu(case: Case) -> None:
    """It goes on with the CPU, and says so."""
    folder = job(case)
    run = finish(begin(folder, LOST_GPU))
    said = events(run.out)
    assert run.status == FINISHED, run.err
    assert any(e["event"] == "note" and "CPU" in e["text"] for e in said)
    assert said[-1]["device"] == "cpu"
    check_rerun(folder)


def worker_job_is_incomplete(case: Case) -> None:
    """A job whose image, settings or request was cut short or is missing."""
    for name in ("input/fixed.mha", "input/settings.json", "request.json"):
        folder = job(case)
        path = folder / name
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], None):
            path.write_bytes(content) if content is not None else path.unlink()
            run = finish(begin(folder))
            last = events(run.out)[-1]
            assert run.status not in (FINISHED, -signal.SIGKILL) and last["event"] == "failed", (name, run)
            assert "Traceback" not in run.out + run.err, (name, run.err)
        path.write_bytes(whole)
        check_rerun(folder)


TRAINING = ("--preset", "cpu", "--steps", 6, "--shape", 32, 32, 32, "--batch", 1, "--workers", 0, "--device", "cpu",
            "--validation-cases", 1, "--checkpoint-every", 2, "--validate-every", 6, "--quiet")  # fmt: skip


def resumed(out: Path) -> None:
    """The run can be continued to its end."""
    run = finish(start("train.py", "--output", out, *TRAINING, "--resume"))
    assert run.status == 0, run.err
    assert (out / "checkpoint.pt").is_file() and list(not_whole(out)) == []


def training_killed(case: Case, signal_number: int) -> None:
    """After the first checkpoint: nothing half-written, and --resume ends the run."""
    out = case.new_output()
    process = start("train.py", "--output", out, *TRAINING)
    wait_until(lambda: (out / "checkpoint.pt").exists(), process)
    process.send_signal(signal_number)
    run = finish(process)
    if signal_number != signal.SIGKILL:
        check_message(run, "interrupted", "--resume", status=130)
    assert list(not_whole(out)) == []
    resumed(out)


def training_disk_full(case: Case, size: int) -> None:
    out = case.new_output()
    process = start("train.py", "--output", out, *TRAINING, preexec_fn=limited("RLIMIT_FSIZE", size))
    run = finish(process)
    assert run.status in (1, 2) and "Traceback" not in run.err, run.err
    assert run.err.strip().splitlines()[-1].startswith("train.py: "), run.err
    assert list(not_whole(out)) == []
    again = finish(start("train.py", "--output", out, *TRAINING))
    assert again.status == 0, again.err


def two_trainings_into_one_folder(case: Case) -> None:
    """The second is refused, the first goes on."""
    out = case.new_output()
    first = start("train.py", "--output", out, *TRAINING)
    wait_until(lambda: (out / "losses.csv").exists(), first)
    first.send_signal(signal.SIGSTOP)  # so that it has not ended before the second begins
    second = start("train.py", "--output", out, *TRAINING)
    try:
        check_message(finish(second), "train.py", "another run is writing", "choose another output folder", status=2)
    finally:
        first.send_signal(signal.SIGCONT)
    assert finish(first).status == 0
    assert list(not_whole(out)) == []
