"""What is printed never makes a script fail: neither letters that an encoding lacks nor a reader that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "GradientGuidedRegistration"
SCRIPT = """
import sys
from GradientGuidedRegistrationLib.command import ProgressBar, run_command

def work():
    with ProgressBar() as bar:
        bar("linear", 0.1)
        print("Léber 肝 \\udcff", flush=True)
        print("x" * 100_000)
        bar("refine", 0.9)
    with open(sys.argv[1], "w") as file:
        file.write("finished")
    return 0

sys.exit(run_command(work))
"""


def run(path: Path, stdout: int | IO[Any], stderr: int | IO[Any], **environment: str) -> subprocess.CompletedProcess:
    """Print, and write to `path` after it."""
    code = [sys.executable, "-c", SCRIPT, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER), **environment}
    done = subprocess.run(code, stdout=stdout, stderr=stderr, env=environment)
    assert path.read_text() == "finished"
    return done


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "ascii:strict"])
def test_letters_that_the_terminal_does_not_have(tmp_path: Path, encoding: str) -> None:
    done = run(tmp_path / "a", subprocess.PIPE, subprocess.PIPE, PYTHONIOENCODING=encoding)
    codec = encoding.partition(":")[0]
    first = done.stdout.splitlines()[0].decode(codec)
    assert first == "Léber 肝 \udcff".encode(codec, "backslashreplace").decode(codec)
    assert done.returncode == 0 and b"90 % refine" in done.stderr


@pytest.mark.parametrize("both", [False, True])
def test_a_reader_that_is_gone(tmp_path: Path, both: bool) -> None:
    """As with `| head`."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(tmp_path / "a", writer, writer if both else subprocess.PIPE)
    finally:
        os.close(writer)
    assert done.returncode == 0
    assert both or done.stderr.split() == b"10 % linear 90 % refine".split()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run(tmp_path / "a", full, subprocess.PIPE)
    assert done.returncode == 0 and done.stderr.count(b"what is printed is lost: No space left on device") == 1
