"""The package as Slicer gets it: configured and installed by CMake, complete, and working with nothing beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = "GradientGuidedRegistration"
STAND_IN = Path(__file__).parent / "slicer"


def run(*command: str | Path, **options) -> str:
    """Run a command; returns what it prints."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def cmake() -> str:
    """The CMake beside this Python (from the package index), or the system's."""
    beside = Path(sys.executable).with_name("cmake")
    found = str(beside) if beside.exists() else shutil.which("cmake")
    if not found:
        pytest.skip("CMake is not installed")
    return found


@pytest.fixture(scope="module")
def staged(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the scripted module below a fresh installation of the extension."""
    folder = tmp_path_factory.mktemp("package")
    real = os.environ.get("Slicer_DIR")
    # The project names no language, so CMake looks for compilers; none is needed for scripts.
    no_compiler = [f"-DCMAKE_{what}_COMPILER_FORCED=1" for what in ("C", "CXX")]
    no_compiler += [f"-DCMAKE_{what}_COMPILER={sys.executable}" for what in ("C", "CXX")]
    run(cmake(), "-S", repository, "-B", folder / "build", f"-DSlicer_DIR={real or STAND_IN}",
        "-DBUILD_TESTING=ON", f"-DCMAKE_INSTALL_PREFIX={folder / 'stage'}", *([] if real else no_compiler))  # fmt: skip
    run(cmake(), "--build", folder / "build") if real else None
    run(cmake(), "--install", folder / "build")
    return next((folder / "stage").rglob(f"{MODULE}.py")).parent


def files_of(folder: Path) -> dict[str, Path]:
    """The files of a module folder by relative path, without caches, CMake files and tests."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix != ".pyc"
        and not path.name.startswith(".")
        and path.name != "CMakeLists.txt"
    }


def test_the_installed_tree_is_the_source_tree(repository: Path, staged: Path) -> None:
    source, package = files_of(repository / MODULE), files_of(staged)
    assert sorted(source) == sorted(package)
    different = [name for name in source if source[name].read_bytes() != package[name].read_bytes()]
    assert different == []


SELF_TESTS = """
import json, subprocess, sys, tempfile, unittest
from pathlib import Path
stage = sys.argv[1]
sys.path.insert(0, stage)
from GradientGuidedRegistrationLib import headless
module = headless.load_module()
import slicer
from GradientGuidedRegistrationLib import mrml, worker
from GradientGuidedRegistrationLib.panel import samples
from GradientGuidedRegistrationLib.self_tests import SelfTests

def download_phantom():  # the panel's own way needs Qt's processes and events
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / worker.REQUEST).write_text(json.dumps({"task": "phantom"}))
        subprocess.run([sys.executable, worker.__file__, folder], check=True, capture_output=True)
        return list(mrml.load_phantom(Path(folder) / worker.RESULT, slicer.mrmlScene).values())

samples.download_phantom = download_phantom

class FromThePackage(SelfTests, unittest.TestCase):
    pass

suite = unittest.TestSuite(FromThePackage(name) for name in sys.argv[2:])
result = unittest.TextTestRunner(verbosity=2).run(suite)
ours = [m.__file__ for name, m in sys.modules.items() if name.startswith("GradientGuided") and m.__file__]
assert ours and all(Path(path).is_relative_to(stage) for path in ours), ours
sys.exit(0 if result.wasSuccessful() and not result.skipped else 1)
"""


def test_the_logic_works_from_the_package_alone(_host: object, staged: Path, tmp_path: Path) -> None:
    """Slicer's self-tests of the Logic: a round trip, a transform, a registration and a training."""
    tests = ("test_VolumeRoundTrip", "test_TransformNode", "test_LogicRegistersAPhantom", "test_TrainingTwoSteps")
    said = run(sys.executable, "-I", "-c", SELF_TESTS, staged, *tests, cwd=tmp_path)
    assert said.count("... ok") == len(tests), said


@pytest.mark.parametrize("script", ["register.py", "train.py", "evaluate.py", "phantom.py"])
def test_the_scripts_start_from_the_package(staged: Path, tmp_path: Path, script: str) -> None:
    assert "--output" in run(sys.executable, "-I", staged / "Scripts" / script, "--help", cwd=tmp_path) or (
        script == "register.py"
    )
