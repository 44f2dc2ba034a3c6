"""The same case gives the same numbers: in another process, on another number of threads; and half precision no NaN."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from GradientGuidedRegistrationLib.model import RegistrationLoss, load_weights
from GradientGuidedRegistrationLib.registration import Settings
from GradientGuidedRegistrationLib.registration.models import weights_file

SHAPE = (16, 16, 16)
REGISTRATION = """
import sys
import numpy as np, SimpleITK as sitk, torch
from GradientGuidedRegistrationLib.registration import Settings, register
from GradientGuidedRegistrationLib.training.phantom import phantom_images

output, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
images = phantom_images(4, shape=(34, 32, 30), spacing=5.0)
result = register(images["fixed"], images["moving"], Settings(seed=3, inverse=True, device="cpu"))
assert torch.get_num_threads() == threads
np.savez(output, *map(sitk.GetArrayFromImage, (result.field, result.inverse_field)))
"""


@pytest.fixture(scope="module")
def fields(scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[np.ndarray]]:
    """The field (mm) and its inverse of one case from four processes, by number of threads and run."""
    folder = tmp_path_factory.mktemp("fields")
    found = {}
    for number, run in enumerate(("1 thread", "1 thread, again", "2 threads", "2 threads, again"), start=1):
        output = folder / f"{number}.npz"
        # the order of sets and dictionaries of strings is another in each
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "PYTHONPATH": str(scripts.parent)}
        environment.pop("OMP_NUM_THREADS", None)
        subprocess.run([sys.executable, "-c", REGISTRATION, str(output), run[0]], env=environment, check=True)
        with np.load(output) as stored:
            found[run] = [stored[name] for name in stored.files]
    return found


@pytest.mark.parametrize("threads", ["1 thread", "2 threads"])
def test_another_run_gives_the_same_bits(fields: dict[str, list[np.ndarray]], threads: str) -> None:
    for first, second in zip(fields[threads], fields[f"{threads}, again"]):
        np.testing.assert_array_equal(first, second)


def test_the_case_is_worth_comparing(fields: dict[str, list[np.ndarray]]) -> None:
    lengths = np.linalg.norm(fields["1 thread"][0], axis=-1)
    assert 5.0 < lengths.max() < 60.0 and lengths.std() > 0.5  # more than a shift of everything


def test_two_threads_agree_with_one(fields: dict[str, list[np.ndarray]]) -> None:
    for first, second in zip(fields["1 thread"], fields["2 threads"]):
        assert np.abs(first - second).max() < 1e-3  # mm


def _hard_pairs() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Pairs (1, 1, D, H, W) in [0, 1] in which something is zero, flat, tiny or as large as it can be."""
    noise = torch.rand((2, 1, 1, *SHAPE), generator=torch.Generator().manual_seed(0))
    moving, fixed = noise
    point = torch.zeros_like(moving)
    point[..., 8, 8, 8] = 1.0
    board = (torch.stack(torch.meshgrid(*map(torch.arange, SHAPE), indexing="ij")).sum(0) % 2).float()[None, None]
    return {
        "noise": (moving, fixed),
        "empty moving image": (torch.zeros_like(moving), fixed),
        "two empty images": (torch.zeros_like(moving), torch.zeros_like(moving)),
        "two full images": (torch.ones_like(moving), torch.ones_like(moving)),
        "one voxel": (point, fixed),
        "subnormal contrast": (moving * 1e-7, fixed * 1e-7),
        "checkerboard": (board, 1.0 - board),
    }


PAIRS = _hard_pairs()


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """The packaged network that a registration takes by default."""
    path = weights_file(Settings())
    assert path is not None
    return load_weights(path, device="cpu")


@pytest.mark.parametrize("name", PAIRS)
def test_float16_weights_give_no_nan(network: torch.nn.Module, name: str) -> None:
    half = load_weights(weights_file(Settings()), device="cpu").half()
    with torch.no_grad():
        found, expected = half(*PAIRS[name]), network(*PAIRS[name])
    for tensor in (found.displacement, found.image_displacement, found.gradient_displacement, *found.gates):
        assert tensor.dtype == torch.float32 and torch.isfinite(tensor).all()
    if name != "subnormal contrast":  # of which half precision sees little
        largest = expected.displacement.abs().max()
        assert (found.displacement - expected.displacement).abs().max() < 0.1 + 0.05 * largest  # voxels


@pytest.mark.parametrize("name", PAIRS)
def test_float16_autocast_gives_no_nan_in_a_training_step(name: str) -> None:
    moving, fixed = PAIRS[name]
    network = load_weights(weights_file(Settings()), device="cpu").train()
    with torch.autocast("cpu", dtype=torch.float16):
        terms = RegistrationLoss()(network(moving, fixed), moving, fixed)
    terms.total.backward()
    assert torch.isfinite(terms.total)
    for weight in network.parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all()
