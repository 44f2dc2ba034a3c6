"""Which device and grid are chosen for which memory."""

from __future__ import annotations

import pytest

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration import memory
from GradientGuidedRegistrationLib.registration.grid import Grid

MILLION = 1_000_000
PLENTY = 10**12


def test_estimate_grows_with_grid_and_images() -> None:
    assert memory.estimated_bytes(2 * MILLION) > memory.estimated_bytes(MILLION) > 0
    assert memory.estimated_bytes(MILLION, "cpu", 50 * MILLION) > memory.estimated_bytes(MILLION, "cpu", MILLION)
    assert memory.estimated_bytes(MILLION, "cuda", 50 * MILLION) == memory.estimated_bytes(MILLION, "cuda")


@pytest.mark.parametrize(("voxels", "measured"), [(64_000, 0.51e9), (681_472, 0.91e9), (2_097_152, 1.57e9)])
def test_estimate_is_a_little_above_what_was_measured(voxels: int, measured: float) -> None:
    assert measured < memory.estimated_bytes(voxels, "cpu", 2 * voxels) < 1.4 * measured


@pytest.mark.parametrize("free", [{"cpu": PLENTY, "cuda": PLENTY}, {"cpu": None, "cuda": None}, {}])
def test_what_fits_is_left_alone(free: dict) -> None:
    assert memory.plan(MILLION, 2.0, "cuda", free) == memory.Plan("cuda", 2.0)


def test_cpu_where_the_gpu_is_too_small() -> None:
    plan = memory.plan(8 * MILLION, 2.0, "cuda", {"cpu": PLENTY, "cuda": 10**9})
    assert (plan.device, plan.spacing) == ("cpu", 2.0)
    assert "GPU has 1.0 GB free" in plan.note


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_coarser_grid_where_both_are_too_small(device: str) -> None:
    free = {"cpu": memory.estimated_bytes(2 * MILLION), "cuda": memory.estimated_bytes(2 * MILLION, "cuda")}
    plan = memory.plan(8 * MILLION, 2.0, device, free)
    assert plan.device == device
    assert 2.0 < plan.spacing < 4.0
    assert memory.estimated_bytes(int(8 * MILLION * (2.0 / plan.spacing) ** 3), device) <= free[device]
    assert "coarser" in plan.note


def test_hopeless_is_tried_with_a_warning() -> None:
    plan = memory.plan(8 * MILLION, 2.0, "cpu", {"cpu": 10**6})
    assert (plan.device, plan.spacing) == ("cpu", 2.0)
    assert "too little memory" in plan.note


def test_available_memory_is_plausible() -> None:
    available = memory.available_memory()
    assert available is None or 10**7 < available < 10**14


def test_a_grid_that_does_not_fit_is_refused_with_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def grid(spacing: float) -> Grid:
        size = round(200 / spacing)
        return Grid((size, size, size), (spacing,) * 3, (0.0,) * 3, (1.0, 0, 0, 0, 1, 0, 0, 0, 1))

    monkeypatch.setattr(memory, "available_memory", lambda: 4 * 10**9)
    memory.check_memory(grid(2.0))
    with pytest.raises(InputError, match=r"0\.5 mm needs about 32\.0 GB of memory, and 4\.0 GB are free; give") as told:
        memory.check_memory(grid(0.5))
    memory.check_memory(grid(float(str(told.value).split("give ")[1].split()[0])))
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    memory.check_memory(grid(0.5))
