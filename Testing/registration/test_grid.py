"""The working grid covers the fixed image in any geometry, and vectors keep their meaning on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from GradientGuidedRegistrationLib.registration.grid import (
    Grid,
    antialiased,
    enclosing_grid,
    in_patient_order,
    smoothed,
    working_grid,
)


def corners(size: tuple[int, ...]) -> np.ndarray:
    ends = [(-0.5, n - 0.5) for n in size]
    return np.array([[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]])


def test_working_grid_covers_the_field_of_view_to_the_outer_faces(grid):
    image = sitk.Image(grid.size, sitk.sitkFloat32)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    working = working_grid(Grid.of(image))
    assert np.allclose(working.spacing, working.spacing[0])
    to_index = np.linalg.inv(working.axes * np.array(working.spacing))
    index = np.array([to_index @ (grid.point(c) - working.origin) for c in corners(grid.size)])
    assert index.min() >= -0.5 - 1e-6
    assert np.all(index <= np.array(working.size) - 0.5 + 1e-6)
    assert np.allclose(working.center, grid.center)


@pytest.mark.parametrize(
    ("size", "spacing", "refined", "network"),
    [
        ((400, 320, 100), (1.0, 1.0, 2.0), 2.0, 2.0),  # the usual case
        ((256, 256, 80), (1.0, 1.0, 2.5), (256 * 256 * 200 / (144 * 144 * 128)) ** (1 / 3), 256 / 144),
        ((128, 144, 144), (1.0, 1.0, 1.0), 1.0, 1.0),  # the volume of the paper: voxel on voxel
        ((64, 64, 40), (1.0, 1.0, 1.5), 0.8, 1.0),  # a small field of view
        ((300, 300, 60), (0.1, 0.1, 0.5), 30 / 144 * (144 / 128) ** (1 / 3), 30 / 144),  # a small animal
        ((100, 100, 100), (4.0, 4.0, 4.0), 3.2, 4.0),  # a coarse scan
    ],
)
def test_default_spacing(size, spacing, refined, network):
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    assert working_grid(Grid.of(image)).spacing[0] == pytest.approx(refined)
    assert working_grid(Grid.of(image), refined=False).spacing[0] == pytest.approx(network)


def test_spacing_obeys_the_memory_budget():
    image = sitk.Image((400, 400, 300), sitk.sitkUInt8)
    grid = working_grid(Grid.of(image), maximum_voxels=500_000)
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


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.uint8])
def test_a_gaussian_is_that_of_scipy_along_each_axis(grid, kind):
    """Narrow, wide and none, of scalars and of vectors."""
    random = np.random.default_rng(0)
    sigmas = np.array([0.6, 3.5, 0.0]) * grid.spacing
    for shape in (grid.shape, (*grid.shape, 3)):
        array = (100 * random.random(shape)).astype(kind)
        image = smoothed(grid.image(array), sigmas.tolist())
        wanted = ndimage.gaussian_filter1d(array.astype(float), 0.6, axis=2, mode="nearest")
        wanted = ndimage.gaussian_filter1d(wanted, 3.5, axis=1, mode="nearest")
        assert Grid.of(image) == grid
        assert np.allclose(sitk.GetArrayViewFromImage(image), wanted, atol=0.5)
        narrow = smoothed(grid.image(array), [sigmas[0], 0.0, 0.0])
        wanted = ndimage.gaussian_filter1d(array.astype(float), 0.6, axis=2, mode="nearest", truncate=5)
        assert np.allclose(sitk.GetArrayViewFromImage(narrow), wanted, atol=0.02)


def test_an_axis_of_few_voxels_is_not_smoothed():
    array = np.random.default_rng(0).random((3, 20, 20)).astype(np.float32)
    image = smoothed(sitk.GetImageFromArray(array), [0.0, 0.0, 1.0])
    assert np.array_equal(sitk.GetArrayViewFromImage(image), array)


def turned_by(degrees: float) -> tuple[float, ...]:
    """Directions turned about two axes."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(np.radians(degrees), np.radians(degrees), 0.0)
    return turn.GetMatrix()


def box_within(grid: Grid, box: Grid) -> sitk.Image:
    """The mask of the voxels of ``grid`` whose centres lie in the field of view of ``box``."""
    inside = box.image(np.ones(box.shape, np.uint8))
    return grid.resample(inside, interpolator=sitk.sitkNearestNeighbor)


def test_enclosing_grid_leaves_straight_padding_out(grid):
    valid = grid.image(np.zeros(grid.shape, np.uint8))
    valid[3:-2, 1:-4, 2:-1] = 1
    assert enclosing_grid(valid, 1.3).size == enclosing_grid(valid[3:-2, 1:-4, 2:-1], 1.3).size
    assert np.allclose(enclosing_grid(valid, 1.3).center, Grid.of(valid[3:-2, 1:-4, 2:-1]).center)


