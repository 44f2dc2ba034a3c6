"""Where two segmentations disagree most."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from .overlap import label_boxes
from .surface import farthest_element


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
    size = fixed_labels.GetSize()[::-1]
    boxes = [label_boxes(image) for image in (fixed_labels, other_labels)]
    arrays = [sitk.GetArrayViewFromImage(image) for image in (fixed_labels, other_labels)]
    worst = None
    for label in sorted(set(boxes[0]) & set(boxes[1])):
        pairs = list(zip(boxes[0][label], boxes[1][label], strict=True))
        crop = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in pairs)
        first, second = (array[crop] == label for array in arrays)
        inner = tuple(slice(2 - part.start, length - 2 - part.start) for part, length in zip(crop, size, strict=True))
        index, distance = farthest_element(first, second, fixed_labels.GetSpacing(), inner)
        if distance > (-1.0 if worst is None else worst.distance_mm):
            index = np.array(index) + [part.start for part in crop]
            point = fixed_labels.TransformContinuousIndexToPhysicalPoint(index[::-1].tolist())
            worst = WorstBoundary(label, point, distance)
    return worst
