"""The field that leaves the house: composed, faded out without folding, inverted."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.evaluation import field_metrics, field_transform
from GradientGuidedRegistrationLib.registration.fields import assemble, continued, inverse
from GradientGuidedRegistrationLib.registration.grid import Grid


def rigid(grid: Grid, degrees: float, shift: tuple[float, float, float]) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(grid.center.tolist())
    transform.SetRotation(np.radians(degrees), 0.0, np.radians(-degrees))
    transform.SetTranslation(shift)
    return transform


def isotropic(grid: Grid) -> Grid:
    return Grid(grid.size, (2.0, 2.0, 2.0), grid.origin, grid.direction)


def bump(grid: Grid, voxels: float) -> np.ndarray:
    axes = np.meshgrid(*[np.linspace(0, np.pi, n) for n in grid.shape], indexing="ij")
    shape = np.prod([np.sin(a) for a in axes], axis=0)
    return voxels * np.stack([shape, -shape, 0.5 * shape])


def followers(grid: Grid) -> dict[str, sitk.Transform]:
    affine = sitk.AffineTransform(3)
    affine.SetMatrix([1.1, 0.05, 0.0, -0.1, 0.9, 0.2, 0.0, 0.1, 1.05])
    affine.SetTranslation((-40.0, 7.0, 300.0))
    turned = rigid(grid, 8, (5.0, -3.0, 4.0))
    away = field_transform(grid.image(grid.vectors_to_lps(bump(grid, 1.5))))
    return {
        "rigid": turned,
        "affine": affine,
        "both": sitk.CompositeTransform([affine, turned]),
        "a field": away,
        "a field and affine": sitk.CompositeTransform([affine, away]),
        "nothing": sitk.Transform(3, sitk.sitkIdentity),
    }


@pytest.mark.parametrize("kind", ["rigid", "affine", "both", "a field", "a field and affine", "nothing"])
def test_field_is_the_deformable_part_followed_by_the_linear_one(grid, kind):
    grid = isotropic(grid)
    linear = followers(grid)[kind]
    displacement = bump(grid, 2.0)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(assemble(grid, displacement, linear), sitk.sitkVectorFloat64))
    for index in ((0, 0, 0), (5, 6, 7), (10, 3, 9)):
        point = grid.point(np.array(index))
        moved = point + grid.vectors_to_lps(displacement)[index[::-1]]
        assert np.allclose(transform.TransformPoint(point), linear.TransformPoint(moved), atol=1e-3)


def test_field_reaches_over_the_field_of_view_without_folding(grid):
    """Past the working grid the displacement of its nearest point goes on, followed by the linear part."""
    grid = isotropic(grid)
    linear = rigid(grid, 8, (5.0, -3.0, 4.0))
    displacement = bump(grid, 2.0) + 1.0
    view = grid.padded(6)
    field = assemble(grid, displacement, linear, view)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    for index in ((0, 0, 0), (5, 6, 7), (-6, -5, 3), (-2, grid.size[1] + 5, grid.size[2] + 1)):
        point = grid.point(np.array(index))
        nearest = tuple(np.clip(index, 0, np.array(grid.size) - 1))
        moved = point + grid.vectors_to_lps(displacement)[nearest[::-1]]
        assert np.allclose(transform.TransformPoint(point), linear.TransformPoint(moved), atol=1e-3)
    assert field_metrics(field)["folding_percent"] == 0


def test_outside_of_the_margin_nothing_moves(grid):
    grid = isotropic(grid)
    field = assemble(grid, bump(grid, 1.0), rigid(grid, 5, (10.0, 0.0, 0.0)))
    vectors = sitk.GetArrayViewFromImage(field)
    for axis in range(3):
        for end in (0, -1):
            assert np.abs(np.take(vectors, end, axis)).max() == 0


def test_fading_out_does_not_fold(grid):
    grid = isotropic(grid)
    field = assemble(grid, bump(grid, 1.5), rigid(grid, 10, (20.0, 10.0, -12.0)))
    assert field_metrics(field)["folding_percent"] == 0


def test_identity_needs_no_more_than_a_thin_margin(grid):
    field = assemble(grid, np.zeros((3, *grid.shape)), sitk.Euler3DTransform())
    assert field.GetSize() == tuple(n + 2 for n in grid.size)
    assert np.abs(sitk.GetArrayViewFromImage(field)).max() < 1e-6


def test_images_far_apart_get_no_margin_and_do_not_fold():
    """A margin wide enough for half a metre would not fit the memory; a narrower one would fold at its seam."""
    grid = Grid((60, 50, 40), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    linear = rigid(grid, 5, (500.0, -300.0, 200.0))
    field = assemble(grid, bump(grid, 1.5), linear)
    assert field.GetSize() == grid.size
    assert field_metrics(field)["folding_percent"] == 0


def test_a_field_goes_on_past_its_voxels(grid):
    """Also inside a chain; other transforms are as they were."""
    grid, turned = isotropic(grid), rigid(isotropic(grid), 5, (1.0, 2.0, 3.0))
    vectors = np.full((*grid.shape, 3), (7.0, -8.0, 9.0))
    field = field_transform(grid.image(vectors))
    outside = tuple(grid.point(np.array([-9.0, 3.0, grid.size[2] + 8.0])))
    assert np.allclose(np.subtract(continued(field).TransformPoint(outside), outside), (7, -8, 9), atol=1e-4)
    chain = continued(sitk.CompositeTransform([turned, field]))
    assert np.allclose(chain.TransformPoint(outside), turned.TransformPoint(np.add(outside, (7, -8, 9))), atol=1e-4)
    assert continued(turned) is turned


def test_a_field_of_thick_slices_goes_on_as_far_as_others():
    grid = Grid((20, 21, 16), (0.5, 0.5, 8.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    wider = continued(field_transform(grid.image(np.full((*grid.shape, 3), (7.0, -8.0, 9.0)))))
    size = np.array(sitk.DisplacementFieldTransform(wider).GetDisplacementField().GetSize())
    assert ((size - grid.size) // 2).tolist() == [60, 60, 4]


NEAR, FAR = (4.0, -3.0, 2.0), (500.0, -300.0, 200.0)


@pytest.mark.parametrize(
    ("kind", "shift"),
    [("rigid", NEAR), ("rigid", FAR), ("initial", NEAR), ("initial", FAR), ("field", NEAR), ("field", FAR)],
)
def test_inverse_undoes_the_field_everywhere(grid, kind, shift):
    """Also where the images lie far apart, and where the linear part goes with an initial transform.

    An initial transform that is a field has no inverse of its own; here it bends and shifts, and another turns it.
    """
    grid = isotropic(grid)
    linear = rigid(grid, 3, shift)
    if kind == "initial":
        linear = sitk.CompositeTransform([sitk.TranslationTransform(3, (5.0, 6.0, 7.0)), linear])
    elif kind == "field":
        wide = grid.padded(8)
        bent = wide.vectors_to_lps(bump(wide, 1.0)) + np.array(shift)
        linear = sitk.CompositeTransform([rigid(grid, 3, NEAR), field_transform(wide.image(bent))])
    displacement = bump(grid, 1.0)
    field = assemble(grid, displacement, linear)
    inverted, residual = inverse(field, grid, displacement, linear)
    assert residual["mean"] < 0.02 and residual["p99"] < 0.1
    wide = [sitk.Cast(f, sitk.sitkVectorFloat64) for f in (field, inverted)]
    forward, backward = map(sitk.DisplacementFieldTransform, wide)
    random = np.random.default_rng(0)
    points = [grid.point(random.uniform(0, 1, 3) * (np.array(grid.size) - 1)) for _ in range(100)]
    off = [np.linalg.norm(np.subtract(backward.TransformPoint(forward.TransformPoint(p)), p)) for p in points]
    assert np.mean(off) < 0.05 and np.max(off) < 0.3  # between the grid's points both fields are interpolated


def test_a_grid_of_two_points_along_an_axis_has_an_inverse():
    grid = Grid((12, 13, 2), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    displacement = np.full((3, 2, 13, 12), 0.2)
    field = assemble(grid, displacement, rigid(grid, 3, NEAR))
    _, residual = inverse(field, grid, displacement, rigid(grid, 3, NEAR))
    assert 0 <= residual["mean"] <= residual["max"] < 1.0
