"""The measures of one method on one case, from the field that it left on the case's grid."""

from __future__ import annotations

import json

import numpy as np
import SimpleITK as sitk
from case_folder import CaseFolder
from cases import SCORED
from known_warps import moved

from GradientGuidedRegistrationLib.evaluation import (
    field_metrics,
    field_transform,
    label_metrics,
    labels_on_grid,
    mean_metrics,
    target_registration_error,
)

BEFORE = "before"
COLUMNS = ("group", "case", "method", "tre_mm", "tre_p95_mm", "tre_aligned_mm", "tre_own_mm", "tre_scanned_mm",
           "dice", "asd_mm", "hd95_mm", "folding_percent", "sd_log_jacobian", "seconds", "cpu_seconds",
           "import_seconds", "peak_memory_mb", "run")  # fmt: skip
_TIMES = ("seconds", "cpu_seconds", "import_seconds", "peak_memory_mb", "run")


def measure(case: CaseFolder, method: str) -> dict[str, object]:
    """One row with the keys `COLUMNS` but "group"; the images as they are for the method `BEFORE`."""
    row: dict[str, object] = dict.fromkeys(COLUMNS)
    row |= {"case": case.path.name, "method": method}
    transform = sitk.Transform(3, sitk.sitkIdentity)
    if method != BEFORE:
        about = json.loads((case.method(method) / "run.json").read_text(encoding="utf-8"))
        row |= {name: about.get(name) for name in _TIMES}
        field = sitk.ReadImage(str(case.method(method) / "field.mha"))
        figures = field_metrics(field, labels_on_grid(case.image("valid"), field))
        row |= {name: figures[name] for name in ("folding_percent", "sd_log_jacobian")}
        transform = field_transform(field)
    truth = np.load(case.path / "truth.npz")
    error = target_registration_error(transform, truth["points"], truth["targets"])
    row |= {"tre_mm": float(error.mean()), "tre_p95_mm": float(np.percentile(error, 95))}
    if "aligned_targets" in truth:
        error = target_registration_error(transform, truth["points"], truth["aligned_targets"])
        row["tre_aligned_mm"] = float(error.mean())
    if case.spoiling.is_file() and method != BEFORE:
        own = field_transform(sitk.ReadImage(str(case.scanned.method(method) / "field.mha")))
        targets = moved(sitk.ReadTransform(str(case.spoiling)), moved(own, truth["points"]))
        row["tre_own_mm"] = float(target_registration_error(transform, truth["points"], targets).mean())
        row["tre_scanned_mm"] = float(np.linalg.norm(targets - truth["targets"], axis=1).mean())
    if case.has("fixed_labels"):
        fixed, moving = case.image("fixed_labels"), case.image("moving_labels")
        warped = sitk.Resample(moving, fixed, transform, sitk.sitkNearestNeighbor, 0)
        means = mean_metrics(label_metrics(fixed, warped, SCORED))
        row |= {name: means[name] for name in ("dice", "asd_mm", "hd95_mm")}
    return row
