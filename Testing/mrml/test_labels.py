"""Label maps and segmentations: read onto a grid, carried through a transform, with all that names them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.mrml import carry_labels, labels_from_node, segment_names, volume_node_from_image
from GradientGuidedRegistrationLib.mrml.geometry import matrix_from_vtk, vtk_from_image, vtk_ijk_to_ras

IDENTITY = sitk.Transform(3, sitk.sitkIdentity)
LIVER_TAG = "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure~Liver"


def blobs(reference: sitk.Image) -> sitk.Image:
    """Labels 1 and 2, two touching boxes, on the grid of an image."""
    size = reference.GetSize()[::-1]
    array = np.zeros(size, dtype=np.uint8)
    middle = size[2] // 2
    array[2:-2, 3:-3, 3:middle] = 1
    array[2:-2, 3:-3, middle:-3] = 2
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(reference)
    return image


def add_segment(node: Any, mask: sitk.Image, segment_id: str, name: str, colour: tuple[float, float, float]) -> None:
    """One segment with a label image of its own, so that segments may overlap."""
    data = vtk_from_image(sitk.Cast(mask, sitk.sitkUInt8), slicer.vtkOrientedImageData())
    data.SetGeometryFromImageToWorldMatrix(vtk_ijk_to_ras(mask))
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*colour)
    segment.AddRepresentation("Binary labelmap", data)
    node.GetSegmentation().AddSegment(segment, segment_id)


@pytest.fixture
def segmentation(scene: Any, geometry: Any, new_image: Any) -> tuple[Any, sitk.Image]:
    """Liver and kidney, and a vessel over both, on each grid in turn; with the label image of the first two."""
    reference = new_image(geometry)
    labels = blobs(reference)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    add_segment(node, labels == 1, "Segment_1", "liver", (0.8, 0.2, 0.1))
    add_segment(node, labels == 2, "Segment_2", "Niere rechts", (0.1, 0.2, 0.9))
    node.GetSegmentation().GetSegment("Segment_1").SetTag("TerminologyEntry", LIVER_TAG)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    vessel = sitk.GetImageFromArray(
        (np.indices(reference.GetSize()[::-1])[1] == reference.GetSize()[1] // 2).astype(np.uint8)
    )
    vessel.CopyInformation(reference)
    add_segment(node, vessel, "vessel", "vessel", (1.0, 1.0, 0.0))
    return node, labels


def test_segmentation_to_label_image(segmentation: Any) -> None:
    node, labels = segmentation
    assert segment_names(node) == ["liver", "Niere rechts", "vessel"]
    two = sitk.GetArrayFromImage(labels_from_node(node, labels, ["liver", "Niere rechts"]))
    assert np.array_equal(two, sitk.GetArrayFromImage(labels))
    swapped = sitk.GetArrayFromImage(labels_from_node(node, labels, ["Niere rechts", "nobody", "liver"]))
    assert np.array_equal(np.isin(swapped, 3), sitk.GetArrayFromImage(labels) == 1)
    assert set(np.unique(swapped)) == {0, 1, 3}
    everything = sitk.GetArrayFromImage(labels_from_node(node, labels))
    row = labels.GetSize()[1] // 2
    assert (everything[:, row, :] == 3).all()  # the later segment is seen where they overlap
    assert np.array_equal(np.delete(everything, row, axis=1), np.delete(sitk.GetArrayFromImage(labels), row, axis=1))


def test_order_of_segments_decides_where_they_overlap(segmentation: Any) -> None:
    node, labels = segmentation
    node.GetSegmentation().SetSegmentIndex("vessel", 1)  # between two segments that share one label image
    assert segment_names(node) == ["liver", "vessel", "Niere rechts"]
    found = sitk.GetArrayFromImage(labels_from_node(node, labels))
    organs = sitk.GetArrayFromImage(labels)
    row = labels.GetSize()[1] // 2
    assert (found[organs == 2] == 3).all()
    assert (found[:, row][organs[:, row] != 2] == 2).all()


def test_label_map_node_keeps_its_values(scene: Any, geometry: Any, new_image: Any) -> None:
    labels = blobs(new_image(geometry))
    node = volume_node_from_image(labels * 7, "labels", scene, labels=True)
    assert np.array_equal(sitk.GetArrayFromImage(labels_from_node(node, labels)), sitk.GetArrayFromImage(labels) * 7)


def test_carried_segmentation_follows_the_field_and_keeps_its_names(
    scene: Any, segmentation: Any, new_image: Any, geometry: Any, new_field: Any
) -> None:
    node, labels = segmentation
    node.GetDisplayNode().SetVisibility(False)
    node.GetDisplayNode().SetSegmentVisibility("vessel", False)
    node.GetDisplayNode().SetSegmentOpacity3D("Segment_1", 0.25)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(new_field(geometry, 4.0), sitk.sitkVectorFloat64))
    carried = carry_labels(node, transform, labels, "organs (registered)", scene)
    expected = sitk.GetArrayFromImage(sitk.Resample(labels, labels, transform, sitk.sitkNearestNeighbor, 0))
    found = sitk.GetArrayFromImage(labels_from_node(carried, labels, ["liver", "Niere rechts"]))
    assert (expected != sitk.GetArrayFromImage(labels)).any()
    assert np.array_equal(found, expected)
    assert segment_names(carried) == segment_names(node)
    for index in range(3):
        source, target = node.GetSegmentation().GetNthSegment(index), carried.GetSegmentation().GetNthSegment(index)
        assert target.GetColor() == source.GetColor()
        assert carried.GetSegmentation().GetNthSegmentID(index) == node.GetSegmentation().GetNthSegmentID(index)
    tag = vtk.reference("")
    assert carried.GetSegmentation().GetSegment("Segment_1").GetTag("TerminologyEntry", tag)
    assert str(tag) == LIVER_TAG
    display = carried.GetDisplayNode()
    assert display is not node.GetDisplayNode() and display.GetSegmentVisibility("Segment_1")
    assert not display.GetVisibility()
    assert not display.GetSegmentVisibility("vessel") and display.GetSegmentOpacity3D("Segment_1") == 0.25
    vessel = carried.GetSegmentation().GetSegment("vessel").GetRepresentation("Binary labelmap")
    assert vessel is not carried.GetSegmentation().GetSegment("Segment_1").GetRepresentation("Binary labelmap")


def test_carried_segmentation_takes_the_reference_grid(
    scene: Any, segmentation: Any, geometries: Any, new_image: Any
) -> None:
    node, labels = segmentation
    origin = np.asarray(labels.TransformContinuousIndexToPhysicalPoint([n / 2 for n in labels.GetSize()]))
    reference = new_image(dict(geometries["left-handed"], origin=(origin - 5).tolist()))
    carried = carry_labels(node, IDENTITY, reference, "organs", scene)
    role = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    told, image = carried.GetSegmentation().GetConversionParameter(role), slicer.vtkOrientedImageData()
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(told, image)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    assert image.GetDimensions() == reference.GetSize()
    assert np.allclose(matrix_from_vtk(matrix), matrix_from_vtk(vtk_ijk_to_ras(reference)), atol=1e-4)
    expected = sitk.GetArrayFromImage(sitk.Resample(labels, reference, IDENTITY, sitk.sitkNearestNeighbor, 0))
    found = sitk.GetArrayFromImage(labels_from_node(carried, reference, ["liver", "Niere rechts"]))
    assert (expected > 0).any()
    assert np.array_equal(found, expected)


def test_parent_transform_of_a_segmentation_counts(scene: Any, segmentation: Any, new_linear: Any) -> None:
    node, labels = segmentation
    shift = np.eye(4)
    shift[:3, 3] = [4.0, 0.0, 0.0]
    node.SetAndObserveTransformNodeID(new_linear(shift).GetID())
    moved = sitk.GetArrayFromImage(labels_from_node(node, labels, ["liver", "Niere rechts"]))
    pull = sitk.TranslationTransform(3, (4.0, 0.0, 0.0))  # 4 mm to the right in RAS: points are pulled from +4 in LPS
    expected = sitk.GetArrayFromImage(sitk.Resample(labels, labels, pull, sitk.sitkNearestNeighbor, 0))
    assert np.array_equal(moved, expected)
    node.SetAndObserveTransformNodeID(scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "bend").GetID())
    with pytest.raises(InputError, match="'bend'"):
        labels_from_node(node, labels)


def test_closed_surface_segmentation_is_converted_without_touching_the_node(
    scene: Any, geometries: Any, new_image: Any
) -> None:
    geometry = dict(geometries["lps"], size=(40, 40, 40), spacing=(1, 1, 1), origin=(-20, -20, -20))
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(12)
    sphere.SetThetaResolution(40)
    sphere.SetPhiResolution(40)
    sphere.Update()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surface")
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "ball", (1, 0, 0))
    reference = new_image(geometry)
    found = sitk.GetArrayFromImage(labels_from_node(node, reference))
    assert found.sum() == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.05)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_empty_and_missing_are_refused_and_the_scene_is_left_alone(scene: Any, geometries: Any, new_image: Any) -> None:
    reference = new_image(geometries["lps"])
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing yet")
    fractions = volume_node_from_image(reference + 0.5, "map", scene)
    before = scene.GetNumberOfNodes()
    refused = {"'nothing yet' has no segments": empty, "No segmentation": None, "fractions": fractions}
    for message, node in refused.items():
        with pytest.raises(InputError, match=message):
            carry_labels(node, IDENTITY, reference, "x", scene)
        with pytest.raises(InputError, match=message):
            labels_from_node(node, reference)
    assert scene.GetNumberOfNodes() == before
