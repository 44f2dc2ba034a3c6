"""CT and MR told apart by DICOM, name and intensities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib import mrml


def volume(scene: Any, name: str, low: float = 5.0, high: float = 80.0) -> Any:
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(4, 4, 4)
    return mrml.volume_node_from_image(sitk.GetImageFromArray(values), name, scene)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CTBrain", "CT"),
        ("MRBrainT1", "MR"),
        ("4: thorax ct 1.0 B30f", "CT"),
        ("t2_haste_fs", "MR"),
        ("Case10-MR", "MR"),
        ("DZ-CBCT", "CT"),
        ("FLAIR", "MR"),
        ("patient_ct", "CT"),
        ("Phantom CT", "CT"),
        ("img0012", "MR"),
        ("OctoberActive", "MR"),
        ("CT to MR", "MR"),
    ],
)
def test_names(scene: Any, name: str, expected: str) -> None:
    """The last three tell nothing by name (or both): there the intensities decide, all of them positive."""
    assert mrml.modality_of(volume(scene, name)) == expected


def test_intensities(scene: Any) -> None:
    assert mrml.modality_of(volume(scene, "a", low=-1024.0, high=2000.0)) == "CT"
    assert mrml.modality_of(volume(scene, "b", low=0.0, high=900.0)) == "MR"
    assert mrml.modality_of(volume(scene, "c", low=-30.0, high=30.0)) is None


def test_dicom_comes_before_the_name(scene: Any) -> None:
    node = volume(scene, "MR of the thorax")
    node.SetAttribute("DICOM.Modality", "CT")
    assert mrml.modality_of(node) == "CT"
    node.SetAttribute("DICOM.Modality", "PT")
    assert mrml.modality_of(node) == "PT"


def test_pair(scene: Any) -> None:
    mr, ct, unknown = volume(scene, "T1"), volume(scene, "CT"), volume(scene, "x", -10.0)
    assert mrml.recognize_pair([ct, mr]) == (mr, ct)
    assert mrml.recognize_pair([mr, unknown]) == (mr, unknown)
    assert mrml.recognize_pair([unknown, ct]) == (unknown, ct)
    assert mrml.recognize_pair([mr, unknown, ct]) == (mr, ct)
    assert mrml.recognize_pair([ct]) == (None, ct)
    assert mrml.recognize_pair([]) == (None, None)
    later = volume(scene, "T2")
    assert mrml.recognize_pair([mr, ct, later])[0] is later


def test_two_unknown_volumes_take_the_two_parts_and_results_none(scene: Any) -> None:
    first, second = volume(scene, "x", -10.0), volume(scene, "y", -10.0)
    assert mrml.recognize_pair([first, second]) == (first, second)
    result = volume(scene, "CT on MR")
    result.SetAttribute("GradientGuidedRegistration.Result", "1")
    assert mrml.recognize_pair([first, result]) == (None, None)
