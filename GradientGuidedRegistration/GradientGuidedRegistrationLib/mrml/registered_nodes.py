"""From nodes to the input of a registration, and from its result to nodes."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import SimpleITK as sitk

from ..errors import InputError
from ..registration.packed import packed, unpacked
from ..registration.result import Result
from ..registration.storage import read_record, record
from ..registration.trust import VERDICTS
from .geometry import RESULT_ATTRIBUTE
from .images import image_from_node, volume_node_from_image
from .labels import carry_labels, labels_from_node
from .outputs import check_targets, move_into, observe_transform
from .scene_nodes import nodes_of_class
from .transaction import all_or_nothing
from .transforms import field_from_node, transform_from_node, transform_node_from_field
from .unchanged import (
    CODE_ATTRIBUTE,
    ERROR_ATTRIBUTE,
    RECORD_ATTRIBUTE,
    REGISTERED_ATTRIBUTES,
    PairWatch,
    input_fingerprints,
    registered_pair,
    result_code,
)

_INVERSE = "gradientGuidedRegistrationInverse"  # reference of a result's transform to its inverse
_CARRIED_BY = "gradientGuidedRegistrationCarriedBy"  # references of a carried segmentation: the transform
_CARRIED_FROM = "gradientGuidedRegistrationCarriedFrom"  # and the segmentation that it is a copy of


@dataclass(frozen=True)
class RegisteredNodes:
    """The nodes that one registration added to the scene; None for what was not asked for.

    Attributes:
        transform: grid transform node from parent; put any node of the moving image's space under it.
        inverseTransform: the transform for nodes of the fixed image's space.
        warpedVolume: the moving volume on the fixed grid.
        warpedSegmentation: the moving segmentation or label map on the fixed grid.
        result: the registration's result, with its quality figures, timings and settings.
    """

    transform: Any
    inverseTransform: Any
    warpedVolume: Any
    warpedSegmentation: Any
    result: Result


def registration_input(
    fixedNode: Any, movingNode: Any, initialTransformNode: Any, fixedMaskNode: Any, movingMaskNode: Any
) -> tuple[sitk.Image, sitk.Image, dict[str, Any]]:
    """The nodes' content in LPS mm: fixed and moving image, and what `pipeline.register` takes besides.

    The moving volume and its mask are taken where they were before an earlier registration.

    Raises:
        InputError: a node cannot be registered or used.
    """
    if fixedNode is movingNode and fixedNode is not None:
        raise InputError(f"'{fixedNode.GetName()}' is the fixed and the moving volume; choose two different ones.")
    fixed = image_from_node(fixedNode)
    moving = image_from_node(movingNode, before_registration=True)
    options: dict[str, Any] = {
        name: labels_from_node(node, image, before_registration=image is moving) != 0
        for name, node, image in (("fixed_mask", fixedMaskNode, fixed), ("moving_mask", movingMaskNode, moving))
        if node is not None
    }
    if initialTransformNode is not None:
        options["initial_transform"] = transform_from_node(initialTransformNode, fixed, movingNode)
    return fixed, moving, options


def add_result(
    result: Result,
    fixedNode: Any,
    movingNode: Any,
    scene: Any,
    *,
    movingSegmentationNode: Any = None,
    createWarpedVolume: bool = True,
    observe: bool = True,
    registered: tuple[str, str] | None = None,
    transformNode: Any = None,
    inverseTransformNode: Any = None,
    warpedVolumeNode: Any = None,
) -> RegisteredNodes:
    """Turn a result into nodes named after its inputs, all of them or, on any error, none.

    Args:
        movingSegmentationNode: segmentation or label map to carry over to the fixed volume.
        createWarpedVolume: also make a volume of the moving image on the fixed grid.
        observe: put the moving volume under the transform; taking it out is the undo, nothing is hardened.
        registered: `input_fingerprints` of what was registered; None does not ask whether it is still so.
        transformNode, inverseTransformNode, warpedVolumeNode: existing nodes to overwrite instead of new ones. With
            `transformNode`, what was carried over by it before is overwritten too.

    Raises:
        InputError: a volume has changed, or a node cannot be used.
    """
    fixedName, movingName = fixedNode.GetName(), movingNode.GetName()
    if registered is not None:
        changed = PairWatch(registered).changed(fixedNode, movingNode)
        if changed is not None:
            raise InputError(
                f"The volume '{changed.GetName()}' was changed or moved while it was being registered: the result "
                "does not fit it. Register again."
            )
    check_targets(
        fixedNode,
        movingNode,
        transformNode=transformNode,
        inverseTransformNode=inverseTransformNode if result.inverse_field is not None else None,
        warpedVolumeNode=warpedVolumeNode if createWarpedVolume else None,
    )
    with all_or_nothing(scene):
        transform = transform_node_from_field(
            result.field, f"{movingName} to {fixedName}", scene, fixedNode, movingNode
        )
        for attribute, one in zip(REGISTERED_ATTRIBUTES, input_fingerprints(fixedNode, movingNode)):
            transform.SetAttribute(attribute, one)
        transform.SetAttribute(CODE_ATTRIBUTE, result_code(result))
        transform.SetAttribute(RECORD_ATTRIBUTE, record(result))
        if result.expected_error is not None:
            transform.SetAttribute(ERROR_ATTRIBUTE, packed(result.expected_error))
        inverse = warped = segmentation = None
        if result.inverse_field is not None:
            inverse = transform_node_from_field(
                result.inverse_field, f"{fixedName} to {movingName}", scene, movingNode, fixedNode
            )
        if createWarpedVolume or movingSegmentationNode is not None:
            fixed = image_from_node(fixedNode)
        if createWarpedVolume:
            moving = image_from_node(movingNode, before_registration=True)
            warped = volume_node_from_image(
                result.warp(moving, fixed), f"{movingName} on {fixedName}", scene, display_like=movingNode
            )
            warped.SetAttribute(RESULT_ATTRIBUTE, "1")
        if movingSegmentationNode is not None:
            segmentation = carry_labels(
                movingSegmentationNode, result.transform, fixed, f"{movingSegmentationNode.GetName()} on {fixedName}",
                scene, before_registration=True,
            )  # fmt: skip
            segmentation.SetAttribute(RESULT_ATTRIBUTE, "1")
            earlier = _carried_earlier(movingSegmentationNode, segmentation, transformNode)
            if earlier is None and segmentation.IsA("vtkMRMLSegmentationNode"):
                segmentation.GetDisplayNode().SetVisibility2DFill(False)  # filled, it would cover both images
        for node in (transform, inverse, warped, segmentation):
            if node is not None:
                node.SetDescription(_verdict(result.quality))
        transform = move_into(transform, transformNode)
        inverse = move_into(inverse, inverseTransformNode)
        transform.SetNodeReferenceID(_INVERSE, inverse.GetID() if inverse is not None else None)
        warped = move_into(warped, warpedVolumeNode)
        if segmentation is not None:
            segmentation = move_into(segmentation, earlier)
            segmentation.SetNodeReferenceID(_CARRIED_BY, transform.GetID())
            segmentation.SetNodeReferenceID(_CARRIED_FROM, movingSegmentationNode.GetID())
        if observe:
            observe_transform(movingNode, transform)
    return RegisteredNodes(transform, inverse, warped, segmentation, result)


def results_in(scene: Any, known: Collection[str] = ()) -> list[RegisteredNodes]:
    """The results that a scene holds, with both volumes, for example since it was saved and opened again.

    They come without what only the registration itself had: the branches' fields and gates, and nodes that are not
    transforms.

    Args:
        known: IDs of transform nodes whose results are left out.
    """
    nodes = [node for node in nodes_of_class(scene, "vtkMRMLGridTransformNode") if node.GetID() not in known]
    return [found for found in map(_remembered, nodes) if found is not None]


def _remembered(transformNode: Any) -> RegisteredNodes | None:
    """What a transform node remembers of its registration; None if it is no result, or not any more as it was."""
    text, error_text = map(transformNode.GetAttribute, (RECORD_ATTRIBUTE, ERROR_ATTRIBUTE))
    field = field_from_node(transformNode) if text and all(registered_pair(transformNode)) else None
    if field is None:
        return None
    name = f"The result in '{transformNode.GetName()}'"
    try:
        error = unpacked(error_text, name) if error_text else None
        result = Result(field, expected_error=error, **read_record(text, name))
    except InputError as error:
        logging.warning("%s", error)
        return None
    if result_code(result) != transformNode.GetAttribute(CODE_ATTRIBUTE):
        return None
    return RegisteredNodes(transformNode, transformNode.GetNodeReference(_INVERSE), None, None, result)


def _verdict(quality: dict[str, Any]) -> str:
    """The verdict and its reasons: as the description of a node they stay with it in a saved scene."""
    verdict = quality.get("verdict")
    return " ".join([f"{VERDICTS[verdict]}.", *quality.get("reasons", ())]) if verdict in VERDICTS else ""


def _carried_earlier(source: Any, carried: Any, transformNode: Any) -> Any:
    """The node that an earlier result in `transformNode` made of `source`, of the class of `carried`; None if none."""
    if transformNode is None:
        return None
    nodes = nodes_of_class(source.GetScene(), carried.GetClassName())
    references = ((_CARRIED_BY, transformNode), (_CARRIED_FROM, source))
    return next(
        (node for node in nodes if all(node.GetNodeReference(role) is other for role, other in references)), None
    )
