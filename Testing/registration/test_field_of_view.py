"""Padding around a field of view is told from air around a body."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.registration.field_of_view import measured


def noise(shape: tuple[int, int, int] = (30, 70, 60)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(0).uniform(50, 300, shape).astype(np.float32))
    image.SetSpacing((2.0, 2.0, 4.0))
    return image


def on_turned_grid(image: sitk.Image, degrees: float) -> tuple[sitk.Image, np.ndarray]:
    """The image on a grid turned about two axes that holds all of it, padded with zero, and where it is measured."""
    turn = sitk.Euler3DTransform()
    turn.SetCenter(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
    turn.SetRotation(np.radians(degrees), np.radians(-degrees), 0.0)
    grid = sitk.Image((90, 90, 50), sitk.sitkUInt8)
    grid.SetSpacing((2.0, 2.0, 4.0))
    grid.SetOrigin((-28.0, -18.0, -38.0))
    inside = sitk.Resample(sitk.Cast(image * 0 + 1, sitk.sitkUInt8), grid, turn, sitk.sitkNearestNeighbor, 0)
    return sitk.Resample(image, grid, turn, sitk.sitkLinear, 0.0), sitk.GetArrayFromImage(inside) > 0


def test_an_image_without_padding_is_measured_everywhere():
    assert measured(noise()).all()


@pytest.mark.parametrize("degrees", [0, 10, 25])
def test_padding_around_a_turned_box(degrees):
    padded, inside = on_turned_grid(noise(), degrees)
    found = measured(padded)
    assert (found & ~inside).sum() < 0.02 * inside.sum()
    assert (inside & ~found).sum() < 0.2 * inside.sum()  # the rim, where voxels are mixed with padding


def test_constant_air_around_a_round_body_is_no_padding():
    image = noise()
    values = sitk.GetArrayFromImage(image)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in values.shape], indexing="ij")
    values[(x / 0.8) ** 2 + (y / 0.7) ** 2 > 1] = 0
    body = sitk.GetImageFromArray(values)
    body.CopyInformation(image)
    assert measured(body).all()


@pytest.mark.parametrize("shape", ["box", "halves"])
def test_what_has_one_value_itself_is_not_all_that_was_measured(shape):
    """A box of one value is an object, not a field of view, and half of an image not the padding of the other half."""
    values = np.zeros((20, 20, 20), np.float32)
    values[6:14, 6:14, 6:14] = 60 if shape == "box" else 0
    values[:10] += 50 if shape == "halves" else 0
    assert measured(sitk.GetImageFromArray(values)).all()
