"""Results that go into nodes the user chose, the undo, and «Apply to»."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib import mrml
from GradientGuidedRegistrationLib.errors import InputError


def field(length: float) -> sitk.Image:
    vectors = np.zeros((12, 12, 12, 3), dtype=np.float32)
    vectors[3:-3, 3:-3, 3:-3, 0] = length
    return sitk.GetImageFromArray(vectors, isVector=True)


def transform(scene: Any, length: float = 2.0, name: str = "result") -> Any:
    return mrml.transform_node_from_field(field(length), name, scene)


def volume(scene: Any, name: str, value: float = 1.0) -> Any:
    image = sitk.Image(12, 12, 12, sitk.sitkFloat32) + value
    image.SetSpacing((1.0, 2.0, 3.0))
    return mrml.volume_node_from_image(image, name, scene)


def test_transform_moves_into_a_chosen_node(scene: Any) -> None:
    fixed, moving = volume(scene, "MR"), volume(scene, "CT")
    target = transform(scene, 1.0, "mine")
    identifier = target.GetID()
    source = mrml.transform_node_from_field(field(5.0), "new", scene, fixed, moving)
    assert mrml.move_into(source, target) is target
    assert not scene.IsNodePresent(source)
    assert (target.GetName(), target.GetID()) == ("mine", identifier)
    assert target.GetTransformFromParent().TransformPoint(-6, -6, 6)[0] == pytest.approx(-11.0)
    assert target.GetNodeReference("spatialRegistrationFixed") is fixed
    assert target.GetNodeReference("spatialRegistrationMoving") is moving


def test_volume_moves_into_a_chosen_node_and_out_of_its_transform(scene: Any) -> None:
    target, source = volume(scene, "mine", 1.0), volume(scene, "new", 7.0)
    source.SetOrigin(4.0, 5.0, 6.0)
    target.SetAndObserveTransformNodeID(transform(scene).GetID())
    assert mrml.move_into(source, target) is target
    assert not scene.IsNodePresent(source)
    assert target.GetParentTransformNode() is None
    assert target.GetOrigin() == (4.0, 5.0, 6.0)
    assert target.GetSpacing() == (1.0, 2.0, 3.0)
    assert sitk.GetArrayFromImage(mrml.image_from_node(target)).max() == 7.0


def test_no_target_and_a_wrong_one(scene: Any) -> None:
    source = transform(scene)
    assert mrml.move_into(source, None) is source
    with pytest.raises(InputError, match="Create new"):
        mrml.move_into(source, volume(scene, "v"))
    assert scene.IsNodePresent(source)


def test_undo_keeps_the_transforms_of_the_node_itself(scene: Any) -> None:
    result, moving = transform(scene), volume(scene, "CT")
    own = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "own")
    moving.SetAndObserveTransformNodeID(own.GetID())
    mrml.set_registered(moving, result, True)
    assert mrml.is_registered(moving, result)
    assert moving.GetParentTransformNode() is own
    mrml.set_registered(moving, result, True)  # again: nothing changes
    assert own.GetParentTransformNode() is result
    mrml.set_registered(moving, result, False)
    assert not mrml.is_registered(moving, result)
    assert moving.GetParentTransformNode() is own
    mrml.set_registered(moving, result, False)
    assert moving.GetParentTransformNode() is own


def test_what_shares_the_parents_of_the_moving_volume_stays_where_it_is(scene: Any, new_linear: Any) -> None:
    first, second, moving, fixed = transform(scene), transform(scene), volume(scene, "CT"), volume(scene, "MR")
    matrix = np.eye(4)
    matrix[:3, 3] = [1, 2, 3]
    top = new_linear(matrix)
    own = new_linear(matrix, top)
    top.SetName("room")
    own.SetName("couch")
    moving.SetAndObserveTransformNodeID(own.GetID())
    fixed.SetAndObserveTransformNodeID(top.GetID())
    place = mrml.image_from_node(moving).GetOrigin()
    nodes = scene.GetNumberOfNodes()
    for result in (first, second):
        mrml.set_registered(moving, result, True)
        assert (fixed.GetParentTransformNode(), own.GetParentTransformNode()) == (top, top)
        assert top.GetParentTransformNode() is None
        stand_in = moving.GetParentTransformNode()
        assert stand_in.GetName() == "CT in couch" and stand_in.GetParentTransformNode() is result
        assert mrml.image_from_node(moving, before_registration=True).GetOrigin() == pytest.approx(place)
        world = [0.0, 0.0, 0.0]
        moving.TransformPointToWorld([0.0, 0.0, 0.0], world)
        expected = result.GetTransformToParent().TransformPoint(2.0, 4.0, 6.0)
        assert world == pytest.approx(expected)
        assert scene.GetNumberOfNodes() == nodes + 1
    # the transform that both share is a start as it was before
    start = mrml.transform_from_node(own, mrml.image_from_node(fixed), moving)
    assert start.TransformPoint((0.0, 0.0, 0.0)) == pytest.approx((0.0, 0.0, 0.0))
    mrml.set_registered(moving, second, False)
    assert moving.GetParentTransformNode() is own and scene.GetNumberOfNodes() == nodes


@pytest.mark.parametrize("registered", [False, True])
def test_a_stand_in_that_the_user_has_left_goes(scene: Any, new_linear: Any, registered: bool) -> None:
    result, moving, fixed, own = transform(scene), volume(scene, "CT"), volume(scene, "MR"), new_linear(np.eye(4))
    for node in (moving, fixed):
        node.SetAndObserveTransformNodeID(own.GetID())
    nodes = scene.GetNumberOfNodes()
    mrml.set_registered(moving, result, True)
    moving.SetAndObserveTransformNodeID(own.GetID())  # by hand
    assert scene.GetNumberOfNodes() == nodes + 1
    mrml.set_registered(moving, result, registered)
    assert scene.GetNumberOfNodes() == nodes + registered
    assert mrml.is_registered(moving, result) is registered


def test_shared_parents_that_are_not_linear_are_refused(scene: Any) -> None:
    result, bend = transform(scene), transform(scene, 1.0, "bend")
    bend.SetAttribute("GradientGuidedRegistration.Result", None)
    nodes = [mrml.markups_from_points(np.zeros((1, 3)), name, scene) for name in "ab"]
    for node in nodes:
        node.SetAndObserveTransformNodeID(bend.GetID())
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="'a' shares its transform 'bend', which is not linear"):
        mrml.apply_to(nodes[0], result)
    assert nodes[0].GetParentTransformNode() is bend and scene.GetNumberOfNodes() == before


def test_points_and_images_of_the_ct_go_the_same_way(scene: Any) -> None:
    """A landmark in the CT, and the CT's voxel under it, are shown at the same place of the MR."""
    result = transform(scene, 2.0)
    node = mrml.markups_from_points(np.array([[6.0, 6.0, 6.0]]), "landmark", scene)
    mrml.apply_to(node, result)
    # Fixed points are found 2 mm towards +x (LPS) in the CT: what lies at x = 6 in the CT is shown at x = 4.
    assert mrml.points_from_markups(node)[0] == pytest.approx((4.0, 6.0, 6.0), abs=0.05)


def test_a_result_cannot_be_put_under_itself(scene: Any) -> None:
    result = transform(scene)
    with pytest.raises(InputError):
        mrml.apply_to(result, result)
