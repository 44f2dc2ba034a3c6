"""The expected error and the verdict follow what was measured, and tell a failed registration from a good one."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.registration import Settings, register
from GradientGuidedRegistrationLib.registration.trust import Held, expected_error, judged
from GradientGuidedRegistrationLib.training.phantom import phantom_images


def held(grid, rise=0.1) -> Held:
    ones = np.ones(grid.shape, np.float32)
    return Held(rise * np.ones((3, *grid.shape), np.float32), ones, ones > 0, grid)


def quality(before=0.4, linear=0.8, after=1.0, overlap=1.0, folding=0.0, thickness=60, inverse=0.1) -> dict:
    information = {"before": 0.3, "initial": before, "linear": linear, "after": after}
    return {
        "mutual_information": information, "overlap": overlap, "folding_percent": folding,
        "working_grid": {"size": [80, 70, thickness // 2], "spacing_mm": 2.0}, "inverse_residual_mm": {"p99": inverse},
    }  # fmt: skip


def verdict(grid, information=0.15, **figures) -> tuple[str, str]:
    found = held(grid)
    word, reasons = judged(expected_error(found, information), found, quality(**figures))
    return word, " ".join(reasons)


def test_expected_error_lies_on_its_grid_and_falls_with_the_rise(grid):
    high, low = (sitk.GetArrayFromImage(expected_error(held(grid, rise), 0.15)) for rise in (0.02, 0.1))
    assert low.shape == grid.shape and 0 < low.max() < high.min()
    assert expected_error(held(grid), 0.15).GetDirection() == pytest.approx(grid.direction)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_expected_error_is_large_where_one_axis_is_not_told(grid, axis):
    found = held(grid)
    found.rise[axis, :4] = -0.01
    error = sitk.GetArrayFromImage(expected_error(found, 0.15))
    assert error[0].min() > error[-1].max()


def test_nothing_measured_takes_the_mean(grid):
    found = held(grid)
    found.weight[:] = 0
    found.weight[-1] = 1
    error = sitk.GetArrayFromImage(expected_error(found, 0.15))
    assert error[0].mean() == pytest.approx(error[-1].mean(), rel=0.02)


def test_verdicts(grid):
    assert verdict(grid)[0] == "good"
    assert verdict(grid, information=0.01)[0] == "poor"
    word, reasons = verdict(grid, before=1.1)
    assert word == "poor" and "less than before" in reasons and "fell from 1.100 to 1.000" in reasons
    word, reasons = verdict(grid, linear=1.2)
    assert word == "check" and "after the alignment alone" in reasons and "fell from 1.200 to 1.000" in reasons
    word, reasons = verdict(grid, overlap=0.3)
    assert word == "check" and "30 %" in reasons
    word, reasons = verdict(grid, folding=0.5)
    assert word == "check" and "folds in 0.50 %" in reasons
    word, reasons = verdict(grid, thickness=8)
    assert word == "check" and "8 mm along one axis" in reasons
    word, reasons = verdict(grid, inverse=2.5)
    assert word == "check" and "inverse field is off by 2.5 mm" in reasons


def test_without_overlap(grid):
    found = held(grid)
    found.weight[:] = 0
    word, reasons = judged(expected_error(found, 0.15), found, quality())
    assert word == "poor" and "do not overlap" in reasons[0]


def test_noise_takes_little_of_what_a_pair_is_known_to_share():
    """Of an aligned pair that is not registered at all, so that only the measure differs."""
    images = phantom_images(7, shape=(64, 72, 72), spacing=2.0, strength=0.0, rigid=0.0)
    noisy = sitk.AdditiveGaussianNoise(images["moving"], 150.0, 0.0, 1)
    settings = Settings(initialization="none", use_network=False, refine=0, device="cpu")
    clean, found = (register(images["fixed"], moving, settings).quality for moving in (images["moving"], noisy))
    assert found["mutual_information"]["after"] < 0.8 * clean["mutual_information"]["after"]
    share = "information_told"
    assert 0.8 * clean[share] < found[share] <= clean[share]


def test_a_failed_registration_is_not_called_good():
    """From 72 mm away eight iterations do not find the way, and say so; as many as the pair needs do."""
    images = phantom_images(6, shape=(56, 60, 60), spacing=3.0)
    away, shift = sitk.Image(images["moving"]), (60.0, 40.0, 0.0)
    away.SetOrigin([o + d for o, d in zip(away.GetOrigin(), shift)])
    body = np.argwhere(sitk.GetArrayViewFromImage(images["fixed_labels"]) > 0)[::97, ::-1]
    points = [images["fixed"].TransformIndexToPhysicalPoint(index.tolist()) for index in body]
    truth = sitk.DisplacementFieldTransform(sitk.Image(images["field"]))
    targets = np.array([truth.TransformPoint(point) for point in points])

    def registered(moving: sitk.Image, offset, refine: int | None) -> tuple[float, float, str]:
        """Return the true and the expected mean error in mm, and the verdict."""
        settings = Settings(initialization="none", use_network=False, refine=refine, device="cpu")
        result = register(images["fixed"], moving, settings)
        places = np.array([result.transform.TransformPoint(point) for point in points])
        expected = float(sitk.GetArrayViewFromImage(result.expected_error).mean())
        return float(np.linalg.norm(places - targets - offset, axis=1).mean()), expected, result.quality["verdict"]

    near, lost, found = (
        registered(images["moving"], (0.0, 0.0, 0.0), 8), registered(away, shift, 8), registered(away, shift, None)
    )  # fmt: skip
    assert near[0] < 3 and lost[0] > 20 and found[0] < 3
    assert lost[1] > 2 * max(near[1], found[1])
    assert lost[2] == "poor" and "poor" not in (near[2], found[2])
