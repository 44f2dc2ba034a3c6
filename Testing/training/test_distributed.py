"""train.py as a program: processes under torchrun, a bare machine, a kill, exit codes."""

from __future__ import annotations

import csv
import importlib.util
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from GradientGuidedRegistrationLib.training import distributed
from GradientGuidedRegistrationLib.training.case_table import read_cases

ARGUMENTS = [
    *("--method", "vm", "--shape", "32", "32", "32", "--validation-shape", "24", "24", "24", "--validation-cases", "1"),
    *("--validate-every", "100", "--checkpoint-every", "1", "--device", "cpu", "--threads", "1"),
    *("--schedule", "constant", "--learning-rate", "1e-3", "--quiet", "--shapes-fraction", "1"),
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def run(command: list[str], **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=240, **options)


def losses(folder: Path) -> list[float]:
    with open(folder / "losses.csv", newline="", encoding="utf-8") as file:
        return [float(row["total"]) for row in csv.DictReader(file)]


SEED = ["--seed", "24"]  # of phantoms whose CT has little padding to begin with


def train_in_three(scripts: Path, folder: Path, *options: str) -> Path:
    """A training in three processes: a sum of two numbers knows no order, one of three does."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=3"]
    done = run([*launcher, str(scripts / "train.py"), "--output", str(folder), *ARGUMENTS, *SEED, *options])
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def three(scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three steps in three processes."""
    if sys.platform == "win32":
        pytest.skip("gloo with torchrun is tested on Linux and macOS")
    return train_in_three(scripts, tmp_path_factory.mktemp("three") / "run", "--steps", "3")


def test_three_processes_do_what_one_does_with_thrice_the_batch(scripts: Path, tmp_path: Path, three: Path) -> None:
    command = [sys.executable, str(scripts / "train.py"), "--output", str(tmp_path / "one"), "--batch", "3"]
    one = run([*command, *ARGUMENTS, *SEED, "--steps", "3"])
    assert one.returncode == 0, one.stderr[-2000:]
    # The batch weighs its voxels together, the processes each their own: equal up to the share of CT padding.
    assert losses(three) == pytest.approx(losses(tmp_path / "one"), rel=8e-3)


def test_resumed_run_of_three_processes_is_bit_equal(scripts: Path, tmp_path: Path, three: Path) -> None:
    parts = train_in_three(scripts, tmp_path / "parts", "--steps", "1")
    train_in_three(scripts, parts, "--steps", "3", "--resume")
    a, b = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (three, parts))
    assert all(torch.equal(value, b["network"][name]) for name, value in a["network"].items())
    assert (three / "losses.csv").read_text() == (parts / "losses.csv").read_text()


def test_processes_wait_for_the_one_that_validates(monkeypatch) -> None:
    """PyTorch's own patience, 10 or 30 minutes, is over before a large data set is prepared."""
    asked = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **options: asked.update(options))
    distributed.start("cpu")
    assert asked["timeout"].total_seconds() >= 24 * 3600


def test_bare_machine_with_torch_and_numpy_only(scripts: Path, tmp_path: Path) -> None:
    """No SimpleITK, no vtk, no slicer: training on phantoms works all the same."""
    program = (
        "import sys, runpy\n"
        "for name in ('SimpleITK', 'vtk', 'slicer', 'scipy', 'matplotlib'): sys.modules[name] = None\n"
        f"sys.argv = ['train.py', '--output', {str(tmp_path / 'bare')!r}, '--steps', '2', *{ARGUMENTS!r}]\n"
        f"runpy.run_path({str(scripts / 'train.py')!r}, run_name='__main__')\n"
    )
    done = run([sys.executable, "-c", program])
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(losses(tmp_path / "bare")) == 2
    assert (tmp_path / "bare" / "best.pt").is_file()


def test_killed_run_can_be_resumed(scripts: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(scripts / "train.py"), "--output", str(tmp_path / "run"), *ARGUMENTS]
    process = subprocess.Popen([*command, "--steps", "1000"], env=ENVIRONMENT)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "checkpoint.pt").is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
    finally:
        process.kill()
        process.wait()
    done = run([*command, "--resume", "--steps", "1000", "--time-limit", "0.01"])
    assert done.returncode == 0, done.stderr[-2000:]
    steps = [line.split(",")[0] for line in (tmp_path / "run" / "losses.csv").read_text().splitlines()[1:]]
    assert steps == [str(n) for n in range(1, len(steps) + 1)]
    again = run([*command, "--steps", "1000"])
    assert again.returncode == 2
    assert "holds a run already" in again.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM cannot be heard on Windows")
