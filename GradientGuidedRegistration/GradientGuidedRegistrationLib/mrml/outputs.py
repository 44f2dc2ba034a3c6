"""Putting a new result into a node that the user chose, and putting other nodes under a result."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from .geometry import RESULT_ATTRIBUTE, result_above
from .transaction import remove_node
from .transforms import observe_transform


def move_into(source: Any, target: Any) -> Any:
    """Give `target` the content of `source`, a node of the same class, take `source` out of the scene, return `target`.

    The name, the ID and the place of `target` in the scene stay, its description does not; None as a target returns
    `source` as it is.

    Raises:
        InputError: nodes of different classes.
    """
    if target is None or target is source or source is None:
        return source
    if target.GetClassName() != source.GetClassName():
        raise InputError(f"'{target.GetName()}' cannot hold this result; choose «Create new».")
    was_modifying = target.StartModify()
    if source.IsA("vtkMRMLTransformNode"):
        target.SetAndObserveTransformFromParent(source.GetTransformFromParent())
        for role in (source.GetFixedNodeReferenceRole(), source.GetMovingNodeReferenceRole()):
            target.SetNodeReferenceID(role, source.GetNodeReferenceID(role))
    else:
        target.CopyOrientation(source)
        target.SetAndObserveImageData(source.GetImageData())
        target.SetAndObserveTransformNodeID(None)  # the voxels are where they are shown
        if target.GetDisplayNode() is None:
            target.CreateDefaultDisplayNodes()
    target.SetAttribute(RESULT_ATTRIBUTE, "1")
    target.SetDescription(source.GetDescription())
    target.EndModify(was_modifying)
    remove_node(source, source.GetScene())
    return target


def is_registered(node: Any, transform_node: Any) -> bool:
    """Whether a node is under a transform node, directly or further up."""
    parent = node.GetParentTransformNode()
    while parent is not None and parent is not transform_node:
        parent = parent.GetParentTransformNode()
    return parent is not None


def set_registered(node: Any, transform_node: Any, registered: bool) -> None:
    """Put a node under the result of a registration, or take it out again: nothing is hardened, nothing is lost."""
    if registered:
        if not is_registered(node, transform_node):
            observe_transform(node, transform_node)
        return
    top = node
    while top.GetParentTransformNode() not in (None, transform_node):
        top = top.GetParentTransformNode()
    if top.GetParentTransformNode() is transform_node:
        top.SetAndObserveTransformNodeID(transform_node.GetTransformNodeID())


def apply_to(node: Any, transform_node: Any) -> None:
    """Put a segmentation, markups, model or volume under a transform node, in place of an earlier result above it.

    What belongs to the moving volume goes under the transform of the result, what belongs to the fixed volume under its
    inverse; in both cases the node's points then lie where the other volume shows them.

    Raises:
        InputError: the transform is itself under a result, or is the node.
    """
    if node is transform_node or result_above(transform_node) is not None:
        raise InputError(f"'{transform_node.GetName()}' is itself under a result; take it out and try again.")
    set_registered(node, transform_node, True)
