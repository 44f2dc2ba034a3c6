"""A registration that has ended, and what the scene holds of it: for the tests of the Logic."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from GradientGuidedRegistrationLib.registration.result import Result
from GradientGuidedRegistrationLib.registration.settings import Settings

SIZE = 24


def finished_result(inverse: bool) -> Result:
    """What a registration gives, with a field that is known: 3 mm to the left in the middle."""
    vectors = np.zeros((SIZE, SIZE, SIZE, 3), dtype=np.float32)
    vectors[4:-4, 4:-4, 4:-4, 0] = 3.0
    field = sitk.GetImageFromArray(vectors, isVector=True)
    inverse_field = sitk.GetImageFromArray(-vectors, isVector=True) if inverse else None
    return Result(
        field,
        sitk.Transform(3, sitk.sitkIdentity),
        Settings(device="cpu"),
        inverse_field,
        quality={"verdict": "check", "reasons": ["An error of 2.5 mm must be expected.", "Little overlap."]},
    )


def names_in(scene: Any) -> list[str]:
    return sorted(scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes()))


def saved(scene: Any) -> str:
    """What a scene file of it says."""
    scene.SetSaveToXMLString(1)
    scene.Commit()
    scene.SetSaveToXMLString(0)
    return str(scene.GetSceneXMLString())
