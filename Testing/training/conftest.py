"""Small trainings for the tests: seconds on one thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from GradientGuidedRegistrationLib.training import TrainingSettings

SMALL = {
    "method": "vm",
    "shape": (32, 32, 32),
    "validation_shape": (24, 24, 24),
    "validation_cases": 1,
    "validate_every": 3,
    "checkpoint_every": 3,
    "steps": 6,
    "batch": 2,  # PyTorch's fast 3-D convolutions on one thread need more than one item
    "shapes_fraction": 1.0,
    "learning_rate": 1e-3,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., TrainingSettings]:
    """small(steps=4, ...) → settings of a tiny training into a folder of this test."""

    def make(folder: str = "run", **changes: Any) -> TrainingSettings:
        return TrainingSettings(**{**SMALL, "output": tmp_path / folder, **changes})

    return make
