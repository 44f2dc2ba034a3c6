"""Each way of looking at a result is one call, and closing the review leaves no trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.mrml.geometry import RESULT_ATTRIBUTE
from GradientGuidedRegistrationLib.mrml.images import image_from_node, volume_node_from_image
from GradientGuidedRegistrationLib.mrml.labels import labels_from_node
from GradientGuidedRegistrationLib.mrml.maps import gradient_map
from GradientGuidedRegistrationLib.mrml.modality import recognize_pair
from GradientGuidedRegistrationLib.mrml.outlines import FIXED_COLOUR, MOVING_COLOUR
from GradientGuidedRegistrationLib.mrml.outputs import set_registered
from GradientGuidedRegistrationLib.mrml.pairing import Pairing
from GradientGuidedRegistrationLib.mrml.points import markups_from_points
from GradientGuidedRegistrationLib.mrml.review import Review
from GradientGuidedRegistrationLib.mrml.scene_nodes import nodes_of_class
from GradientGuidedRegistrationLib.mrml.transforms import transform_node_from_field
from GradientGuidedRegistrationLib.mrml.views import THREE_UP_LAYOUT, restore_opened
from GradientGuidedRegistrationLib.registration.result import Result
from GradientGuidedRegistrationLib.registration.settings import Settings


@pytest.fixture
def composite(new_slice_view: Any) -> Any:
    return new_slice_view("Red")


@pytest.fixture
def review(scene: Any, composite: Any, geometries: Any, new_image: Any, new_field: Any) -> Review:
    geometry = geometries["oblique-anisotropic"]
    fixed = volume_node_from_image(new_image(geometry, seed=1), "MR", scene)
    moving = volume_node_from_image(new_image(geometry, seed=2), "CT", scene)
    composite.SetBackgroundVolumeID(moving.GetID())
    field, other = new_field(geometry, 3.0), new_field(geometry, 2.0)
    identity = sitk.Transform(3, sitk.sitkIdentity)
    result = Result(field, identity, Settings(), image_field=field, gradient_field=other)
    return Review(result, fixed, moving, scene)


def values(node: Any) -> np.ndarray:
    return sitk.GetArrayFromImage(image_from_node(node))


@pytest.mark.parametrize("look", ["fade", "checkerboard"])
def test_a_scene_saved_during_a_look_opens_with_what_was_shown_before(
    review: Review, composite: Any, scene: Any, tmp_path: Any, look: str
) -> None:
    """The volumes of a look are not saved; without more, its views would come back empty."""
    for volume in (review.fixedNode, review.movingNode):
        volume.AddDefaultStorageNode()
        volume.GetStorageNode().SetFileName(str(tmp_path / f"{volume.GetName()}.nrrd"))
        assert volume.GetStorageNode().WriteData(volume)
    composite.SetForegroundVolumeID(review.fixedNode.GetID())
    composite.SetForegroundOpacity(0.25)
    looking = Review(review.result, review.fixedNode, review.movingNode, scene)
    getattr(looking, look)()
    restore_opened(scene)  # as when something is imported meanwhile: the look stays
    assert composite.GetBackgroundVolumeID() != review.movingNode.GetID()
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.SetRootDirectory(str(tmp_path))
    scene.Commit()
    scene.Clear(0)
    others = [volume_node_from_image(sitk.Image(4, 4, 4, sitk.sitkUInt8), "other", scene) for _ in range(2)]
    scene.Import()
    restore_opened(scene)
    shown = [slicer.util.getNode(name) for name in ("CT", "MR")]
    for view in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        assert [view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()] == [node.GetID() for node in shown]
        assert view.GetForegroundOpacity() == pytest.approx(0.25)
        view.SetBackgroundVolumeID(others[0].GetID())
    restore_opened(scene)  # once only
    assert composites_show(scene, others[0])


def test_a_closed_review_leaves_no_mark(review: Review, composite: Any, scene: Any) -> None:
    review.close()
    composite.SetBackgroundVolumeID(review.fixedNode.GetID())
    restore_opened(scene)
    assert composites_show(scene, review.fixedNode)


def composites_show(scene: Any, node: Any) -> bool:
    views = nodes_of_class(scene, "vtkMRMLSliceCompositeNode")
    return bool(views) and all(view.GetBackgroundVolumeID() == node.GetID() for view in views)


def test_fade_and_flicker_show_the_registered_image(review: Review, composite: Any) -> None:
    review.fade(0.3)
    warped = review.warped()
    assert composite.GetBackgroundVolumeID() == review.fixedNode.GetID()
    assert composite.GetForegroundVolumeID() == warped.GetID()
    assert composite.GetForegroundOpacity() == pytest.approx(0.3)
    expected = review.result.warp(image_from_node(review.movingNode), image_from_node(review.fixedNode))
    assert np.allclose(values(warped), sitk.GetArrayFromImage(expected))
    assert review.flicker() is True and review.flicker() is False and review.warped() is warped


def test_a_moving_node_under_the_result_is_not_moved_twice(review: Review, scene: Any) -> None:
    before = values(review.warped())
    review.close()
    node = transform_node_from_field(review.result.field, "T", scene, review.fixedNode, review.movingNode)
    assert node.GetAttribute(RESULT_ATTRIBUTE)
    set_registered(review.movingNode, node, True)
    assert np.allclose(values(review.warped()), before)
    assert review.gradient_map("after") is not None and review.gradient_map("before") is not None


def test_gradient_maps(review: Review, composite: Any) -> None:
    nodes = {which: review.gradient_map(which) for which in ("fixed", "before", "after")}
    assert composite.GetForegroundVolumeID() == nodes["after"].GetID()
    assert composite.GetBackgroundVolumeID() == review.fixedNode.GetID()
    moving = image_from_node(review.movingNode)
    own = gradient_map(moving, review.result.field.GetSpacing()[0])
    assert np.allclose(values(nodes["before"]), sitk.GetArrayFromImage(own))
    assert image_from_node(nodes["after"]).GetSize() == image_from_node(review.fixedNode).GetSize()
    fixed = image_from_node(review.fixedNode)
    expected = sitk.Resample(own, fixed, review.result.transform, sitk.sitkLinear, 0.0)
    assert np.allclose(values(nodes["after"]), sitk.GetArrayFromImage(expected), atol=1e-6)
    with pytest.raises(InputError, match="Unknown gradient map"):
        review.gradient_map("moving")


def test_maps_and_mixtures(review: Review, composite: Any, scene: Any) -> None:
    jacobian = review.jacobian(0.4)
    assert composite.GetForegroundVolumeID() == jacobian.GetID() and review.jacobian() is jacobian
    assert values(review.disagreement()).max() > 0.5
    board = review.checkerboard(6.0)
    assert composite.GetBackgroundVolumeID() == board.GetID() and not composite.GetForegroundVolumeID()
    assert review.checkerboard(6.0) is board and review.checkerboard(9.0) is not board
    assert np.array_equal(values(review.split(share=1.0)), values(review.split(axis=1, share=1.0)))
    scene.RemoveNode(jacobian)
    assert review.jacobian() is not jacobian  # made again after the user removed it
    review.result.__dict__["image_field"] = None
    with pytest.raises(InputError, match="dual-branch"):
        review.disagreement()


def test_what_is_made_for_looking_is_neither_saved_nor_registered(review: Review, scene: Any) -> None:
    labels = label_maps(review, scene)
    before = {scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())}
    review.checkerboard()
    review.jacobian()
    review.deformation("grid")
    outlines = review.outlines(*labels)
    made = {scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())} - before
    lasting = {node.GetClassName() for node in made if node.GetSaveWithScene()}
    assert lasting <= {"vtkMRMLColorTableNode", "vtkMRMLSubjectHierarchyNode"}
    assert all(node.GetHideFromEditors() for node in outlines)
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    volumes = [scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(count)]
    assert recognize_pair([node for node in volumes if node not in labels]) == (review.fixedNode, review.movingNode)


def label_maps(review: Review, scene: Any) -> tuple[Any, Any]:
    return tuple(
        volume_node_from_image(sitk.Cast(image_from_node(node) > 50, sitk.sitkUInt8), name, scene, labels=True)
        for node, name in ((review.fixedNode, "a"), (review.movingNode, "b"))
    )


def test_outlines_of_both_sides_in_their_colours_with_the_moving_one_registered(review: Review, scene: Any) -> None:
    fixed, moving = label_maps(review, scene)
    nodes = review.outlines(fixed, moving)
    reference = image_from_node(review.fixedNode)
    shown = [sitk.GetArrayFromImage(labels_from_node(node, reference)) for node in nodes]
    assert np.array_equal(shown[0], values(fixed))
    expected = review.result.warp_labels(image_from_node(moving), reference)
    assert np.array_equal(shown[1], sitk.GetArrayFromImage(expected))
    colours = []
    for node in nodes:
        display = node.GetDisplayNode()
        assert display.GetVisibility2DOutline() and not display.GetVisibility2DFill()
        colours.append(tuple(display.GetSegmentOverrideColor(node.GetSegmentation().GetNthSegmentID(0))))
    assert colours == [pytest.approx(FIXED_COLOUR), pytest.approx(MOVING_COLOUR)]
    again = review.outlines(fixed, moving)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2 and again[0] is not nodes[0]
    review.hide_outlines()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert scene.GetNodeByID(fixed.GetID()) is not None


def test_deformation_is_drawn_on_the_fixed_volume_and_taken_away(review: Review, scene: Any) -> None:
    review.deformation("off")
    assert scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 0
    review.deformation("grid")
    display = scene.GetFirstNodeByClass("vtkMRMLTransformDisplayNode")
    assert display.GetVisibility2D() and display.GetVisualizationMode() == display.VIS_MODE_GRID
    assert display.GetRegionNode() is review.fixedNode
    review.deformation("glyphs")
    assert display.GetVisualizationMode() == display.VIS_MODE_GLYPH
    review.deformation("off")
    assert not display.GetVisibility2D()
    review.close()
    assert scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 0


def test_three_up_and_back(review: Review, composite: Any, scene: Any) -> None:
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    other = Review(review.result, review.fixedNode, review.movingNode, scene)
    other.jacobian()
    other.three_up()
    assert layout.GetViewArrangement() == THREE_UP_LAYOUT and composite.GetLinkedControl()
    other.restore_layout()
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView and not composite.GetLinkedControl()
    assert composite.GetForegroundVolumeID() == other.jacobian().GetID()  # what is shown stays


def test_expected_error(review: Review, composite: Any, geometries: Any, new_image: Any) -> None:
    with pytest.raises(InputError, match="without an estimate"):
        review.expected_error()
    review.result.__dict__["expected_error"] = new_image(geometries["lps"])
    node = review.expected_error(0.5)
    assert composite.GetForegroundVolumeID() == node.GetID()
    assert np.allclose(values(node), sitk.GetArrayFromImage(new_image(geometries["lps"])))


def test_landmarks_are_measured_along_the_field(review: Review, scene: Any, points_inside: Any) -> None:
    fixed = points_inside(image_from_node(review.fixedNode), count=5)
    moving = np.array([review.result.transform.TransformPoint(point.tolist()) for point in fixed])
    nodes = [markups_from_points(points, name, scene) for points, name in ((fixed, "f"), (moving, "m"))]
    table, errors = review.landmarks(*nodes)
    assert np.allclose(errors[:, 0], np.linalg.norm(moving - fixed, axis=1), atol=1e-3)
    assert errors[:, 1].max() < 1e-3 and table.GetNumberOfRows() == 6


def test_structure_by_structure_gives_the_same_figures(review: Review, scene: Any) -> None:
    fixed, moving = label_maps(review, scene)
    pairing = Pairing(fixed, moving)
    steps, names = review.compare_matches(pairing.matches), []
    while True:
        try:
            names.append(next(steps))
        except StopIteration as end:
            found = end.value
            break
    assert names == ["Label 1"]
    assert found.figures == review.compare(fixed, moving).figures


def test_pairing_by_hand_frees_the_partner(scene: Any) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[0, 0, 0], pixels[1, 1, 1] = 1, 2
    nodes = [volume_node_from_image(sitk.GetImageFromArray(pixels), name, scene, labels=True) for name in "ab"]
    pairing = Pairing(*nodes)

    def partners() -> list[tuple[str | None, str | None]]:
        return [(m.fixed and m.fixed.key, m.moving and m.moving.key) for m in pairing.matches]

    assert partners() == [("1", "1"), ("2", "2")]
    pairing.choose("1", "2")
    assert partners() == [("1", "2"), ("2", None), (None, "1")]
    pairing.choose("2", "2")
    assert partners() == [("1", None), ("2", "2"), (None, "1")]


def test_closing_leaves_no_trace(review: Review, composite: Any, scene: Any) -> None:
    volumes = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    review.fade()
    review.jacobian()
    review.checkerboard()
    review.gradient_map("before")
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == volumes + 4
    review.close()
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == volumes
    assert composite.GetBackgroundVolumeID() == review.movingNode.GetID() and not composite.GetForegroundVolumeID()


def test_compare(review: Review, scene: Any) -> None:
    fixed, moving = label_maps(review, scene)
    found = review.compare(fixed, moving)
    assert found.table.GetNumberOfRows() == 2 and found.figures["labels"]["1"]["matched_by"] == "name"
    assert [chart.GetNumberOfPlotSeriesNodes() for chart in found.charts] == [2, 2, 2]
    apart = review.compare(fixed, moving, {"1": None})
    assert apart.table.GetNumberOfRows() == 3 and apart.figures["mean"]["after"]["dice"] is None
    review.close()
    assert scene.GetNodeByID(found.table.GetID()) is not None  # tables are the user's


def test_what_is_made_for_looking_is_no_entry_of_the_data_module(review: Review, scene: Any) -> None:
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    labels = sitk.Cast(image_from_node(review.fixedNode) > 50, sitk.sitkUInt8)
    label_map = volume_node_from_image(labels, "organs", scene, labels=True)
    lost = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def enter(_scene: Any, _event: str, node: Any) -> None:  # as the application does
        if any(node.IsA(f"vtkMRML{name}Node") for name in ("Volume", "Transform", "Segmentation")):
            item = tree.CreateItem(tree.GetSceneItemID(), node)
            if node.IsA("vtkMRMLSegmentationNode"):
                tree.SetItemAttribute(tree.CreateFolderItem(item, "1"), "segmentID", "1")

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def go(_scene: Any, _event: str, node: Any) -> None:
        if tree.GetItemByDataNode(node):
            tree.RemoveItem(tree.GetItemByDataNode(node), False, True)

    @vtk.calldata_type(vtk.VTK_LONG)
    def leave(_tree: Any, _event: str, item: int) -> None:  # the application removes the segment then
        lost.extend([item] if tree.HasItemAttribute(item, "segmentID") else [])

    tags = [scene.AddObserver(scene.NodeAddedEvent, enter), scene.AddObserver(scene.NodeAboutToBeRemovedEvent, go)]
    tree.AddObserver(tree.SubjectHierarchyItemAboutToBeRemovedEvent, leave)
    try:
        review.deformation("grid")
        made = [review.jacobian(), *review.outlines(label_map, label_map)]
        added = volume_node_from_image(image_from_node(review.fixedNode), "the user's", scene)
    finally:
        for tag in tags:
            scene.RemoveObserver(tag)
    items = vtk.vtkIdList()
    tree.GetItemChildren(tree.GetSceneItemID(), items, True)
    assert [tree.GetItemDataNode(items.GetId(index)) for index in range(items.GetNumberOfIds())] == [added]
    assert all(scene.IsNodePresent(node) for node in made) and not lost
