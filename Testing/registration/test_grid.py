"""The working grid covers the fixed image in any geometry, and vectors keep their meaning on it."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.registration.grid import Grid, antialiased, working_grid


def corners(size: tuple[int, ...]) -> np.ndarray:
    ends = [(-0.5, n - 0.5) for n in size]
    return np.array([[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]])


def test_working_grid_covers_the_field_of_view_to_the_outer_faces(grid):
    image = sitk.Image(grid.size, sitk.sitkFloat32)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    working = working_grid(image)
    assert np.allclose(working.spacing, working.spacing[0])
    to_index = np.linalg.inv(working.axes * np.array(working.spacing))
    index = np.array([to_index @ (grid.point(c) - working.origin) for c in corners(grid.size)])
    assert index.min() >= -0.5 - 1e-6
    assert np.all(index <= np.array(working.size) - 0.5 + 1e-6)
    assert np.allclose(working.center, grid.center)


@pytest.mark.parametrize(
    ("size", "spacing", "expected"),
    [
        ((320, 260, 100), (1.0, 1.0, 2.0), 2.0),  # the usual case
        ((256, 256, 80), (1.0, 1.0, 2.5), 256 / 144),
        ((64, 64, 40), (1.0, 1.0, 1.5), 1.0),  # a small field of view: as fine as the image, not finer
        ((300, 300, 60), (0.1, 0.1, 0.5), 30 / 144),  # a small animal
        ((100, 100, 100), (4.0, 4.0, 4.0), 4.0),  # a coarse scan
    ],
)
def test_default_spacing(size, spacing, expected):
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    assert working_grid(image).spacing[0] == pytest.approx(expected)


def test_spacing_obeys_the_memory_budget():
    image = sitk.Image((400, 400, 300), sitk.sitkUInt8)
    grid = working_grid(image, maximum_voxels=500_000)
    assert np.prod(grid.size) < 520_000


def test_vectors_agree_with_physical_points(grid):
    displacement = np.zeros((3, *grid.shape))
    displacement[:] = np.array([1.5, -2.0, 0.5])[:, None, None, None]  # voxels along D, H, W
    vectors = grid.vectors_to_lps(displacement)
    expected = grid.point(np.array([0.5, -2.0, 1.5])) - grid.point(np.zeros(3))
    assert np.allclose(vectors[3, 4, 5], expected)
    assert np.allclose(grid.vectors_from_lps(vectors), displacement)


def test_grid_image_and_padding_keep_the_place(grid):
    image = grid.image(np.zeros((*grid.shape, 3), np.float32))
    assert image.GetNumberOfComponentsPerPixel() == 3
    assert Grid.of(image) == grid
    padded = grid.padded(3)
    assert np.allclose(padded.point(np.array([3, 3, 3])), grid.origin)
    assert padded.size == tuple(n + 6 for n in grid.size)


def test_antialiasing_removes_what_the_target_cannot_hold():
    noise = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(20, 60, 60)).astype(np.float32))
    noise.SetSpacing((0.5, 0.5, 4.0))
    smooth = sitk.GetArrayFromImage(antialiased(noise, 2.0))
    assert smooth.std() < 0.3  # averaged in the plane
    assert abs(np.corrcoef(smooth[:-1].ravel(), smooth[1:].ravel())[0, 1]) < 0.05  # slices are left alone
