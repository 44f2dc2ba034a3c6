"""Figures before and after a registration side by side: as one nested value for JSON, as rows, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import SimpleITK as sitk

from .boundary import SeenRegion, worse_of, worst_place
from .overlap import (
    Metrics,
    integer_labels,
    label_regions,
    label_volumes,
    labels_on_grid,
    means_before_and_after,
    region_metrics,
)

MEASURES = {"dice": "Dice", "asd_mm": "ASD (mm)", "hd95_mm": "HD95 (mm)"}
COLUMNS = (
    "label",
    "name",
    "dice_before",
    "dice_after",
    "asd_mm_before",
    "asd_mm_after",
    "hd95_mm_before",
    "hd95_mm_after",
    "fixed_volume_ml",
    "moving_volume_ml",
    "warped_volume_ml",
)


def compare_labels(
    fixed_labels: sitk.Image,
    moving_labels: sitk.Image,
    warped_labels: sitk.Image,
    names: Mapping[int, str] | None = None,
    seen: sitk.Image | None = None,
) -> dict[str, Any]:
    """Overlap of the fixed labels with the moving ones as scanned (before) and as warped (after).

    Args:
        fixed_labels: integer label image (LPS); the other two are brought onto its grid by nearest neighbour.
        moving_labels, warped_labels: the moving segmentation before and after registration.
        names: words for label values; "Label 3" where there are none.
        seen: mask on any grid, non-zero where the warped moving image reaches; None if it reaches everywhere. Only the
            `worst_boundary` looks at it.

    Returns:
        {"labels": {"3": {"name", "before": {...}, "after": {...}}, ...}, "mean": {"before": {...}, "after": {...}},
        "worst": {"label", "point", "distance_mm"} or None} with the figures of `label_metrics`, the
        `means_before_and_after` and the `worst_boundary` after. The moving volume before is that of the whole
        structure, also where it reaches past the grid of `fixed_labels`. A label that is lost or gained by warping
        stays in both columns. Keys are strings and values plain, so that all of it survives JSON unchanged.

    Raises:
        InputError: an image is not 3-D or not of whole numbers.
    """
    fixed_labels, moving_labels, warped_labels = (
        integer_labels(image, f"The {name} segmentation")
        for image, name in ((fixed_labels, "fixed"), (moving_labels, "moving"), (warped_labels, "warped"))
    )
    images = [labels_on_grid(image, fixed_labels) for image in (fixed_labels, moving_labels, warped_labels)]
    names = names or {}
    entries: dict[str, Any] = {}
    volumes = label_volumes(moving_labels)
    region, worst = SeenRegion(images[0], seen), None
    for label, box, (fixed, moving, warped) in label_regions(images):
        figures = {"before": region_metrics(fixed, moving), "after": region_metrics(fixed, warped)}
        figures["before"]["moving_volume_ml"] = volumes.get(label, 0.0)
        entries[str(label)] = {"name": names.get(label, f"Label {label}"), **figures}
        worst = worse_of(worst, worst_place(label, box, fixed, warped, region, worst))
    means = means_before_and_after(entries)
    place = None if worst is None else {**worst._asdict(), "point": list(worst.point)}
    return {"labels": entries, "mean": means, "worst": place}


def label_values(labels: sitk.Image) -> list[int]:
    """The non-zero values of a label image, ascending."""
    return sorted(label_volumes(labels))


def rows_of(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a label and a last one for the mean, with the keys `COLUMNS`; None where a figure is not defined."""
    rows = []
    for label, entry in comparison.get("labels", {}).items():
        rows.append(_row(label, entry.get("name") or f"Label {label}", entry.get("before"), entry.get("after")))
    mean = comparison.get("mean")
    if rows and mean:
        rows.append(_row("", "Mean", mean.get("before"), mean.get("after")))
    return rows


def csv_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """Comma-separated text with a header line; undefined figures are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _safe(row.get(key)) for key in columns})
    return text.getvalue()


def _row(label: str, name: str, before: Metrics | None, after: Metrics | None) -> dict[str, Any]:
    before, after = before or {}, after or {}
    row: dict[str, Any] = {"label": label, "name": name}
    for measure in MEASURES:
        row[f"{measure}_before"], row[f"{measure}_after"] = before.get(measure), after.get(measure)
    row["fixed_volume_ml"] = after.get("fixed_volume_ml", before.get("fixed_volume_ml"))
    row["moving_volume_ml"], row["warped_volume_ml"] = before.get("moving_volume_ml"), after.get("moving_volume_ml")
    return row


def _safe(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a quote in front."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value
