"""Label maps and segmentations: to label images on a reference grid, and carried from one image to the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

from ..errors import InputError
from ..evaluation.overlap import integer_labels
from .geometry import image_from_vtk, matrix_from_vtk, orthonormal, parent_to_world, vtk_from_image, vtk_ijk_to_ras
from .images import image_from_node, volume_node_from_image
from .transaction import all_or_nothing

_BINARY = "Binary labelmap"  # vtkSegmentationConverter's name of the representation; the same in every language


class Layer(NamedTuple):
    """Segments that share one label image because they do not overlap."""

    image: sitk.Image
    segment_ids: tuple[str, ...]


def segment_names(node: Any) -> list[str]:
    """Names of the segments of a segmentation node, in order; empty for any other node."""
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        return []
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]


def labels_from_node(
    node: Any, reference: sitk.Image, names: Sequence[str] | None = None, *, before_registration: bool = False
) -> sitk.Image:
    """Labels on the grid of `reference` (LPS mm), nearest neighbour, where they are in the world.

    Args:
        node: label map or scalar volume node (values kept), or segmentation node: the segment called `names[n]` gets
            value n + 1; without `names`, the n-th segment does. Give both images the same `names` to compare them.
            Where segments overlap, the later one is seen.
        reference: any image with the wanted grid.
        before_registration: leave out the result of an earlier registration that the node is under.

    Returns:
        Integer image: the node's own type, or UInt16 for a segmentation.

    Raises:
        InputError: as `structures.structures_of`.
    """
    if node is None:
        raise InputError("No segmentation or label map is selected.")
    identity = sitk.Transform(3, sitk.sitkIdentity)
    if not node.IsA("vtkMRMLSegmentationNode"):
        labels = label_map_image(node, before_registration)
        return sitk.Resample(labels, reference, identity, sitk.sitkNearestNeighbor, 0)
    order = list(segment_names(node) if names is None else names)
    merged = np.zeros(reference.GetSize()[::-1], dtype=np.uint16)
    ranks = np.full(merged.shape, -1, dtype=np.int32)  # position of the segment seen so far
    segmentation = with_label_images(node)
    for layer in layers_of(segmentation, parent_to_world(node, before_registration)):
        values = sitk.GetArrayFromImage(sitk.Resample(layer.image, reference, identity, sitk.sitkNearestNeighbor, 0))
        for segment_id in layer.segment_ids:
            segment = segmentation.GetSegment(segment_id)
            if segment.GetName() not in order:
                continue
            rank = segmentation.GetSegmentIndex(segment_id)
            seen = (values == segment.GetLabelValue()) & (ranks < rank)
            ranks[seen] = rank
            merged[seen] = order.index(segment.GetName()) + 1
    image = sitk.GetImageFromArray(merged)
    image.CopyInformation(reference)
    return image


def check_labels(node: Any, *, before_registration: bool = False) -> None:
    """Raise `InputError` for a node that `carry_labels` would refuse."""
    if node.IsA("vtkMRMLSegmentationNode"):
        with_label_images(node)
        parent_to_world(node, before_registration)
    else:
        label_map_image(node, before_registration)


def carry_labels(
    node: Any,
    transform: sitk.Transform,
    reference: sitk.Image,
    name: str,
    scene: Any,
    *,
    before_registration: bool = False,
) -> Any:
    """A new node of the same kind with the labels of `node`, resampled through `transform` onto `reference`.

    Nearest neighbour. Of a segmentation, names, colours, tags (terminology), overlaps and display are kept, and
    `reference` becomes its geometry for editing; of a label map, the values and the colour table are kept.

    Args:
        node: label map or segmentation node of the moving image.
        transform: LPS mm, points of `reference` to points of the moving image (a result's `transform`).
        reference: the fixed image, LPS mm; any grid will do.
        name: wanted name; made unique in the scene.
        before_registration: leave out the result of an earlier registration that the node is under.

    Raises:
        InputError: as `structures.structures_of`.

    """
    if node is None:
        raise InputError("No segmentation or label map is selected.")
    if not node.IsA("vtkMRMLSegmentationNode"):
        labels = label_map_image(node, before_registration)
        image = sitk.Resample(labels, reference, transform, sitk.sitkNearestNeighbor, 0)
        return volume_node_from_image(image, name, scene, labels=True, display_like=node)

    source = with_label_images(node)
    target = slicer.vtkSegmentation()
    target.SetSourceRepresentationName(_BINARY)
    matrix = vtk_ijk_to_ras(reference)
    extent = [bound for count in reference.GetSize() for bound in (0, count - 1)]
    converter = slicer.vtkSegmentationConverter
    target.SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(matrix, extent)
    )
    shared: dict[str, Any] = {}
    for layer in layers_of(source, parent_to_world(node, before_registration)):
        image = sitk.Resample(layer.image, reference, transform, sitk.sitkNearestNeighbor, 0)
        data = vtk_from_image(image, slicer.vtkOrientedImageData())
        data.SetGeometryFromImageToWorldMatrix(matrix)
        shared.update(dict.fromkeys(layer.segment_ids, data))
    for index in range(source.GetNumberOfSegments()):  # in the source's order, whatever the layers' order is
        segment_id = source.GetNthSegmentID(index)
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(source.GetSegment(segment_id))
        if segment_id in shared:
            segment.AddRepresentation(_BINARY, shared[segment_id])
        target.AddSegment(segment, segment_id)
    with all_or_nothing(scene):
        carried = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
        carried.UnRegister(None)
        carried.SetName(scene.GenerateUniqueName(name))
        carried.SetAndObserveSegmentation(target)
        scene.AddNode(carried)
        carried.CreateDefaultDisplayNodes()
        if node.GetDisplayNode() is not None:
            carried.GetDisplayNode().CopyContent(node.GetDisplayNode())
    return carried


def label_map_image(node: Any, before_registration: bool) -> sitk.Image:
    """Label values of a volume node as an integer image, LPS mm. Raises `InputError` where they are fractions."""
    return integer_labels(image_from_node(node, before_registration=before_registration), f"'{node.GetName()}'")


def with_label_images(node: Any) -> Any:
    """The node's segmentation with label images in it: a copy where they have to be made, the node stays as it was.

    Raises:
        InputError: no segments, or none that can be converted.
    """
    segmentation = node.GetSegmentation()
    if segmentation.GetNumberOfSegments() == 0:
        raise InputError(f"The segmentation '{node.GetName()}' has no segments.")
    if segmentation.ContainsRepresentation(_BINARY):
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    if not copy.CreateRepresentation(_BINARY):
        raise InputError(
            f"The segmentation '{node.GetName()}' cannot be converted to label images. Convert it in the "
            "Segmentations module (Representations, Binary labelmap) and try again."
        )
    return copy


def layers_of(segmentation: Any, world: np.ndarray) -> list[Layer]:
    """The label images of a segmentation in world LPS mm; empty ones are left out."""
    layers = []
    for index in range(segmentation.GetNumberOfLayers(_BINARY)):
        data = segmentation.GetLayerDataObject(index, _BINARY)
        if data is None or data.IsEmpty() or data.GetPointData().GetScalars() is None:
            continue
        matrix = vtk.vtkMatrix4x4()
        data.GetImageToWorldMatrix(matrix)
        image = image_from_vtk(data, world @ matrix_from_vtk(matrix))
        layers.append(
            Layer(
                orthonormal(image, sitk.sitkNearestNeighbor), tuple(segmentation.GetSegmentIDsForLayer(index, _BINARY))
            )
        )
    return layers
