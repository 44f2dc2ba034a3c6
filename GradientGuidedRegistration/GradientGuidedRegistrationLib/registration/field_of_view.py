"""Where an image has been measured: padding of one constant value around it, straight or turned, is told from air."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .grid import covering_grid

_LEAST_SHARE = 0.01  # of the volume: less padding is not worth a look
_SPACING_MM = 3.0
_NORMALS = 2000
_CONE = np.cos(np.radians(12))
_FLAT_SHARE = 0.75  # of the padding's boundary that three planes and their opposites must explain


def measured(image: sitk.Image) -> np.ndarray:
    """Return the mask (D, H, W) of the voxels that are not padding.

    Padding hangs together with a corner, has exactly one value and ends in planes, as the field of view of a scanner
    does; a background of one value that ends at the skin is no padding. Neither is one around nothing, or around what
    has one value itself.
    """
    values = sitk.GetArrayViewFromImage(image)
    valid = np.ones(values.shape, bool)
    for padding in sorted({float(values[k, j, i]) for k in (0, -1) for j in (0, -1) for i in (0, -1)}):
        region = _from_corners(image, padding)
        inside = sitk.GetArrayViewFromImage(region) > 0
        if not 0 < inside.mean() < 1:
            continue
        if _fills_its_box(~inside):
            valid &= ~inside
        elif inside.mean() > _LEAST_SHARE and _ends_in_planes(region):
            grown = sitk.BinaryDilate(region, (1, 1, 1))  # beside turned padding voxels are mixed with it
            valid &= sitk.GetArrayViewFromImage(grown) == 0
    if valid.all():
        return valid
    lowest, highest = values.min(), values.max()
    has_several = values.min(where=valid, initial=highest) < values.max(where=valid, initial=lowest)
    return valid if has_several else np.ones(values.shape, bool)


def _fills_its_box(mask: np.ndarray) -> bool:
    """Say whether a mask is a box along the axes: straight padding around it is all that is left out."""
    ranges = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return bool(mask[tuple(slice(r[0], r[-1] + 1) for r in ranges)].all())


def _from_corners(image: sitk.Image, value: float) -> sitk.Image:
    last = [n - 1 for n in image.GetSize()]
    corners = [(i, j, k) for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])]
    seeds = [corner for corner in corners if image[corner] == value]
    return sitk.ConnectedThreshold(image, seeds, lower=value, upper=value)


def _ends_in_planes(region: sitk.Image) -> bool:
    """Say whether the boundary of a region inside the volume has the normals of a box."""
    shortest = min(n * s for n, s in zip(region.GetSize(), region.GetSpacing()))
    grid = covering_grid(region, max(min(_SPACING_MM, shortest / 24), min(region.GetSpacing())))
    mask = grid.resample(sitk.Cast(region, sitk.sitkFloat32), default=1.0)
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(mask, 1.5 * grid.spacing[0]))
    if min(smooth.shape) < 16:
        return False
    slopes = np.stack(np.gradient(smooth), axis=-1)[4:-4, 4:-4, 4:-4].reshape(-1, 3)
    lengths = np.linalg.norm(slopes, axis=1)
    boundary = np.flatnonzero(lengths > 0.6 * lengths.max(initial=1e-3))
    if boundary.size < 20:  # the padding lies at the rim of the volume only
        return True
    normals = slopes[boundary[:: max(1, boundary.size // _NORMALS)]]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    remaining, explained = normals, 0
    for _ in range(3):
        if not len(remaining):
            break
        near = np.abs(remaining @ remaining.T) > _CONE
        best = near[near.sum(0).argmax()]
        explained += int(best.sum())
        remaining = remaining[~best]
    return explained > _FLAT_SHARE * len(normals)
