"""What a displacement field brings from the moving onto the fixed image: labels, the field of view, the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .field import displacement_statistics
from .overlap import integer_labels, label_boxes, labels_on_grid
from .tables import compare_labels


def field_transform(field: sitk.Image) -> sitk.Transform:
    """The transform of a displacement field (LPS mm); the field itself is left as it is."""
    return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))


def compare_registered(
    fixed_labels: sitk.Image,
    moving_labels: sitk.Image,
    fixed: sitk.Image,
    moving: sitk.Image,
    field: sitk.Image,
    names: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """`compare_labels` of the fixed labels with the moving ones, warped by a field (LPS mm, fixed to moving points).

    Args:
        fixed: the image that the fixed labels belong to; compared is on its grid, whatever part of it they cover.
        moving: the image that the moving labels belong to: beyond its end nothing is held against them.

    Raises:
        InputError: a segmentation is not 3-D or not of whole numbers.
    """
    fixed_labels = labels_on_grid(integer_labels(fixed_labels, "The fixed segmentation"), fixed)
    moving_labels = integer_labels(moving_labels, "The moving segmentation")
    transform = field_transform(field)
    warped = warp_labels(moving_labels, fixed_labels, field, transform)
    return compare_labels(fixed_labels, moving_labels, warped, names, seen_part(moving, field, transform))


def check_covers(labels: sitk.Image, image: sitk.Image, name: str) -> None:
    """Raise InputError when labels (3-D, whole numbers) have nothing in the image that they belong to."""
    box = label_boxes(labels != 0).get(1)
    if box is not None:
        z, y, x = box
        part = labels[x, y, z]
        inside = sitk.GetArrayFromImage(seen_part(image, part)) > 0
        if (sitk.GetArrayViewFromImage(part)[inside] != 0).any():
            return
    raise InputError(f"The {name} covers nothing of its image; check that it belongs to it.")


def seen_part(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform | None = None) -> sitk.Image:
    """Mask on a grid of the voxels that a transform (none: the identity) takes into the box of `image`."""
    size = np.array(image.GetSize())
    whole = sitk.Image([2, 2, 2], sitk.sitkUInt8) + 1  # the same box in eight voxels
    spacing = np.array(image.GetSpacing()) * size / 2
    whole.SetSpacing(spacing.tolist())
    whole.SetDirection(image.GetDirection())
    whole.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(((size / 2 - 1) / 2).tolist()))
    return sitk.Resample(
        whole, grid.GetSize(), transform or sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor,
        grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection(), 0, sitk.sitkUInt8,
    )  # fmt: skip


def warp_labels(
    moving_labels: sitk.Image, fixed_labels: sitk.Image, field: sitk.Image, transform: sitk.Transform | None = None
) -> sitk.Image:
    """The moving labels on the grid of the fixed ones, by nearest neighbour; `transform` is that of the field if known.

    Only the part of the grid that the field can bring labels to is sampled: labels fill a small share of most images.
    """
    warped = sitk.Image(fixed_labels.GetSize(), moving_labels.GetPixelID())
    warped.CopyInformation(fixed_labels)
    box = label_boxes(moving_labels != 0).get(1)
    if box is None:
        return warped
    corners = [
        fixed_labels.TransformPhysicalPointToContinuousIndex(
            moving_labels.TransformContinuousIndexToPhysicalPoint(
                [(side.stop if bit else side.start) - 0.5 for side, bit in zip(box[::-1], bits, strict=True)]
            )
        )
        for bits in np.ndindex(2, 2, 2)
    ]
    reach = displacement_statistics(field)["max"] / np.array(fixed_labels.GetSpacing()) + 1
    size = np.array(fixed_labels.GetSize())
    start = np.clip(np.floor(np.min(corners, axis=0) - reach), 0, size).astype(int)
    stop = np.clip(np.ceil(np.max(corners, axis=0) + reach) + 1, 0, size).astype(int)
    if (stop <= start).any():
        return warped
    part = sitk.RegionOfInterest(fixed_labels, (stop - start).tolist(), start.tolist())
    part = sitk.Resample(
        moving_labels, part, transform or field_transform(field), sitk.sitkNearestNeighbor, 0,
        moving_labels.GetPixelID(),
    )  # fmt: skip
    return sitk.Paste(warped, part, part.GetSize(), [0, 0, 0], start.tolist())
