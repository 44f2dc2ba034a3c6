"""How far a registration can be trusted: the error it expects of itself, place by place, and one verdict with reasons.

The expected error is a power law of two measurements, fitted to registrations with a known truth, failed ones among
them: how much the descriptors of the pair differ around a place, and how much mutual information the pair has after
registration. The first says where within a pair, the second how well the pair fits as a whole.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from .grid import Grid

VERDICTS = {"good": "Good", "check": "Check before use", "poor": "Poor: do not rely on it"}  # in words
NEIGHBOURHOOD_MM = 16.0  # width of the cube over which descriptors are compared
GOOD_MM, POOR_MM = 2.0, 4.0  # mean expected error up to which a registration is good, and from which it is poor
LARGE_MM = 5.0
_LARGE_SHARE = 0.1  # of the overlap that may expect a large error in a good registration
_OVERLAP = 0.5  # of the fixed field of view
_FOLDING_PERCENT = 0.1
# log(error + 0.3 mm) = _CONSTANT + _MISMATCH log(mismatch + 0.02) + _SIMILARITY log(mutual information + 0.05)
_CONSTANT, _MISMATCH, _SIMILARITY = 1.97, 0.49, -1.48


class Mismatch(NamedTuple):
    """What `refinement.mismatch` measured, with its place.

    values: mean squared difference of the descriptors (D, H, W).
    weight: 0 where it was not measured, outside the masks and the fields of view (D, H, W).
    tissue: whether something other than air is to be seen in the fixed image (D, H, W).
    grid: where it was measured.
    """

    values: np.ndarray
    weight: np.ndarray
    tissue: np.ndarray
    grid: Grid


def expected_error(mismatch: Mismatch, mutual_information: float) -> sitk.Image:
    """Return the error in mm that a registration must be expected to have, float32 on the grid of ``mismatch``.

    Where nothing was measured nearby, the mean mismatch of the pair stands in.

    Args:
        mismatch: after the registration.
        mutual_information: of the pair after the registration, in nats, see `linear.Level`.

    """
    values, weight, _, grid = mismatch
    radius = max(round((NEIGHBOURHOOD_MM / grid.spacing[0] - 1) / 2), 1)
    sums, counts = (
        sitk.GetArrayFromImage(sitk.BoxMean(grid.image(array.astype(np.float32)), [radius] * 3))
        for array in (values * weight, weight)
    )
    average = float((values * weight).sum() / max(weight.sum(), 1e-6))
    local = (np.maximum(sums, 0) + 0.01 * average) / (counts + 0.01)
    level = _CONSTANT + _SIMILARITY * log(max(mutual_information, 0.0) + 0.05)
    return grid.image(np.maximum(np.exp(level + _MISMATCH * np.log(local + 0.02)) - 0.3, 0.0).astype(np.float32))


def judged(error: sitk.Image, mismatch: Mismatch, quality: dict) -> tuple[str, list[str]]:
    """Return the verdict "good", "check" or "poor", and its reasons as sentences.

    Args:
        error: the expected error in mm.
        mismatch: what it was reckoned from; tissue that both images show counts.
        quality: figures of the registration: "mutual_information", "overlap" and "folding_percent".
    """
    inside = sitk.GetArrayViewFromImage(error)[(mismatch.weight > 0.5) & mismatch.tissue]
    if inside.size == 0:
        return "poor", ["The images do not overlap after registration."]
    mean, high = float(inside.mean()), float(np.percentile(inside, 95))
    large = float((inside > LARGE_MM).mean())
    information, overlap = quality["mutual_information"], quality["overlap"]
    poor, check = [], []
    size = f"An error of {mean:.1f} mm on average and {high:.1f} mm in places must be expected"
    if mean >= POOR_MM:
        poor.append(f"{size}: the images hardly fit each other.")
    elif mean >= GOOD_MM or large > _LARGE_SHARE:
        check.append(f"{size}.")
    if information["after"] < 0.98 * information["before"]:
        poor.append("The images fit each other less than before the registration (mutual information fell).")
    elif information["after"] < 0.98 * information["linear"]:
        check.append("The deformation made the images fit each other less (mutual information fell).")
    if overlap < _OVERLAP:
        check.append(f"The moving image covers {100 * overlap:.0f} % of the fixed image's field of view only.")
    if quality["folding_percent"] > _FOLDING_PERCENT:
        check.append(f"The deformation folds in {quality['folding_percent']:.2f} % of the field of view.")
    if poor:
        return "poor", poor + check
    return ("check", check) if check else ("good", [f"{size}; nothing speaks against it."])
