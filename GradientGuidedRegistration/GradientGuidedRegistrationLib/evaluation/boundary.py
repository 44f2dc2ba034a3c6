"""Where two segmentations disagree most."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from .overlap import Box, Region, label_regions


class WorstBoundary(NamedTuple):
    """The place on a label's border that is farthest from the same label's border in the other image."""

    label: int
    point: tuple[float, float, float]  # LPS mm
    distance_mm: float


def worst_boundary(fixed_labels: sitk.Image, other_labels: sitk.Image) -> WorstBoundary | None:
    """Find the worst place on the borders of the fixed labels.

    Args:
        fixed_labels, other_labels: integer label images on one grid.

    Returns:
        None if no label is in both. Within two voxels of the images' edge nothing counts: what is left there of a
        structure that the edge cuts differs by chance.
    """
    found = (
        worst_place(label, box, fixed, other, fixed_labels)
        for label, box, (fixed, other) in label_regions([fixed_labels, other_labels])
    )
    return worse_of(*found)


def worst_place(label: int, box: Box, fixed: Region, other: Region, reference: sitk.Image) -> WorstBoundary | None:
    """The worst place of one label, as for `worst_boundary`; `box` is that of the regions in the image `reference`."""
    if not (fixed.voxels and other.voxels):
        return None
    size = reference.GetSize()[::-1]
    inner = [slice(2 - part.start, length - 2 - part.start) for part, length in zip(box, size, strict=True)]
    distances = np.where(fixed.surface.between(inner), fixed.surface.distances_to(other.surface), -1.0)
    element = int(np.argmax(distances))
    if distances[element] < 0:
        return None
    index = np.array(fixed.surface.index_of(element)) + [part.start for part in box]
    point = reference.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist())
    return WorstBoundary(label, point, float(distances[element]))


def worse_of(*places: WorstBoundary | None) -> WorstBoundary | None:
    """The one with the largest distance; of equal ones the first."""
    return max((place for place in places if place is not None), key=lambda place: place.distance_mm, default=None)
