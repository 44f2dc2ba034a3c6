"""Markups to LPS points and back, and points carried in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.mrml import carry_points, markups_from_points, points_from_markups


def test_round_trip_flips_to_ras(scene: Any) -> None:
    points = np.array([[10.0, 20.0, 30.0], [-1.5, 0.0, 2.25]])
    node = markups_from_points(points, "landmarks", scene, ["hip", "knee"])
    assert np.allclose(node.GetNthControlPointPosition(0), [-10, -20, 30])
    assert node.GetNthControlPointLabel(1) == "knee"
    assert np.allclose(points_from_markups(node), points, atol=1e-12)


def test_parent_transform_counts_and_unplaced_points_do_not(scene: Any, new_linear: Any) -> None:
    node = markups_from_points(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), "landmarks", scene)
    node.UnsetNthControlPointPosition(1)
    shift = np.eye(4)
    shift[:3, 3] = [1, 2, 3]
    node.SetAndObserveTransformNodeID(new_linear(shift).GetID())
    assert np.allclose(points_from_markups(node), [[-1, -2, 3]])


def test_points_go_there_and_back(scene: Any, geometry: Any, new_field: Any, points_inside: Any) -> None:
    field = new_field(geometry, 2.0)
    there = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    back = sitk.DisplacementFieldTransform(
        sitk.InvertDisplacementField(
            sitk.Cast(field, sitk.sitkVectorFloat64),
            maximumNumberOfIterations=50,
            maxErrorToleranceThreshold=1e-4,
            meanErrorToleranceThreshold=1e-5,
        )
    )
    start = points_inside(field, 20)
    fixed = markups_from_points(start, "on the MR", scene, [f"p{n}" for n in range(20)])
    fixed.SetNthControlPointDescription(3, "left kidney, upper pole")
    moving = carry_points(fixed, there, "on the CT", scene)
    expected = [there.TransformPoint(point.tolist()) for point in start]
    assert np.allclose(points_from_markups(moving), expected, atol=1e-9)
    assert np.linalg.norm(points_from_markups(moving) - start, axis=1).max() > 0.5
    assert moving.GetNthControlPointLabel(7) == "p7"
    assert moving.GetNthControlPointDescription(3) == "left kidney, upper pole"
    returned = points_from_markups(carry_points(moving, back, "on the MR again", scene))
    assert np.linalg.norm(returned - start, axis=1).max() < 0.05


def test_an_empty_list_is_an_empty_array_and_a_wrong_node_is_refused(scene: Any) -> None:
    empty = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    assert points_from_markups(empty).shape == (0, 3)
    for node in (None, scene.AddNewNodeByClass("vtkMRMLModelNode")):
        with pytest.raises(InputError, match="markups node"):
            points_from_markups(node)
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="NaN"):
        markups_from_points(np.array([[np.nan, 0, 0]]), "x", scene)
    assert scene.GetNumberOfNodes() == before
