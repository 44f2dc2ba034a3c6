"""Volumes that can be registered quickly, and what a registration would find of some."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from GradientGuidedRegistrationLib import mrml

SHIFT_MM = 3.0


def volume(scene: Any, name: str, size: int = 20, seed: int = 1) -> Any:
    k, j, i = np.indices((size, size, size)) - size / 2 + seed
    values = 100.0 * (i**2 / 2 + j**2 + k**2 < (size / 4) ** 2) + np.random.default_rng(seed).normal(size=i.shape)
    image = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(values.astype(np.float32)), 1.0)
    image.SetOrigin((5.0, -7.0, 11.0))
    return mrml.volume_node_from_image(image, name, scene)


def ball(centre: float, values: tuple[float, float], pixel: int) -> sitk.Image:
    """A ball of 7 mm radius in a cube of 30 voxels of 1 mm, `centre` along the first axis."""
    k, j, i = np.indices((30, 30, 30)) - 15.0
    inside = (i - centre) ** 2 + j**2 + k**2 < 49
    return sitk.Cast(sitk.GetImageFromArray(np.where(inside, values[1], values[0])), pixel)


def field() -> sitk.Image:
    vectors = np.zeros((30, 30, 30, 3), np.float32)
    vectors[2:-2, 2:-2, 2:-2, 0] = SHIFT_MM
    return sitk.GetImageFromArray(vectors, isVector=True)


def count(scene: Any, class_name: str) -> int:
    return scene.GetNumberOfNodesByClass(class_name)
