"""Dice, average surface distance (ASD), 95 % Hausdorff distance (HD95) and volume of labelled structures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .surface import Surface, surface_distances

Metrics = dict[str, Any]
Box = tuple[slice, slice, slice]
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
    fixed_labels, moving_labels = (
        integer_labels(fixed_labels, "The fixed segmentation"),
        integer_labels(moving_labels, "The moving segmentation"),
    )
    if not same_grid(fixed_labels, moving_labels):
        raise InputError(
            "The fixed and the moving segmentation are on different grids; resample one of them with labels_on_grid()."
        )
    return {
        label: region_metrics(*regions) for label, _, regions in label_regions([fixed_labels, moving_labels], labels)
    }


class Region:
    """A structure in a box of an image; its surface is made when it is needed.

    Args:
        mask: boolean array (D, H, W).
        spacing: (x, y, z) in mm.
    """

    def __init__(self, mask: np.ndarray, spacing: Sequence[float]) -> None:
        self.mask, self.spacing = mask, spacing
        self.voxels = int(np.count_nonzero(mask))

    @property
    def volume_ml(self) -> float:
        """Number of voxels times their volume."""
        return self.voxels * float(np.prod(self.spacing)) / 1000.0

    @cached_property
    def surface(self) -> Surface:
        """The surface, closed at the edge of the box."""
        return Surface(self.mask, self.spacing)


def label_regions(
    images: Sequence[sitk.Image], labels: Iterable[int] | None = None
) -> Iterator[tuple[int, Box, list[Region]]]:
    """For each label, ascending: its value, the box (z, y, x slices) that holds it in all images, its regions there.

    Args:
        images: integer label images on one grid.
        labels: values; every non-zero value found in any of the images if None.
    """
    boxes = [label_boxes(image) for image in images]
    arrays = [sitk.GetArrayViewFromImage(image) for image in images]
    spacing = images[0].GetSpacing()
    for label in sorted({int(label) for label in labels} if labels is not None else set().union(*boxes)):
        box = box_around([found.get(label) for found in boxes])
        yield label, box, [Region(array[box] == label, spacing) for array in arrays]


def region_metrics(fixed: Region, moving: Region) -> Metrics:
    """The figures of `label_metrics` for two regions in the same box."""
    voxels = fixed.voxels + moving.voxels
    metrics: Metrics = {
        "dice": 2.0 * int(np.count_nonzero(fixed.mask & moving.mask)) / voxels if voxels else None,
        "asd_mm": None,
        "hd95_mm": None,
        "fixed_volume_ml": fixed.volume_ml,
        "moving_volume_ml": moving.volume_ml,
    }
    if fixed.voxels and moving.voxels:
        distances = surface_distances(fixed.surface, moving.surface)
        metrics["asd_mm"], metrics["hd95_mm"] = distances.average(), distances.hausdorff(95.0)
    return metrics


def mask_metrics(fixed: np.ndarray, moving: np.ndarray, spacing: Sequence[float]) -> Metrics:
    """The figures of `label_metrics` for two boolean masks (D, H, W), `spacing` (x, y, z) in mm."""
    return region_metrics(Region(fixed, spacing), Region(moving, spacing))


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


def means_before_and_after(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Metrics]:
    """The `mean_metrics` of labels "before" and "after", of distances over those that have one in both.

    A structure that is lost on the way would otherwise make the mean look better.
    """
    sides: dict[str, dict[str, Metrics]] = {"before": {}, "after": {}}
    for key, entry in entries.items():
        undefined = [name for name in DISTANCES if any(entry[side][name] is None for side in sides)]
        for side, rows in sides.items():
            rows[key] = {**entry[side], **dict.fromkeys(undefined)}
    return {side: mean_metrics(rows) for side, rows in sides.items()}


def integer_labels(labels: sitk.Image, what: str) -> sitk.Image:
    """The labels as an integer image: itself, or cast to Int32 where they are stored as floating-point numbers.

    Args:
        labels: 3-D, one component.
        what: how the message calls the image.

    Raises:
        InputError: another dimension, more than one component, or fractions.
    """
    if labels.GetDimension() != 3 or labels.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{what} is not one 3-D label image; choose a label map.")
    if labels.GetPixelID() not in (sitk.sitkFloat32, sitk.sitkFloat64):
        return labels
    values = sitk.GetArrayViewFromImage(labels)
    if not np.array_equal(values, np.round(values)):
        raise InputError(f"{what} holds fractions, and labels are whole numbers; choose a label map.")
    return sitk.Cast(labels, sitk.sitkInt32)


def label_boxes(labels: sitk.Image) -> dict[int, Box]:
    """Bounding boxes (z, y, x slices) of all non-zero labels, in one pass."""
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputePerimeterOff()
    statistics.Execute(labels)
    boxes = {}
    for label in statistics.GetLabels():
        x, y, z, width, height, depth = statistics.GetBoundingBox(label)
        boxes[int(label)] = (slice(z, z + depth), slice(y, y + height), slice(x, x + width))
    return boxes


def label_volumes(labels: sitk.Image) -> dict[int, float]:
    """Volumes (ml) of all non-zero labels, ascending: number of voxels times their volume."""
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.ComputePerimeterOff()
    statistics.Execute(labels)
    return {int(label): statistics.GetPhysicalSize(label) / 1000.0 for label in sorted(statistics.GetLabels())}


def box_around(boxes: Iterable[Box | None]) -> Box:
    """The box around all of them; an empty one if there are none."""
    found = [box for box in boxes if box is not None]
    z, y, x = (
        slice(min((box[axis].start for box in found), default=0), max((box[axis].stop for box in found), default=0))
        for axis in range(3)
    )
    return z, y, x
