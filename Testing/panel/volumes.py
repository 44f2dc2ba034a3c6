"""Volumes that can be registered quickly."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from GradientGuidedRegistrationLib import mrml


def volume(scene: Any, name: str, size: int = 20, seed: int = 1) -> Any:
    k, j, i = np.indices((size, size, size)) - size / 2 + seed
    values = 100.0 * (i**2 / 2 + j**2 + k**2 < (size / 4) ** 2) + np.random.default_rng(seed).normal(size=i.shape)
    image = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(values.astype(np.float32)), 1.0)
    image.SetOrigin((5.0, -7.0, 11.0))
    return mrml.volume_node_from_image(image, name, scene)
