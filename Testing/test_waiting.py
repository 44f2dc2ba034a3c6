"""Threads that wait for each other sleep soon: what GNU OpenMP itself says of its settings when PyTorch loads it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from GradientGuidedRegistrationLib import worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="PyTorch brings another OpenMP")
SCRIPT = """
import sys
from GradientGuidedRegistrationLib.command import run_command

def work():
    import torch
    return 0

sys.exit(run_command(work))
"""


def turns(command: list[str], **environment: str) -> int:
    """How often a waiting thread looks before it sleeps, in a process of this command."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    folder = str(Path(worker.__file__).parents[1])
    environment = {**inherited, "PYTHONPATH": folder, "OMP_DISPLAY_ENV": "VERBOSE", **environment}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", run.stderr)
    assert found, run.stderr
    return int(found[1])


@pytest.fixture(params=["script", "worker"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    if request.param == "script":
        return [sys.executable, "-c", SCRIPT]
    (tmp_path / worker.REQUEST).write_text(json.dumps({"task": "probe"}), encoding="utf-8")
    return [sys.executable, worker.__file__, str(tmp_path)]


def test_threads_wait_briefly(command: list[str]) -> None:
    assert turns(command) == 1000


def test_a_count_of_the_user_holds(command: list[str]) -> None:
    assert turns(command, GOMP_SPINCOUNT="7") == 7


def test_a_policy_of_the_user_holds(command: list[str]) -> None:
    assert turns(command, OMP_WAIT_POLICY="ACTIVE") > 1_000_000
