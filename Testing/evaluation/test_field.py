"""Jacobian, folding and displacement figures against analytic fields and SimpleITK, on oblique grids too."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.evaluation import (
    field_metrics,
    jacobian_determinant,
    target_registration_error,
)


def rotation(*angles):
    """Direction turned about x, y, z by degrees."""
    transform = sitk.Euler3DTransform()
    transform.SetRotation(*np.deg2rad(angles))
    return np.array(transform.GetMatrix()).reshape(3, 3)


GEOMETRIES = {
    "straight": (np.eye(3), (1.0, 1.0, 1.0)),
    "anisotropic": (np.eye(3), (0.7, 0.9, 2.5)),
    "oblique": (rotation(25, -20, 10), (0.8, 1.1, 1.7)),
    "left-handed": (rotation(25, 0, 15) @ np.diag([1, 1, -1]), (1.0, 1.2, 1.5)),
}


def grid_points(size, spacing, origin, direction):
    """Physical points (D, H, W, 3)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1).transpose(2, 1, 0, 3)
    return (index * np.asarray(spacing)) @ np.asarray(direction).T + np.asarray(origin)


def field_image(function, direction, spacing, size=(31, 27, 23), origin=(-12.0, 5.0, 8.0)):
    points = grid_points(size, spacing, origin, direction)
    image = sitk.GetImageFromArray(function(points), isVector=True)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(np.asarray(direction).ravel().tolist())
    return image, points


def waves(points):
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([2 * np.sin(0.15 * x + 0.1 * y), 1.5 * np.cos(0.1 * z) * np.sin(0.12 * x), np.sin(0.1 * y)], -1)


def waves_jacobian(points):
    x, y, z = np.moveaxis(points, -1, 0)
    matrix = np.zeros((*x.shape, 3, 3))
    matrix[..., 0, 0] = 0.3 * np.cos(0.15 * x + 0.1 * y)
    matrix[..., 0, 1] = 0.2 * np.cos(0.15 * x + 0.1 * y)
    matrix[..., 1, 0] = 0.18 * np.cos(0.1 * z) * np.cos(0.12 * x)
    matrix[..., 1, 2] = -0.15 * np.sin(0.1 * z) * np.sin(0.12 * x)
    matrix[..., 2, 1] = 0.1 * np.cos(0.1 * y)
    return np.linalg.det(matrix + np.eye(3))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_jacobian_of_an_analytic_field(geometry):
    field, points = field_image(waves, *GEOMETRIES[geometry])
    found = sitk.GetArrayFromImage(jacobian_determinant(field))
    inner = (slice(1, -1),) * 3
    assert np.abs(found - waves_jacobian(points))[inner].max() < 6e-3  # central differences of a smooth field
    assert np.abs(found - waves_jacobian(points)).max() < 8e-2  # one-sided at the border


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_linear_field_is_exact_everywhere(geometry):
    matrix = np.array([[0.1, 0.2, 0.0], [-0.05, -0.1, 0.1], [0.0, 0.15, 0.05]])
    field, _ = field_image(lambda points: points @ matrix.T, *GEOMETRIES[geometry])
    expected = np.linalg.det(np.eye(3) + matrix)
    assert np.allclose(sitk.GetArrayFromImage(jacobian_determinant(field)), expected, atol=1e-4)
    metrics = field_metrics(field)
    assert metrics["jacobian_min"] == pytest.approx(expected, abs=1e-4)
    assert metrics["sd_log_jacobian"] == pytest.approx(0, abs=1e-4)


def test_agrees_with_simpleitk_on_straight_grids():
    values = np.random.default_rng(1).normal(size=(9, 10, 11, 3)).astype(np.float32)
    field = sitk.GetImageFromArray(values, isVector=True)
    field.SetSpacing((1.5, 2.0, 3.0))
    ours = sitk.GetArrayFromImage(jacobian_determinant(field))
    itk = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
    assert np.allclose(ours[1:-1, 1:-1, 1:-1], itk[1:-1, 1:-1, 1:-1], atol=1e-5)


