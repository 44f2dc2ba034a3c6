"""Putting a new result into a node that the user chose, and putting other nodes under a result."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from .geometry import RESULT_ATTRIBUTE, STOOD_IN_FOR, chain_above, matrix_to_vtk, result_above
from .scene_nodes import nodes_of_class
from .transaction import remove_node
from .transforms import matrix_between
from .unchanged import (
    CODE_ATTRIBUTE,
    ERROR_ATTRIBUTE,
    RECORD_ATTRIBUTE,
    REGISTERED_ATTRIBUTES,
    PairWatch,
    registered_pair,
)


def check_targets(
    fixedNode: Any,
    movingNode: Any,
    *,
    transformNode: Any = None,
    inverseTransformNode: Any = None,
    warpedVolumeNode: Any = None,
) -> None:
    """See before the work that its result can go into the nodes that were chosen for it; None needs no check.

    Raises:
        InputError: a node of another class, or a transform that one of the two volumes is under, but for the result of
            an earlier registration of the moving volume.
    """
    transforms = [node for node in (transformNode, inverseTransformNode) if node is not None]
    for node in transforms:
        _check_class(node, "vtkMRMLGridTransformNode")
    if warpedVolumeNode is not None:
        _check_class(warpedVolumeNode, "vtkMRMLScalarVolumeNode")
    for volume, is_moving in ((fixedNode, False), (movingNode, True)):
        chain, _ = chain_above(volume, before_registration=is_moving)
        for node in transforms:
            if node in chain:
                raise InputError(
                    f"The result would overwrite '{node.GetName()}', which '{volume.GetName()}' is under. Take it out "
                    "of that transform (Data module) or choose «Create new»."
                )


def _check_class(target: Any, class_name: str) -> None:
    if target.GetClassName() != class_name:
        raise InputError(f"'{target.GetName()}' cannot hold this result; choose «Create new».")


def move_into(source: Any, target: Any) -> Any:
    """Give `target` the content of `source`, a node of the same class, take `source` out of the scene, return `target`.

    The name and the ID of `target` stay, its description and its parent transform do not; None as a target returns
    `source` as it is.

    Raises:
        InputError: nodes of different classes.
    """
    if target is None or target is source or source is None:
        return source
    _check_class(target, source.GetClassName())
    was_modifying = target.StartModify()
    if source.IsA("vtkMRMLTransformNode"):
        target.SetAndObserveTransformFromParent(source.GetTransformFromParent())
        for name in (*REGISTERED_ATTRIBUTES, CODE_ATTRIBUTE, RECORD_ATTRIBUTE, ERROR_ATTRIBUTE):
            target.SetAttribute(name, source.GetAttribute(name))
        for role in (source.GetFixedNodeReferenceRole(), source.GetMovingNodeReferenceRole()):
            target.SetNodeReferenceID(role, source.GetNodeReferenceID(role))
    elif source.IsA("vtkMRMLSegmentationNode"):
        target.SetAndObserveSegmentation(source.GetSegmentation())
    else:
        target.CopyOrientation(source)
        target.SetAndObserveImageData(source.GetImageData())
    if not source.IsA("vtkMRMLTransformNode") and target.GetDisplayNode() is None:
        target.CreateDefaultDisplayNodes()
    target.SetAndObserveTransformNodeID(None)  # source and result are in world coordinates
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
    """Put a node under the result of a registration, or take it out again: nothing is hardened, nothing is lost.

    Raises:
        InputError: as `observe_transform`, and for the moving volume of two of which one was changed since.
    """
    _remove_left_stand_ins(node.GetScene())
    if registered:
        if not is_registered(node, transform_node):
            pair = registered_pair(transform_node)
            if pair[1] is node:
                PairWatch.of(transform_node).check(*pair)
            observe_transform(node, transform_node)
        return
    top = node
    while top.GetParentTransformNode() not in (None, transform_node):
        top = top.GetParentTransformNode()
    if top.GetParentTransformNode() is not transform_node:
        return
    if top is node.GetParentTransformNode() and top.GetNodeReference(STOOD_IN_FOR) is not None:
        _leave_stand_in(node)
    else:
        top.SetAndObserveTransformNodeID(transform_node.GetTransformNodeID())


def observe_transform(node: Any, transform_node: Any) -> None:
    """Put a node under a transform, reversibly: nothing is hardened, `set_registered` is the undo.

    A node that has parents is first placed by them and then moved, and nothing else moves. If the parents are its own,
    the topmost one goes under `transform_node`; if other nodes are under them too, a new linear transform under
    `transform_node` stands in for them. The result of an earlier registration is replaced.

    Raises:
        InputError: `transform_node` is one of the parents, or parents that are shared are not linear.
    """
    chain, end = chain_above(node, before_registration=True)
    if transform_node in chain:
        raise InputError(
            f"'{node.GetName()}' is under '{transform_node.GetName()}' already; take it out and try again."
        )
    is_shared = _is_shared(chain, node)
    if is_shared and not chain[0].IsTransformToNodeLinear(end):
        raise InputError(
            f"'{node.GetName()}' shares its transform '{chain[0].GetName()}', which is not linear, with other nodes. "
            "Harden it (Data module, right-click, Harden transform) and try again."
        )
    _leave_stand_in(node)
    if is_shared:
        chain = [_stand_in(node, chain[0], end)]
        node.SetAndObserveTransformNodeID(chain[0].GetID())
    (chain[-1] if chain else node).SetAndObserveTransformNodeID(transform_node.GetID())


def _is_shared(chain: list[Any], node: Any) -> bool:
    """Whether something else than `node` is under one of the transforms of `chain`."""
    others = nodes_of_class(node.GetScene(), "vtkMRMLTransformableNode")
    return any(other.GetParentTransformNode() in chain for other in others if other is not node and other not in chain)


def _stand_in(node: Any, parent: Any, end: Any) -> Any:
    """A new linear transform node that places `node` as `parent` and what is above it, up to `end`, do."""
    name = f"{node.GetName()} in {parent.GetName()}"
    stand_in = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    stand_in.SetMatrixTransformToParent(matrix_to_vtk(matrix_between(parent, end)))
    stand_in.SetNodeReferenceID(STOOD_IN_FOR, parent.GetID())
    return stand_in


def _leave_stand_in(node: Any) -> None:
    """Give a node that is under a stand-in its own parent back; a stand-in that nothing is under any more goes."""
    stand_in = node.GetParentTransformNode()
    parent = stand_in.GetNodeReference(STOOD_IN_FOR) if stand_in is not None else None
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    _remove_left_stand_ins(node.GetScene())


def _remove_left_stand_ins(scene: Any) -> None:
    """Take the stand-ins out of the scene that nothing is under any more, for example since the user took it out."""
    nodes = nodes_of_class(scene, "vtkMRMLTransformableNode")
    parents = [node.GetParentTransformNode() for node in nodes]
    for node in nodes:
        if node.GetNodeReferenceID(STOOD_IN_FOR) is not None and node not in parents:
            remove_node(node, scene)


def apply_to(node: Any, transform_node: Any) -> None:
    """Put a segmentation, markups, model or volume under a transform node, in place of an earlier result above it.

    What belongs to the moving volume goes under the transform of the result, what belongs to the fixed volume under its
    inverse; in both cases the node's points then lie where the other volume shows them.

    Raises:
        InputError: the transform is itself under a result, or is the node; and as `observe_transform`.
    """
    if node is transform_node or result_above(transform_node) is not None:
        raise InputError(f"'{transform_node.GetName()}' is itself under a result; take it out and try again.")
    set_registered(node, transform_node, True)
