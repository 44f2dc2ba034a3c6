"""Dice, average surface distance (ASD), 95 % Hausdorff distance (HD95) and volume of labelled structures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .surface import surface_distances

Metrics = dict[str, Any]
DISTANCES = ("asd_mm", "hd95_mm")


def labels_on_grid(labels: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """`labels` sampled by nearest neighbour at the voxels of `reference`; 0 outside. Unchanged if already there."""
    if same_grid(labels, reference):
        return labels
    return sitk.Resample(labels, reference, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor, 0)


def same_grid(first: sitk.Image, second: sitk.Image, tolerance: float = 1e-3) -> bool:
    """True if both images have the same voxels: no corner is further apart than `tolerance` of a voxel."""
    if first.GetSize() != second.GetSize():
        return False
    limit = tolerance * min(first.GetSpacing())
    size = first.GetSize()
    for corner in range(8):
        index = [(size[axis] - 1) * (corner >> axis & 1) for axis in range(3)]
        points = (image.TransformIndexToPhysicalPoint(index) for image in (first, second))
        if np.linalg.norm(np.subtract(*points)) > limit:
            return False
    return True


def label_metrics(
    fixed_labels: sitk.Image, moving_labels: sitk.Image, labels: Iterable[int] | None = None
) -> dict[int, Metrics]:
    """Compare each label of two label images on one grid.

    Args:
        fixed_labels, moving_labels: 3-D integer label images on the same grid (see `labels_on_grid`); 0 is background.
        labels: values to compare; every non-zero value found in either image if None.

    Returns:
        For each label, ascending: "dice" in [0, 1] (twice the common voxels over the sum of both), "asd_mm"
        (symmetric average surface distance, weighted by surface area, both surfaces pooled), "hd95_mm" (the larger of
        the two directed, area-weighted 95th percentiles), "fixed_volume_ml", "moving_volume_ml".
        A label in only one image has dice 0.0 and distances None; one in neither has dice None as well.
        A structure that is cut by the edge of the images has its surface closed there.

    Raises:
        InputError: the grids differ, an image is not 3-D or not of whole numbers.
    """
    fixed_labels, moving_labels = _integer(fixed_labels, "fixed"), _integer(moving_labels, "moving")
    if not same_grid(fixed_labels, moving_labels):
        raise InputError(
            "the fixed and the moving segmentation are on different grids; resample one of them with labels_on_grid()"
        )
    boxes = [label_boxes(image) for image in (fixed_labels, moving_labels)]
    wanted = sorted({int(label) for label in labels} if labels is not None else set(boxes[0]) | set(boxes[1]))
    arrays = [sitk.GetArrayViewFromImage(image) for image in (fixed_labels, moving_labels)]
    results = {}
    for label in wanted:
        found = [box[label] for box in boxes if label in box]
        if found:
            crop = tuple(slice(min(b[a].start for b in found), max(b[a].stop for b in found)) for a in range(3))
        else:
            crop = (slice(0, 0),) * 3
        results[label] = mask_metrics(arrays[0][crop] == label, arrays[1][crop] == label, fixed_labels.GetSpacing())
    return results


def mask_metrics(fixed: np.ndarray, moving: np.ndarray, spacing: tuple[float, float, float]) -> Metrics:
    """The figures of `label_metrics` for two boolean masks (D, H, W), `spacing` (x, y, z) in mm."""
    sizes = int(np.count_nonzero(fixed)), int(np.count_nonzero(moving))
    voxel_ml = float(np.prod(spacing)) / 1000.0
    metrics: Metrics = {
        "dice": 2.0 * int(np.count_nonzero(fixed & moving)) / sum(sizes) if sum(sizes) else None,
        "asd_mm": None,
        "hd95_mm": None,
        "fixed_volume_ml": sizes[0] * voxel_ml,
        "moving_volume_ml": sizes[1] * voxel_ml,
    }
    if all(sizes):
        distances = surface_distances(fixed, moving, spacing)
        metrics["asd_mm"], metrics["hd95_mm"] = distances.average(), distances.hausdorff(95.0)
    return metrics


def mean_metrics(metrics: Mapping[Any, Metrics]) -> Metrics:
    """Means over labels: "dice" over all that are in either image, "asd_mm" and "hd95_mm" over those in both.

    "labels" counts the former and "labels_with_distance" the latter; a mean over nothing is None.
    """
    means: Metrics = {}
    for name in ("dice", *DISTANCES):
        values = [row[name] for row in metrics.values() if row[name] is not None]
        means[name] = float(np.mean(values)) if values else None
    means["labels"] = sum(row["dice"] is not None for row in metrics.values())
    means["labels_with_distance"] = sum(row["asd_mm"] is not None for row in metrics.values())
    return means


def _integer(labels: sitk.Image, which: str) -> sitk.Image:
    if labels.GetDimension() != 3 or labels.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"the {which} segmentation must be one 3-D label image")
    if labels.GetPixelID() not in (sitk.sitkFloat32, sitk.sitkFloat64):
        return labels
    values = sitk.GetArrayViewFromImage(labels)
    if not np.array_equal(values, np.round(values)):
        raise InputError(f"the {which} segmentation holds fractions; labels must be whole numbers")
    return sitk.Cast(labels, sitk.sitkInt32)


def label_boxes(labels: sitk.Image) -> dict[int, tuple[slice, slice, slice]]:
    """Bounding boxes (z, y, x slices) of all non-zero labels, in one pass."""
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputePerimeterOff()
    statistics.Execute(labels)
    boxes = {}
    for label in statistics.GetLabels():
        x, y, z, width, height, depth = statistics.GetBoundingBox(label)
        boxes[int(label)] = (slice(z, z + depth), slice(y, y + height), slice(x, x + width))
    return boxes
