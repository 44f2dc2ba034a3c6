"""Which segmentations of a scene probably belong to two registered volumes."""

from __future__ import annotations

from typing import Any

from .geometry import RESULT_ATTRIBUTE
from .scene_nodes import nodes_of_class


def suggest_structures(fixedNode: Any, movingNode: Any, scene: Any) -> tuple[Any, Any]:
    """A segmentation or label map of the fixed and of the moving volume; None for what cannot be told.

    A node belongs to the volume that it was drawn on, else to the one whose whole name its own name begins with.
    """
    nodes = [
        node
        for class_name in ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode")
        for node in nodes_of_class(scene, class_name)
    ]
    nodes = [node for node in nodes if node.GetAttribute(RESULT_ATTRIBUTE) is None]
    return _of(fixedNode, movingNode, nodes), _of(movingNode, fixedNode, nodes)


def _of(volume: Any, other: Any, nodes: list[Any]) -> Any:
    drawn_on = [node for node in nodes if _source(node) is volume]
    name, counterpart = volume.GetName(), other.GetName()
    named = [
        node for node in nodes
        if _source(node) is None and node.GetName().startswith(name) and counterpart not in node.GetName()
    ]  # fmt: skip
    found = drawn_on or named
    return found[0] if len(found) == 1 else None


def _source(node: Any) -> Any:
    """The volume that a segmentation was drawn on, if it says so."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        return None
    return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
