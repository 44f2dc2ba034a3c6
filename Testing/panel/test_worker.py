"""The background process itself: started for real, heard through its lines, stopped in every way there is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib import worker
from GradientGuidedRegistrationLib.registration import storage
from GradientGuidedRegistrationLib.registration.settings import Settings

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


def image(size: int, seed: int) -> sitk.Image:
    """A blob on noise, oblique and anisotropic."""
    k, j, i = np.indices((size, size, size)) - size / 2
    blob = 100.0 * (i**2 / 2 + j**2 + k**2 < (size / 4) ** 2)
    values = blob + np.random.default_rng(seed).normal(size=blob.shape)
    result = sitk.GetImageFromArray(values.astype(np.float32))
    result.SetSpacing((1.0, 1.0, 2.0))
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.1, 0.2, -0.1)
    result.SetDirection(turn.GetMatrix())
    return sitk.SmoothingRecursiveGaussian(result, 1.0)


def job(size: int = 20, **settings: Any) -> storage.Job:
    return storage.Job(image(size, 1), image(size, 2), Settings(**{"use_network": False, "refine": 2, **settings}))


def prepare(folder: Path, task: str = "register", **request: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / worker.REQUEST).write_text(json.dumps({"task": task, **request}), encoding="utf-8")
    return folder


def start(folder: Path, **options: Any) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, worker.__file__, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        **options,
    )


def events_of(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def wait_for(process: subprocess.Popen, event: str) -> dict:
    for line in process.stdout:
        values = json.loads(line)
        if values["event"] == event:
            return values
    raise AssertionError(f"ended with {process.wait()} before '{event}': {process.stderr.read().decode()}")


def test_registers_in_a_folder_with_blanks_and_other_scripts(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "Prüfung 試験 1")
    initial = sitk.TranslationTransform(3, (1.0, 2.0, 3.0))
    storage.write_job(replace(job(), initial_transform=initial), folder / worker.INPUT)
    process = start(folder)
    output, errors = process.communicate(timeout=60)
    events = events_of(output)
    assert process.returncode == worker.FINISHED, errors.decode()
    assert events[0] == {"event": "started", "pid": process.pid}
    steps = [event["step"] for event in events if event["event"] == "progress"]
    assert {"prepare", "align", "refine", "assemble", "done"} <= set(steps)
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    assert [event["event"] for event in events].count("finished") == 1
    assert events[-1]["device"] == "cpu"
    result = storage.read_result(folder / worker.RESULT)
    assert result.field.GetNumberOfComponentsPerPixel() == 3
    assert result.quality == events[-1]["quality"]
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_report_that_is_cancelled_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    from types import SimpleNamespace

    from GradientGuidedRegistrationLib import figures
    from GradientGuidedRegistrationLib.errors import Cancelled
    from GradientGuidedRegistrationLib.figures import job as report_job

    folder = prepare(tmp_path / "job", "report", directory=str(tmp_path / "report"), title="CT to MR")
    old = tmp_path / "report" / "report.html"
    old.parent.mkdir()
    old.write_text("old")

    def draw(result: Any, fixed: Any, moving: Any, directory: Path, **_options: Any) -> Path:
        directory.mkdir()
        for name in ("report.html", "a.png"):
            (directory / name).write_text("new")
        if cancelled:
            (folder / worker.CANCEL).touch()
        return directory / "report.html"

    monkeypatch.setattr(figures, "write_report", draw)
    monkeypatch.setattr(
        report_job,
        "read_report_job",
        lambda path: SimpleNamespace(
            **dict.fromkeys(("result", "fixed", "moving", "fixed_labels", "moving_labels", "label_names"))
        ),
    )
    task = worker.Task(folder, worker.Events(sys.stderr))
    if cancelled:
        with pytest.raises(Cancelled):
            worker.report(task)
        assert [path.name for path in old.parent.iterdir()] == ["report.html"]
        assert old.read_text() == "old"
    else:
        assert worker.report(task) == {"path": str(old)}
        assert sorted(path.name for path in old.parent.iterdir()) == ["a.png", "report.html"]
        assert old.read_text() == "new"


@pytest.mark.parametrize("cooperative", [True, False], ids=["in the work", "where nobody asks"])
def test_ends_within_two_seconds_of_a_cancel_file(tmp_path: Path, cooperative: bool) -> None:
    folder = prepare(tmp_path / "job")
    storage.write_job(job(32, refine=10_000), folder / worker.INPUT)
    process = start(folder)
    wait_for(process, "progress" if cooperative else "started")
    if cooperative:
        while (wait_for(process, "progress"))["step"] != "refine":
            pass
    begin = time.monotonic()
    (folder / worker.CANCEL).touch()
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - begin < 2.0
    assert process.returncode == worker.CANCELLED
    assert events_of(output)[-1] == {"event": "cancelled"}
    assert not (folder / worker.RESULT).exists()


@POSIX
def test_is_a_group_of_its_own_that_a_kill_ends_whole(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "job")
    storage.write_job(job(32, refine=10_000), folder / worker.INPUT)
    process = start(folder)
    pid = wait_for(process, "started")["pid"]
    assert os.getpgid(pid) == pid != os.getpgid(0)
    os.killpg(pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / worker.RESULT).exists()


@POSIX
def test_memory_that_runs_out_is_told_as_such(tmp_path: Path) -> None:
    import resource

    folder = prepare(tmp_path / "job")
    large = sitk.Image(400, 400, 400, sitk.sitkUInt8)  # 64 MB on disk, and 256 MB for each copy as float
    large[100:300, 100:300, 100:300] = 1
    storage.write_job(storage.Job(large, large, Settings(use_network=False)), folder / worker.INPUT)
    limit = 1_500_000_000
    process = start(folder, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    output, errors = process.communicate(timeout=60)
    event = events_of(output)[-1]
    assert process.returncode == worker.FAILED, errors.decode()
    assert (event["event"], event["kind"]) == ("failed", "memory"), event


@POSIX
def test_a_reader_that_goes_away_does_not_stop_the_work(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "job")
    storage.write_job(job(), folder / worker.INPUT)
    process = start(folder)
    process.stdout.close()
    assert process.wait(timeout=60) == worker.FINISHED, process.stderr.read().decode()
    assert storage.read_result(folder / worker.RESULT).linear is not None
    process.stderr.close()


@POSIX
def test_ends_and_cleans_up_when_its_parent_is_gone(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    folder = prepare(tmp_path / "job", parent=parent.pid)
    storage.write_job(job(32, refine=10_000), folder / worker.INPUT)
    process = start(folder)
    wait_for(process, "progress")
    assert process.poll() is None
    parent.kill()
    parent.wait()
    process.communicate(timeout=10)
    assert process.returncode == worker.CANCELLED
    assert not folder.exists()


def test_bad_input_is_told_in_a_sentence(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "job")
    constant = sitk.Image(20, 20, 20, sitk.sitkFloat32)
    storage.write_job(storage.Job(constant, image(20, 2), Settings()), folder / worker.INPUT)
    process = start(folder)
    output, errors = process.communicate(timeout=60)
    event = events_of(output)[-1]
    assert process.returncode == worker.REFUSED
    assert event["kind"] == "input"
    assert "constant" in event["message"]
    assert "Traceback" not in errors.decode()


def test_phantom_and_probe(tmp_path: Path) -> None:
    """Both tasks in this process, to save the start of two."""
    sent: list[dict] = []
    events = worker.Events.__new__(worker.Events)
    events.send = lambda event, **values: sent.append({"event": event, **values})  # type: ignore[method-assign]
    folder = prepare(tmp_path / "phantom", "phantom", options={"shape": [24, 24, 24], "kind": "shapes"})
    assert worker.run(worker.Task(folder, events)) == worker.FINISHED
    files = {path.name for path in (folder / worker.RESULT).iterdir()}
    assert files == {"fixed.mha", "moving.mha", "fixed_labels.mha", "moving_labels.mha", "names.json"}
    assert worker.run(worker.Task(prepare(tmp_path / "probe", "probe"), events)) == worker.FINISHED
    assert sent[-1]["devices"]["cpu"]["free"] > 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory"),
        (RuntimeError("std::bad_alloc"), "memory"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "torch"),
        (ValueError("other"), "error"),
    ],
)
def test_kinds_of_failure(error: Exception, kind: str) -> None:
    assert worker._kind(error) == kind


def test_only_one_end_is_told() -> None:
    import io

    stream = io.StringIO()
    events = worker.Events(stream)
    events.send("finished")
    events.send("cancelled")
    assert stream.getvalue() == '{"event": "finished"}\n'


@POSIX
def test_a_job_folder_that_vanishes_ends_the_work_and_is_not_made_again(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "job")
    storage.write_job(job(24, refine=400), folder / worker.INPUT)
    process = start(folder)
    wait_for(process, "progress")
    shutil.rmtree(folder)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == worker.CANCELLED and events_of(out)[-1] == {"event": "cancelled"}
    assert b"Traceback" not in errors and not folder.exists()