def test_enclosing_grid_takes_the_axes_that_are_tighter():
    straight = Grid((50, 40, 30), (2.0, 2.0, 2.0), (-48.0, -40.0, -30.0), tuple(np.eye(3).ravel()))
    turned = Grid((70, 70, 70), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), turned_by(25))
    turned = Grid(
        turned.size, turned.spacing, tuple(straight.center - (turned.center - turned.origin)), turned.direction
    )
    straight_in_turned = enclosing_grid(box_within(turned, straight), 2.0)
    assert np.allclose(straight_in_turned.axes, np.eye(3))
    assert np.abs(np.array(straight_in_turned.size) - straight.size).max() <= 2
    assert np.allclose(straight_in_turned.center, straight.center, atol=2.0)
    assert np.allclose(enclosing_grid(box_within(turned, turned), 2.0).axes, turned.axes)


def test_enclosing_grid_of_nothing_is_the_whole(grid):
    empty = grid.image(np.zeros(grid.shape, np.uint8))
    assert enclosing_grid(empty, 2.0) == enclosing_grid(empty + 1, 2.0)


def test_covering_reaches_over_another_grid_and_keeps_its_points(grid):
    small = Grid((6, 5, 4), (1.5, 1.5, 1.5), tuple(grid.center - 2.0), turned_by(10))
    wide, (before, after) = small.covering(grid, 10**7)
    assert np.allclose(wide.point(before), small.origin)
    assert wide.size == tuple(np.array(small.size) + before + after)
    index = (np.array([grid.point(c) for c in corners(grid.size)]) - wide.origin) @ wide.axes / 1.5
    assert index.min() >= -0.5 - 1e-6 and np.all(index <= np.array(wide.size) - 0.5 + 1e-6)
    assert small.covering(small, 10**7)[0] == small


def test_covering_obeys_the_memory_budget(grid):
    small = Grid((6, 5, 4), (0.2, 0.2, 0.2), tuple(grid.center), tuple(np.eye(3).ravel()))
    wide, (before, after) = small.covering(grid, 20_000)
    assert np.prod(wide.size) <= 20_000
    assert np.allclose(wide.point(before), small.origin)


def test_halfway_lies_in_the_middle_of_eight_points(grid):
    between = grid.halfway()
    assert between.size == tuple(n - 1 for n in grid.size)
    np.testing.assert_allclose(between.point((1, 2, 0)), (grid.point((1, 2, 0)) + grid.point((2, 3, 1))) / 2, atol=1e-4)
    assert replace(grid, size=(1, 5, 1)).halfway().size == (1, 4, 1)


@pytest.mark.parametrize(("stride", "first"), [(1, 0), (2, 1), (3, 1)])
def test_every_third_point(grid, stride, first):
    indices = [range(first, n, stride) for n in grid.size]
    part = grid.every(stride, first)
    assert part.size == tuple(map(len, indices)) and part.direction == grid.direction
    for end in (0, -1):
        expected = grid.point(np.array([axis[end] for axis in indices]))
        assert np.allclose(part.point(np.zeros(3) if end == 0 else np.array(part.size) - 1), expected)


@pytest.mark.parametrize("factor", [1, 2, 3, 16])
@pytest.mark.parametrize("size", [256, 257, 271])
def test_shrunk_has_the_cubes_centres_also_where_the_last_cubes_are_not_whole(grid, size, factor):
    whole = Grid((size + 5, size + 9, size), (1.5,) * 3, grid.origin, grid.direction)
    shape = tuple(-(-n // factor) for n in whole.shape)
    coarse = whole.shrunk(shape)
    assert coarse.spacing == (1.5 * factor,) * 3 and coarse.shape == shape
    cube = [whole.point(np.array([2 * factor + i, j, 5 * factor + k])) for i in range(factor) for j in range(factor)
            for k in range(factor)]  # fmt: skip
    assert np.allclose(coarse.point(np.array([2, 0, 5])), np.mean(cube, axis=0))


def test_patient_order_moves_no_voxel(blobs, grid):
    image = blobs(grid)
    ordered = in_patient_order(sitk.PermuteAxes(image, (2, 0, 1)))
    assert np.all(np.argmax(np.abs(Grid.of(ordered).axes), axis=0) == [0, 1, 2])
    assert np.all(np.diag(Grid.of(ordered).axes) > 0)
    point = grid.point(np.array([7, 9, 5])).tolist()
    assert ordered[ordered.TransformPhysicalPointToIndex(point)] == image[7, 9, 5]
