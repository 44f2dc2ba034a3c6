"""What a displacement field does to space: Jacobian determinant, folding, and how far it moves points."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .overlap import box_around, label_boxes, labels_on_grid

# log J is clamped to +-log(1000): one nearly collapsed voxel must not decide the spread of the whole field.
LOG_JACOBIAN_LIMIT = float(np.log(1e3))


def jacobian_determinant(field: sitk.Image) -> sitk.Image:
    """Determinant of d(x + u(x))/dx in physical space, float32 on the field's grid.

    Central differences, one-sided at the border. `SimpleITK.DisplacementFieldJacobianDeterminant` gives the same
    inside grids whose direction is the identity; on rotated grids it mixes the axes of the grid with those of the
    vectors, and at the border it halves the derivatives.

    Args:
        field: vector image of displacements u in LPS mm on a grid of any orientation.

    Raises:
        InputError: not a 3-D image of three components.

    """
    vectors = sitk.GetArrayViewFromImage(field)
    if vectors.ndim != 4 or vectors.shape[-1] != 3:
        raise InputError("A displacement field is a 3-D image with three components a voxel.")
    spacing = field.GetSpacing()
    direction = np.asarray(field.GetDirection()).reshape(3, 3)
    # u along the grid's own axes: there the derivative along an axis is a plain difference over the spacing, and
    # the determinant does not depend on the choice of axes.
    local = [np.asarray(sum(float(direction[row, axis]) * vectors[..., row] for row in range(3))) for axis in range(3)]
    columns = []
    for axis in range(3):
        array_axis = 2 - axis
        if local[0].shape[array_axis] < 2:
            derivative = [np.zeros_like(component) for component in local]
        else:
            derivative = [np.gradient(component, spacing[axis], axis=array_axis) for component in local]
        derivative[axis] += 1
        columns.append(derivative)
    (a, d, g), (b, e, h), (c, f, i) = columns
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    image = sitk.GetImageFromArray(determinant.astype(np.float32))
    image.CopyInformation(field)
    return image


def field_metrics(
    field: sitk.Image, region: sitk.Image | None = None, jacobian: sitk.Image | None = None
) -> dict[str, Any]:
    """Regularity and size of a displacement field.

    Args:
        field: vector image of displacements in LPS mm.
        region: mask (non-zero = counted) on any grid; the whole field if None.
        jacobian: `jacobian_determinant(field)` if it is known already.

    Returns:
        "folding_percent": voxels with a Jacobian determinant <= 0, in percent; "jacobian_min", "jacobian_max";
        "sd_log_jacobian": standard deviation of log J over the voxels with J > 0, log J clamped to +-log 1000;
        "displacement_mm": {"mean", "max"}. All None if the region holds no voxel of the field.
    """
    if region is not None and jacobian is None:
        field, region = _around(field, region)
    determinant = jacobian_determinant(field) if jacobian is None else jacobian
    values = sitk.GetArrayViewFromImage(determinant)[region_mask(field, region)]
    metrics: dict[str, Any] = dict.fromkeys(("folding_percent", "jacobian_min", "jacobian_max", "sd_log_jacobian"))
    metrics["displacement_mm"] = displacement_statistics(field, region)
    if values.size == 0:
        return metrics
    metrics["folding_percent"] = 100.0 * float(np.mean(values <= 0))
    metrics["jacobian_min"], metrics["jacobian_max"] = float(values.min()), float(values.max())
    positive = values[values > 0].astype(np.float64)
    if positive.size:
        logarithm = np.clip(np.log(positive), -LOG_JACOBIAN_LIMIT, LOG_JACOBIAN_LIMIT)
        metrics["sd_log_jacobian"] = float(logarithm.std())
    return metrics


def _around(field: sitk.Image, region: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Return the parts of a field and of a region on its grid that hold the region and the voxels beside it.

    Derivatives in the region ask for those beside it.
    """
    region = labels_on_grid(region, field)
    box = box_around(label_boxes(region != 0).values())
    z, y, x = (slice(max(axis.start - 1, 0), axis.stop + 1) for axis in box)
    return field[x, y, z], region[x, y, z]


def displacement_statistics(field: sitk.Image, region: sitk.Image | None = None) -> dict[str, float | None]:
    """{"mean", "max"} length of the displacements (mm) in `region` (mask on any grid); None where there is no voxel."""
    vectors = sitk.GetArrayViewFromImage(field)
    lengths = np.sqrt(np.einsum("...i,...i", vectors, vectors))[region_mask(field, region)]
    if lengths.size == 0:
        return {"mean": None, "max": None}
    return {"mean": float(lengths.mean(dtype=np.float64)), "max": float(lengths.max())}


def region_mask(field: sitk.Image, region: sitk.Image | None) -> np.ndarray:
    """`region` on the field's grid as a boolean array (D, H, W); all True if None."""
    if region is None:
        return np.ones(field.GetSize()[::-1], bool)
    return sitk.GetArrayFromImage(labels_on_grid(region, field)) != 0