def test_oblique_grid_does_not_change_the_physics():
    """The same field relative to its grid, turned as a whole, has the same Jacobian."""
    direction = rotation(25, 25, 0)
    values = np.random.default_rng(2).normal(size=(9, 10, 11, 3))
    straight = sitk.GetImageFromArray(values, isVector=True)
    turned = sitk.GetImageFromArray(values @ direction.T, isVector=True)
    turned.SetDirection(direction.ravel().tolist())
    first, second = (sitk.GetArrayFromImage(jacobian_determinant(field)) for field in (straight, turned))
    assert np.allclose(first, second, atol=1e-4)


def test_folding_and_displacement_inside_a_region():
    values = np.zeros((12, 12, 12, 3), np.float32)
    values[:, :, :6, 0] = -3.0 * np.arange(6)  # dx/dx = 1 - 3 < 0: folds
    field = sitk.GetImageFromArray(values, isVector=True)
    region = np.zeros((12, 12, 12), np.uint8)
    region[3:9, 3:9, 1:4] = 1
    mask = sitk.GetImageFromArray(region)
    assert field_metrics(field, mask)["folding_percent"] == 100
    assert field_metrics(field, mask)["sd_log_jacobian"] is None
    assert field_metrics(field, mask)["displacement_mm"] == pytest.approx({"mean": 6.0, "max": 9.0})
    region[:] = 0
    region[3:9, 3:9, 8:11] = 1
    outside = sitk.GetImageFromArray(region)
    assert field_metrics(field, outside)["folding_percent"] == 0
    assert field_metrics(field, outside)["jacobian_min"] == 1
    assert 20 < field_metrics(field)["folding_percent"] < 60
    # the same region on a finer grid of its own
    finer = sitk.Resample(outside, [24] * 3, sitk.Transform(), sitk.sitkNearestNeighbor, (0, 0, 0), (0.5,) * 3)
    assert field_metrics(field, finer)["displacement_mm"] == field_metrics(field, outside)["displacement_mm"]
    nowhere = field_metrics(field, sitk.GetImageFromArray(np.zeros_like(region)))
    assert nowhere["folding_percent"] is None and nowhere["displacement_mm"]["mean"] is None
    json.dumps([nowhere, field_metrics(field)], allow_nan=False)


@pytest.mark.parametrize("corner", [(0, 0, 0), (5, 7, 9), (16, 19, 23)])
def test_figures_of_a_region_are_those_of_the_whole_fields_jacobian_there(corner):
    """Also where the region touches the border of an oblique field."""
    field, _ = field_image(waves, *GEOMETRIES["left-handed"])
    mask = np.zeros(field.GetSize()[::-1], np.uint8)
    mask[tuple(slice(start, start + 8) for start in corner)] = 1
    region = sitk.GetImageFromArray(mask)
    region.CopyInformation(field)
    found, expected = field_metrics(field, region), field_metrics(field, region, jacobian_determinant(field))
    assert found["displacement_mm"] == expected.pop("displacement_mm")
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_thin_fields_and_bad_input():
    field = sitk.Image([5, 4, 1], sitk.sitkVectorFloat32, 3)
    assert field_metrics(field)["jacobian_min"] == 1
    with pytest.raises(InputError, match="three components"):
        jacobian_determinant(sitk.Image([4, 4, 4], sitk.sitkFloat32))


def test_target_registration_error():
    transform = sitk.TranslationTransform(3, (1.0, 2.0, 2.0))
    fixed = np.array([[0, 0, 0], [10, -5, 3.5]])
    errors = target_registration_error(transform, fixed, fixed)
    assert np.allclose(errors, 3.0)
    assert np.allclose(target_registration_error(transform, fixed, fixed + (1, 2, 2)), 0)
    assert target_registration_error(transform, np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)
    with pytest.raises(InputError, match="landmarks"):
        target_registration_error(transform, fixed, fixed[:1])


def test_target_registration_error_of_an_oblique_field():
    field, points = field_image(waves, *GEOMETRIES["oblique"])
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    fixed = points[5:18:4, 6:20:5, 7:20:6].reshape(-1, 3)
    assert target_registration_error(transform, fixed, fixed + waves(fixed)).max() < 1e-4
