"""How well two images lie on each other: overlap, surface distances, landmarks and the deformation itself.

Needs numpy and SimpleITK only. Images are `SimpleITK.Image` in LPS millimetres; labels are integer images;
an undefined figure is None, never NaN, so that every result can be written as JSON.
"""

from __future__ import annotations

from .boundary import WorstBoundary, worst_boundary
from .field import displacement_statistics, field_metrics, jacobian_determinant
from .landmarks import target_registration_error
from .overlap import label_metrics, label_volumes, labels_on_grid, mask_metrics, mean_metrics, means_before_and_after
from .registered import check_covers, compare_registered, field_transform, seen_part, warp_labels
from .tables import compare_labels, csv_of, label_values, rows_of

__all__ = [
    "WorstBoundary",
    "check_covers",
    "compare_labels",
    "compare_registered",
    "csv_of",
    "displacement_statistics",
    "field_metrics",
    "field_transform",
    "jacobian_determinant",
    "label_metrics",
    "label_values",
    "label_volumes",
    "labels_on_grid",
    "mask_metrics",
    "mean_metrics",
    "means_before_and_after",
    "rows_of",
    "seen_part",
    "target_registration_error",
    "warp_labels",
    "worst_boundary",
]
