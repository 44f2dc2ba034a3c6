"""How far a registration can be trusted: the error it expects of itself, place by place, and one verdict with reasons.

The expected error is a power law of two measurements, fitted to registrations with a known truth, failed ones among
them: how much more the descriptors of the pair differ around a place when the displacement is pushed off, and how much
less of what the plainer image says the other then says, too, once their noise is smoothed away. The first says where
within a pair, the second how well the pair fits as a whole.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from .grid import Grid, smoothed

VERDICTS = {"good": "Good", "check": "Check before use", "poor": "Poor: do not rely on it"}  # in words
NEIGHBOURHOOD_MM = 5.0  # standard deviation of the Gaussian over which descriptors are compared
PUSH_MM = 6.0  # about the error of a registration that is to be looked at
GOOD_MM, POOR_MM = 2.0, 4.0  # mean expected error up to which a registration is good, and from which it is poor
LARGE_MM = 5.0
_LARGE_SHARE = 0.1  # of the overlap that may expect a large error in a good registration
_OVERLAP = 0.5  # of the fixed field of view
_FOLDING_PERCENT = 0.1
_INVERSE_MM = 1.0  # at the 99th percentile
_THIN_MM = 20.0  # of the fixed field of view: between so few structures an alignment slides
_LEAST_RISE = 0.005  # what is less tells as little
_LEAST_TOLD = 0.005
# log(error + 0.3 mm) = _CONSTANT + _DOUBT log(sum of 1 / (rise + _LEAST_RISE)) + _FIT log(information + _LEAST_TOLD)
_CONSTANT, _DOUBT, _FIT = -2.75, 0.32, -0.80
_LARGEST_MM = 30.0  # about the largest error that it was fitted to


class Held(NamedTuple):
    """What `refinement.hold` measured, with its place.

    rise: of the difference of the descriptors when the displacement is pushed off along each axis (3, D, H, W).
    weight: 0 where it was not measured, outside the masks and the fields of view (D, H, W).
    tissue: whether something other than air is to be seen in the fixed image (D, H, W).
    grid: where it was measured.
    """

    rise: np.ndarray
    weight: np.ndarray
    tissue: np.ndarray
    grid: Grid


def expected_error(held: Held, information: float) -> sitk.Image:
    """Return the error in mm, 0 to 30, that a registration must be expected to have, float32 on the grid of ``held``.

    It is large where the pair hardly tells along one axis at least. Where nothing was measured nearby, the mean of the
    pair stands in.

    Args:
        held: after the registration.
        information: that tells of the registration, see `linear.Level.information_told`.
    """
    rise, weight, _, grid = held

    def around(values: np.ndarray) -> np.ndarray:
        return sitk.GetArrayFromImage(smoothed(grid.image(values.astype(np.float32)), [NEIGHBOURHOOD_MM] * 3))

    counts, total = np.maximum(around(weight), 0), max(weight.sum(), 1e-6)
    local = [(around(values * weight) + 0.01 * (values * weight).sum() / total) / (counts + 0.01) for values in rise]
    doubt = sum(1 / (np.maximum(values, 0) + _LEAST_RISE) for values in local)
    level = _CONSTANT + _FIT * log(max(information, 0.0) + _LEAST_TOLD)
    error = np.exp(level + _DOUBT * np.log(doubt)) - 0.3
    return grid.image(error.clip(0, _LARGEST_MM).astype(np.float32))


def judged(error: sitk.Image, held: Held, quality: dict) -> tuple[str, list[str]]:
    """Return the verdict "good", "check" or "poor", and its reasons as sentences.

    Args:
        error: the expected error in mm.
        held: what it was reckoned from; tissue that both images show counts.
        quality: figures of the registration: "mutual_information", "overlap", "folding_percent", "working_grid" and,
            where there is an inverse, "inverse_residual_mm".
    """
    inside = sitk.GetArrayViewFromImage(error)[(held.weight > 0.5) & held.tissue]
    if inside.size == 0:
        return "poor", ["The images do not overlap after registration."]
    mean, high = float(inside.mean()), float(np.percentile(inside, 95))
    large = float((inside > LARGE_MM).mean())
    information, overlap = quality["mutual_information"], quality["overlap"]
    poor, check = [], []
    size = f"An error of {mean:.1f} mm on average and {high:.1f} mm in places must be expected"
    if mean >= POOR_MM:
        poor.append(f"{size}: the images hardly fit each other, or do not show it.")
    elif mean >= GOOD_MM or large > _LARGE_SHARE:
        check.append(f"{size}.")
    if information["after"] < 0.98 * information["initial"]:
        fell = f"from {information['initial']:.3f} to {information['after']:.3f}"
        poor.append(f"The images fit each other less than before the registration (mutual information fell {fell}).")
    elif information["after"] < 0.98 * information["linear"]:
        fell = f"from {information['linear']:.3f} to {information['after']:.3f}"
        check.append(f"The images fit each other less than after the alignment alone (mutual information fell {fell}).")
    if overlap < _OVERLAP:
        check.append(f"The moving image covers {100 * overlap:.0f} % of the fixed image's field of view only.")
    if quality["folding_percent"] > _FOLDING_PERCENT:
        check.append(f"The deformation folds in {quality['folding_percent']:.2f} % of the field of view.")
    grid = quality["working_grid"]
    thickness = min(grid["size"]) * grid["spacing_mm"]
    if thickness < _THIN_MM:
        check.append(f"The fixed image shows {thickness:.0f} mm along one axis only: too little to be sure of.")
    inverse = quality.get("inverse_residual_mm", {"p99": 0.0})["p99"]
    if inverse > _INVERSE_MM:
        check.append(f"The inverse field is off by {inverse:.1f} mm in places.")
    if poor:
        return "poor", poor + check
    return ("check", check) if check else ("good", [f"{size}; nothing speaks against it."])
