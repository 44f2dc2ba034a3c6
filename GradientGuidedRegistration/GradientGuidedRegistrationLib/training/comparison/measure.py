"""The measures of one method on one case."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ...evaluation import field_metrics, field_transform, label_metrics, target_registration_error
from .cases import LabelledPair
from .methods import Outcome

_LANDMARKS = 2000


def measure(pair: LabelledPair, outcome: Outcome) -> list[dict[str, object]]:
    """One row for each label ("dice", "asd_mm", "hd95_mm") and a last one for the whole.

    The last row has the label "", the mean Dice, ASD and HD95 of all labels, "folding_percent", "tre_mm" (mean distance
    from the true field within the body; None where it is not known), "seconds" and "used" (`Outcome.is_used`, 0 or 1).
    """
    transform = sitk.Transform(3, sitk.sitkIdentity)
    if outcome.field is not None:
        transform = field_transform(outcome.field)
    warped = sitk.Resample(pair.moving_labels, pair.fixed_labels, transform, sitk.sitkNearestNeighbor, 0)
    metrics = label_metrics(pair.fixed_labels, warped, pair.label_names)
    rows: list[dict[str, object]] = [
        {"label": pair.label_names[value], **{name: metrics[value][name] for name in ("dice", "asd_mm", "hd95_mm")}}
        for value in metrics
    ]
    whole: dict[str, object] = {
        "label": "", "seconds": outcome.seconds, "folding_percent": 0.0, "tre_mm": None, "used": int(outcome.is_used)
    }  # fmt: skip
    for name in ("dice", "asd_mm", "hd95_mm"):
        known = [float(row[name]) for row in rows if row[name] is not None]  # type: ignore[arg-type]
        whole[name] = float(np.mean(known)) if known else None
    if outcome.field is not None:
        whole["folding_percent"] = field_metrics(outcome.field, pair.fixed_labels)["folding_percent"]
    if pair.truth is not None:
        whole["tre_mm"] = _error(pair, field_transform(pair.truth), transform)
    return [*rows, whole]


def _error(pair: LabelledPair, truth: sitk.Transform, transform: sitk.Transform) -> float:
    """Mean distance in mm between where the transform and the truth send points spread over the body."""
    body = np.argwhere(sitk.GetArrayViewFromImage(pair.fixed_labels) > 0)[:, ::-1]
    chosen = body[np.linspace(0, len(body) - 1, min(_LANDMARKS, len(body))).astype(int)]
    points = np.array([pair.fixed_labels.TransformIndexToPhysicalPoint(index.tolist()) for index in chosen])
    targets = np.array([truth.TransformPoint(point.tolist()) for point in points])
    return float(target_registration_error(transform, points, targets).mean())