@pytest.mark.parametrize("world", [1, 2])
def test_terminated_run_says_how_to_go_on(scripts: Path, tmp_path: Path, world: int) -> None:
    """What it says can be copied into a shell, whatever the folder is called, and so can the command to register."""
    folder = tmp_path / "a run's folder"
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={world}"] if world > 1 else []
    command = [sys.executable, *launcher, str(scripts / "train.py"), "--output", str(folder), *ARGUMENTS]
    command += ["--checkpoint-every", "500", "--steps", "1000"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not ((folder / "losses.csv").is_file() and len(losses(folder)) > 2) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.terminate()
        message = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    start = "train.py: interrupted, a checkpoint is kept; to continue: "
    told = [line.removeprefix(start) for line in message.splitlines() if line.startswith(start)]
    assert process.returncode == 130 if world == 1 else process.returncode != 0
    assert len(told) == message.count("train.py: interrupted") == 1, message[-2000:]
    again = shlex.split(told[0])
    assert again == [*command, "--resume"]
    steps = len(losses(folder))
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == steps > 2
    done = run([*again, "--time-limit", "0.001"])
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(losses(folder)) == steps + 1
    said = done.stdout.splitlines()
    assert shlex.split(said[-2].partition("continue: ")[2]) == [*again, "--time-limit", "0.001"]
    use = shlex.split(said[-1].partition("weights: ")[2])
    assert use[1:2] == [str(scripts / "register.py")] and Path(use[-1]).is_file()


def script(path: Path):
    """A script as a module, so that its `main` can be called without starting Python again."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bad_input_ends_with_status_2_and_one_message(scripts: Path, tmp_path: Path, capsys) -> None:
    missing = ["--output", str(tmp_path / "run"), "--data", str(tmp_path / "no")]
    assert script(scripts / "train.py").main(missing) == 2
    assert capsys.readouterr().err.startswith("train.py: The training data")
    assert script(scripts / "evaluate.py").main(missing) == 2
    assert capsys.readouterr().err.startswith("evaluate.py: The training data")
    assert script(scripts / "phantom.py").main(["--output", str(tmp_path), "--size", "4", "4", "4"]) == 2
    assert "16 voxels" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", str(2**32), str(2**63), "1.5", "one"])
@pytest.mark.parametrize("name, option", [("train", "--seed"), ("evaluate", "--first-seed"), ("phantom", "--seed"),
                                          ("register", "--seed")])  # fmt: skip
def test_seeds_out_of_range_end_with_status_2(
    scripts: Path, tmp_path: Path, capsys, name: str, option: str, seed: str
) -> None:
    arguments = ["--output", str(tmp_path / "out"), f"{option}={seed}"]
    if name == "register":
        (tmp_path / "a.nii").touch()
        files = {"fixed": "a.nii", "moving": "a.nii", "transform": "t.h5"}
        arguments = [f"{option}={seed}", *(f"--{role}={tmp_path / file}" for role, file in files.items())]
    try:
        status = script(scripts / f"{name}.py").main(arguments)
    except SystemExit as end:  # argparse
        status = end.code
    message = capsys.readouterr().err
    assert status == 2 and "seed" in message and "Traceback" not in message
    assert not (tmp_path / "out").exists()


def test_phantom_script_writes_a_case_that_training_can_read(scripts: Path, tmp_path: Path) -> None:
    options = ["--output", str(tmp_path / "case"), "--size", "24", "28", "26", "--seed", "3"]
    assert script(scripts / "phantom.py").main(options) == 0
    images = {"fixed_mr", "moving_ct", "fixed_labels", "moving_labels", "truth"}
    assert {path.name for path in (tmp_path / "case").iterdir()} == {f"{n}.nii.gz" for n in images} | {"labels.json"}
    (case,) = read_cases(tmp_path)
    assert case.fixed.name == "fixed_mr.nii.gz" and case.moving_labels is not None
