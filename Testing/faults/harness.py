"""A small case, the real scripts and the real worker on it, and what must hold after anything that was done to them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE_FOLDER = REPOSITORY / "GradientGuidedRegistration"
SCRIPTS = MODULE_FOLDER / "Scripts"
WORKER = MODULE_FOLDER / "GradientGuidedRegistrationLib" / "worker.py"
if str(MODULE_FOLDER) not in sys.path:
    sys.path.insert(0, str(MODULE_FOLDER))

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
OUTPUTS = {
    "--transform": "t.h5",
    "--inverse-transform": "i.nrrd",
    "--warped": "w.nii.gz",
    "--warped-segmentation": "s.mha",
    "--metrics": "m.json",
    "--report": "report",
}
PNG_END = b"IEND\xaeB`\x82"


def make_case(folder: Path, voxels: int = 40) -> Path:
    """Write a CT-MR pair with segmentations into a new folder."""
    from GradientGuidedRegistrationLib.training.phantom import phantom_images

    folder.mkdir(parents=True)
    images = phantom_images(4, shape=(voxels, voxels, voxels), spacing=160.0 / voxels)
    for name in ("fixed", "moving", "fixed_labels", "moving_labels"):
        sitk.WriteImage(images[name], str(folder / f"{name}.nii.gz"))
    return folder


@dataclass
class Run:
    """How a process ended: exit status (negative for a signal), and what it printed."""

    status: int
    out: str
    err: str


def arguments(case: Path, out: Path, *, refine: int = 3, report: bool = False) -> list[str]:
    """The command line of register.py that writes everything there is to write."""
    given = ["--fixed", case / "fixed.nii.gz", "--moving", case / "moving.nii.gz",
             "--fixed-segmentation", case / "fixed_labels.nii.gz",
             "--moving-segmentation", case / "moving_labels.nii.gz",
             "--no-network", "--refine", refine]  # fmt: skip
    for option, name in OUTPUTS.items():
        if option != "--report" or report:
            given += [option, out / name]
    return [str(part) for part in given]


def start(script: str | Path, *command: object, **options: Any) -> subprocess.Popen:
    """Start a script of the extension in a process of its own."""
    options["env"] = {**ENVIRONMENT, **options.get("env", {})}
    limit = options.pop("preexec_fn", None)

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        if limit is not None:
            limit()

    options["preexec_fn"] = prepare
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / script), *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        **options,
    )


def finish(process: subprocess.Popen, seconds: float = 240) -> Run:
    out, err = process.communicate(timeout=seconds)
    return Run(process.returncode, out, err)


def step_of(process: subprocess.Popen, name: str) -> str:
    """Wait until register.py says that it begins a step; returns what it has said up to then."""
    said = ""
    for line in process.stderr:
        said += line
        if line.rstrip().endswith(name):
            return said
    raise AssertionError(f"ended before '{name}': {said}")


def wait_until(condition: Callable[[], Any], process: subprocess.Popen, seconds: float = 120) -> None:
    """Look every millisecond, until something is so or the process ends."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)


def digests(folder: Path) -> dict[str, str]:
    """What is in the files of a folder."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


def not_whole(folder: Path) -> Iterator[str]:
    """Name the files that stand under a final name and cannot be read to their end."""
    from GradientGuidedRegistrationLib.registration.nifti import check_whole

    for path in sorted(folder.rglob("*")):
        if not path.is_file() or any(part.startswith(".") or part.endswith(".part") for part in path.parts):
            continue
        try:
            if path.name.endswith((".nii", ".nii.gz")):
                check_whole(path)
            if path.name.endswith((".nii", ".nii.gz", ".nrrd", ".mha")):
                sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
            elif path.suffix in (".h5", ".tfm"):
                sitk.ReadTransform(str(path)).TransformPoint((0.0, 0.0, 0.0))
            elif path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".png":
                assert path.read_bytes().endswith(PNG_END)
            elif path.suffix == ".html":
                assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
            elif path.suffix == ".pt":
                import torch

                torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            yield f"{path.name}: {error}"


def check_message(run: Run, *words: str, status: int | None = None) -> None:
    """The last line on stderr says what happened; no trace is shown."""
    assert "Traceback" not in run.err, run.err
    assert run.status != 0, run.out
    assert status is None or run.status == status, (run.status, run.err)
    last = run.err.strip().splitlines()[-1] if run.err.strip() else ""
    assert all(word.lower() in last.lower() for word in words), run.err


class Case:
    """The inputs, an output folder of its own for each fault, and the promises that are kept."""

    def __init__(self, folder: Path) -> None:
        self.inputs = make_case(folder / "inputs")
        self.folder = folder
        self._before = digests(self.inputs)
        self._number = 0

    def new_output(self) -> Path:
        """A folder that does not exist yet."""
        self._number += 1
        return self.folder / f"out {self._number}"

    def check(self, out: Path, *, rerun: bool = True) -> None:
        """No half-written file, inputs as they were; and the same command works now."""
        assert digests(self.inputs) == self._before, "an input was changed"
        assert list(not_whole(out)) == []
        if rerun:
            self.check_rerun(out)

    def check_rerun(self, out: Path) -> None:
        """In this process, to save the start of another."""
        assert register_here(arguments(self.inputs, out) + ["--quiet"]) == 0
        assert {path.name for path in out.iterdir()} >= set(OUTPUTS.values()) - {"report"}
        assert list(not_whole(out)) == []


def register_here(command: list[str]) -> int:
    """`main` of register.py in this process."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("register_script", SCRIPTS / "register.py")
    assert spec is not None and spec.loader is not None
    script = sys.modules.get(spec.name)
    if script is None:
        script = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = script
        spec.loader.exec_module(script)
    return script.main(command)
