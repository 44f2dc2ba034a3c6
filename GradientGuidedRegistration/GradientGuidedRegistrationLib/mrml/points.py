"""Markups to LPS points and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..errors import InputError
from .geometry import chain_above
from .transaction import all_or_nothing


def points_from_markups(node: Any, *, before_registration: bool = False) -> np.ndarray:
    """(N, 3) world positions in LPS mm of the placed control points, parent transforms of any kind applied.

    Args:
        node: a markups node.
        before_registration: leave out the result of an earlier registration that the node is under.

    Raises:
        InputError: not a markups node.
    """
    return _positions(node, before_registration) * [-1.0, -1.0, 1.0]


def markups_from_points(points: np.ndarray, name: str, scene: Any, labels: Sequence[str] = ()) -> Any:
    """A new point list of (N, 3) positions in LPS mm; `labels` names the points, in order.

    Raises:
        InputError: NaN or infinite coordinates.
    """
    ras = np.asarray(points, dtype=float).reshape(-1, 3) * [-1.0, -1.0, 1.0]
    if not np.isfinite(ras).all():
        raise InputError(f"The points for '{name}' hold NaN or infinite coordinates.")
    with all_or_nothing(scene):
        node = scene.CreateNodeByClass("vtkMRMLMarkupsFiducialNode")
        node.UnRegister(None)
        node.SetName(scene.GenerateUniqueName(name))
        for index, position in enumerate(ras):
            node.AddControlPoint(position.tolist(), labels[index] if index < len(labels) else "")
        scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
    return node


def carry_points(node: Any, transform: sitk.Transform, name: str, scene: Any) -> Any:
    """A new point list with the points of `node` mapped by `transform` (LPS mm).

    The field of a result maps points of the **fixed** image to the moving one; its inverse maps points of the moving
    image to the fixed one. Labels and descriptions are kept.

    Raises:
        InputError: not a markups node.
    """
    points = [transform.TransformPoint(point.tolist()) for point in points_from_markups(node)]
    placed = placed_indices(node)
    labels = [node.GetNthControlPointLabel(index) for index in placed]
    with all_or_nothing(scene):
        carried = markups_from_points(np.asarray(points), name, scene, labels)
        for target, index in enumerate(placed):
            carried.SetNthControlPointDescription(target, node.GetNthControlPointDescription(index))
    return carried


def placed_indices(node: Any) -> list[int]:
    """Indices of the control points that have a position, those of `points_from_markups`. Errors as there."""
    if node is None or not node.IsA("vtkMRMLMarkupsNode"):
        raise InputError("A markups node (point list, curve or line) is needed.")
    return [
        index
        for index in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined
    ]


def _positions(node: Any, before_registration: bool) -> np.ndarray:
    placed = placed_indices(node)
    above = vtk.vtkGeneralTransform()
    chain, end = chain_above(node, before_registration)
    if chain:
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(chain[0], end, above)
    own = [node.GetNthControlPointPosition(index) for index in placed]
    return np.array([above.TransformPoint(*position) for position in own]).reshape(-1, 3)
