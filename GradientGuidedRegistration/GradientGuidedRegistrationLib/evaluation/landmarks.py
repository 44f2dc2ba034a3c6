"""Target registration error: how far landmarks of one image land from their counterparts in the other."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..errors import InputError


def target_registration_error(
    transform: sitk.Transform, fixed_points_lps: np.ndarray, moving_points_lps: np.ndarray
) -> np.ndarray:
    """Distances (N,) in mm between `transform` of the fixed points and the moving points.

    Args:
        transform: maps fixed to moving points, as `SimpleITK.Resample(moving, fixed, transform)` takes it.
        fixed_points_lps, moving_points_lps: (N, 3) corresponding points in LPS mm. With the identity as transform
            the result is the error before registration.

    Raises:
        InputError: not as many fixed as moving points.
    """
    fixed = np.asarray(fixed_points_lps, dtype=np.float64).reshape(-1, 3)
    moving = np.asarray(moving_points_lps, dtype=np.float64).reshape(-1, 3)
    if fixed.shape != moving.shape:
        raise InputError(
            f"There are {len(fixed)} fixed and {len(moving)} moving landmarks; give as many of each, in the same order."
        )
    mapped = np.array([transform.TransformPoint(point.tolist()) for point in fixed]).reshape(-1, 3)
    return np.linalg.norm(mapped - moving, axis=1)
