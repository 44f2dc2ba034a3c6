"""Outlines of the structures of both images over the slices, in nodes of their own."""

from __future__ import annotations

from typing import Any

import SimpleITK as sitk
import slicer

from .labels import carry_labels
from .transaction import all_or_nothing, remove_node
from .views import show_outlines

FIXED_COLOUR, MOVING_COLOUR = (0.25, 0.78, 1.0), (1.0, 0.59, 0.16)  # blue and orange, as in the reports


def outline_node(
    labelsNode: Any,
    transform: sitk.Transform,
    reference: sitk.Image,
    name: str,
    colour: tuple[float, float, float],
    scene: Any,
) -> Any:
    """A new segmentation node that shows the outlines of a segmentation or label map; the node itself is left alone.

    Args:
        transform: LPS mm, points of `reference` to points of the labels: the result's for the moving image, the
            identity for the fixed one.
        reference: the fixed image.
        colour: of all outlines, 0 to 1.
    """
    with all_or_nothing(scene):
        node = carry_labels(labelsNode, transform, reference, name, scene, before_registration=True)
        if not node.IsA("vtkMRMLSegmentationNode"):
            node = _segmentation_of(node, name, scene)
        show_outlines(node, colour)
    return node


def _segmentation_of(labelMapNode: Any, name: str, scene: Any) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labelMapNode, node)
    remove_node(labelMapNode, scene)
    return node
