"""The module's Logic on the real scene: nodes in, nodes out, all or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from finished import SIZE, finished_result, names_in, saved

from GradientGuidedRegistrationLib import mrml
from GradientGuidedRegistrationLib.errors import Cancelled, InputError


def test_result_becomes_nodes_named_after_the_inputs(scene: Any, logic: Any, pair: tuple[Any, Any]) -> None:
    fixed, moving = pair
    labels = mrml.volume_node_from_image(sitk.Image(SIZE, SIZE, SIZE, sitk.sitkUInt8) + 3, "organs", scene, labels=True)
    nodes = logic.addResultToScene(finished_result(inverse=True), fixed, moving, movingSegmentationNode=labels)
    assert nodes.transform.GetName() == "CT to MR"
    assert nodes.inverseTransform.GetName() == "MR to CT"
    assert nodes.warpedVolume.GetName() == "CT on MR"
    assert nodes.warpedSegmentation.GetName() == "organs on MR"
    assert nodes.warpedSegmentation.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    assert nodes.transform.GetNodeReference("spatialRegistrationFixed") is fixed
    assert nodes.transform.GetNodeReference("spatialRegistrationMoving") is moving
    assert nodes.inverseTransform.GetNodeReference("spatialRegistrationFixed") is moving
    assert moving.GetParentTransformNode() is nodes.transform
    assert fixed.GetParentTransformNode() is None
    warped = sitk.GetArrayFromImage(mrml.image_from_node(nodes.warpedVolume))
    original = sitk.GetArrayFromImage(mrml.image_from_node(moving, before_registration=True))
    assert np.allclose(warped[12, 12, 5:15], original[12, 12, 8:18], atol=1e-5)


def test_the_verdict_stays_with_the_nodes_in_a_saved_scene(scene: Any, logic: Any, pair: tuple[Any, Any]) -> None:
    """Slicer shows a description wherever it shows a node; one that was chosen for the result gets it too."""
    fixed, moving = pair
    chosen = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "mine")
    nodes = logic.addResultToScene(finished_result(inverse=True), fixed, moving, transformNode=chosen)
    expected = "Check before use. An error of 2.5 mm must be expected. Little overlap."
    assert nodes.transform is chosen
    for node in (nodes.transform, nodes.inverseTransform, nodes.warpedVolume):
        assert node.GetDescription() == expected
    assert f'description="{expected}"' in saved(scene)


def test_only_what_was_asked_for(scene: Any, logic: Any, pair: tuple[Any, Any]) -> None:
    fixed, moving = pair
    before = names_in(scene)
    nodes = logic.addResultToScene(
        finished_result(inverse=False), fixed, moving, createWarpedVolume=False, observe=False
    )
    assert len(names_in(scene)) == len(before) + 1
    assert (nodes.inverseTransform, nodes.warpedVolume, nodes.warpedSegmentation) == (None, None, None)
    assert moving.GetParentTransformNode() is None


def test_an_error_late_in_the_work_leaves_the_scene_as_it_was(scene: Any, logic: Any, pair: tuple[Any, Any]) -> None:
    fixed, moving = pair
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    before = names_in(scene)
    with pytest.raises(InputError, match="'empty' has no segments"):
        logic.addResultToScene(finished_result(inverse=True), fixed, moving, movingSegmentationNode=empty)
    assert names_in(scene) == before
    assert moving.GetParentTransformNode() is None


def test_a_parent_that_both_volumes_share_and_that_moves_between_two_runs(
    scene: Any, logic: Any, pair: tuple[Any, Any], new_parent: Any
) -> None:
    fixed, moving = pair
    shared = new_parent(moving)
    fixed.SetAndObserveTransformNodeID(shared.GetID())
    transform = logic.addResultToScene(finished_result(False), *pair).transform
    assert fixed.GetParentTransformNode() is shared and shared.GetParentTransformNode() is None
    shared.GetTransformToParent().Translate(5, 0, 0)
    nodes = scene.GetNumberOfNodes()
    logic.addResultToScene(finished_result(False), *pair, createWarpedVolume=False, transformNode=transform)
    stand_in = moving.GetParentTransformNode()
    assert stand_in.GetTransformToParent().GetPosition() == pytest.approx((6.0, 2.0, 3.0))
    assert stand_in.GetParentTransformNode() is transform and scene.GetNumberOfNodes() == nodes
    logic.setRegistered(moving, transform, False)
    assert moving.GetParentTransformNode() is shared and scene.GetNumberOfNodes() == nodes - 1


@pytest.mark.parametrize("kind", ["label map", "segmentation"])
def test_what_is_carried_again_by_the_same_transform_takes_the_place_of_the_last(
    scene: Any, logic: Any, pair: tuple[Any, Any], kind: str
) -> None:
    import slicer

    from GradientGuidedRegistrationLib.mrml.geometry import vtk_from_image

    def organs(value: int) -> sitk.Image:
        return sitk.Image(SIZE, SIZE, SIZE, sitk.sitkUInt8) + value

    source = mrml.volume_node_from_image(organs(3), "organs", scene, labels=True)
    if kind == "segmentation":
        label_map, source = source, scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(label_map, source)
    options = {"movingSegmentationNode": source, "createWarpedVolume": False}
    first = logic.addResultToScene(finished_result(False), *pair, **options)
    shown = first.warpedSegmentation.GetDisplayNode()
    before = names_in(scene)
    if kind == "label map":
        source.SetAndObserveImageData(vtk_from_image(organs(4)))
    else:
        source.GetSegmentation().GetNthSegment(0).SetName("liver")
    again = logic.addResultToScene(finished_result(False), *pair, transformNode=first.transform, **options)
    assert again.warpedSegmentation is first.warpedSegmentation and names_in(scene) == before
    assert again.warpedSegmentation.GetDisplayNode() is shown
    if kind == "label map":
        assert sitk.GetArrayFromImage(mrml.image_from_node(again.warpedSegmentation)).max() == 4
    else:
        assert mrml.segment_names(again.warpedSegmentation) == ["liver"]
        assert not shown.GetVisibility2DFill(), "filled, it would cover both images"
    other = logic.addResultToScene(finished_result(False), *pair, **options)
    assert other.warpedSegmentation is not first.warpedSegmentation  # of another transform


def test_targets_that_cannot_hold_the_result_are_refused_before_any_is_overwritten(
    scene: Any, logic: Any, pair: tuple[Any, Any]
) -> None:
    chosen = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "mine")
    labels = mrml.volume_node_from_image(sitk.Image(4, 4, 4, sitk.sitkUInt8), "labels", scene, labels=True)
    before = names_in(scene)
    with pytest.raises(InputError, match="'labels' cannot hold this result"):
        logic.addResultToScene(finished_result(False), *pair, transformNode=chosen, warpedVolumeNode=labels)
    assert names_in(scene) == before and chosen.GetNodeReference("spatialRegistrationMoving") is None


def test_a_target_among_the_transforms_of_the_volumes(
    scene: Any, logic: Any, pair: tuple[Any, Any], tmp_path: Any, new_parent: Any
) -> None:
    from GradientGuidedRegistrationLib.registration.settings import Settings

    parent, chosen = new_parent(pair[1]), scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "mine")
    chosen.SetAndObserveTransformNodeID(parent.GetID())
    nodes = logic.addResultToScene(finished_result(True), *pair, transformNode=chosen)
    assert chosen.GetParentTransformNode() is None and parent.GetParentTransformNode() is chosen
    logic.writeJob(tmp_path / "again", *pair, Settings(), transformNode=chosen)  # the earlier result: as always
    chosen.SetAttribute("GradientGuidedRegistration.Result", None)  # a field of the user's own, above the CT
    with pytest.raises(InputError, match="overwrite 'mine', which 'CT' is under"):
        logic.writeJob(tmp_path / "own", *pair, Settings(), transformNode=chosen)
    pair[0].SetAndObserveTransformNodeID(nodes.inverseTransform.GetID())
    with pytest.raises(InputError, match="overwrite 'MR to CT', which 'MR' is under"):
        logic.writeJob(tmp_path / "fixed", *pair, Settings(), inverseTransformNode=nodes.inverseTransform)
    assert list(tmp_path.iterdir()) == [tmp_path / "again"]


def test_cancelling_leaves_the_scene_as_it_was(
    scene: Any, logic: Any, pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(*arguments: Any, **options: Any) -> None:
        raise Cancelled

    monkeypatch.setattr(logic, "registerImages", cancelled)
    before = names_in(scene)
    with pytest.raises(Cancelled):
        logic.register(*pair)
    assert names_in(scene) == before


def test_registering_twice_starts_from_where_the_volume_was(
    scene: Any, logic: Any, pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed, moving = pair
    seen = []

    def register_images(fixed: sitk.Image, moving: sitk.Image, settings: Any, **options: Any) -> Any:
        seen.append((moving.GetOrigin(), settings.inverse, sorted(options)))
        return finished_result(settings.inverse)

    monkeypatch.setattr(logic, "registerImages", register_images)
    first = logic.register(fixed, moving)
    second = logic.register(fixed, moving, createInverse=True)
    assert seen[0][0] == seen[1][0]
    assert [inverse for _, inverse, _ in seen] == [False, True]
    assert moving.GetParentTransformNode() is second.transform
    assert first.transform.GetName() != second.transform.GetName()


def test_a_volume_is_not_registered_to_itself(
    scene: Any, logic: Any, pair: tuple[Any, Any], module: Any, tmp_path: Any
) -> None:
    before = names_in(scene)
    for refused in (
        lambda: logic.register(pair[0], pair[0]),
        lambda: logic.writeJob(tmp_path / "job", pair[0], pair[0], logic.settings(logic.getParameterNode())),
    ):
        with pytest.raises(InputError, match="'MR' is the fixed and the moving volume; choose two"):
            refused()
    assert [name for name in names_in(scene) if name in before] == before and not (tmp_path / "job").exists()


def test_masks_and_initial_transform_reach_the_registration(
    scene: Any, logic: Any, pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed, moving = pair
    mask_values = np.zeros((SIZE, SIZE, SIZE), dtype=np.uint8)
    mask_values[3:9] = 4
    mask = mrml.volume_node_from_image(sitk.GetImageFromArray(mask_values), "mask", scene, labels=True)
    initial = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    initial.GetTransformToParent().Translate(10, 0, 0)
    seen: dict[str, Any] = {}

    def register_images(fixed: sitk.Image, moving: sitk.Image, settings: Any, **options: Any) -> Any:
        seen.update(options)
        return finished_result(settings.inverse)

    monkeypatch.setattr(logic, "registerImages", register_images)
    logic.register(fixed, moving, initialTransformNode=initial, movingMaskNode=mask)
    assert np.array_equal(sitk.GetArrayFromImage(seen["moving_mask"]), (mask_values > 0).astype(np.uint8))
    assert "fixed_mask" not in seen
    # The node moves the CT 10 mm towards RAS +x; a fixed point is found in the CT 10 mm the other way: LPS +x.
    assert seen["initial_transform"].TransformPoint((0.0, 0.0, 0.0)) == pytest.approx((10.0, 0.0, 0.0))
    moving.SetAndObserveTransformNodeID(initial.GetID())  # moved by hand already: not twice
    logic.register(fixed, moving, initialTransformNode=initial)
    assert seen["initial_transform"].TransformPoint((0.0, 0.0, 0.0)) == pytest.approx((0.0, 0.0, 0.0))


def test_parameter_node_has_its_defaults_and_is_saved_in_the_scene(
    scene: Any, logic: Any, pair: tuple[Any, Any]
) -> None:
    parameters = logic.getParameterNode()
    assert parameters.initialization.value == "rigid"
    parameters.fixedVolume, parameters.movingVolume = pair
    again = logic.getParameterNode()
    assert (again.fixedVolume, again.movingVolume) == pair


@pytest.mark.parametrize(
    ("quality", "spacing", "scale"), [("OFF", 0.0, None), ("FAST", 0.0, None), ("FAST", 1.5, None), ("OFF", 0.0, 1.6)]
)
def test_the_grid_that_the_panel_tells_is_the_one_used(
    scene: Any, logic: Any, module: Any, pair: tuple[Any, Any], quality: str, spacing: float, scale: float | None
) -> None:
    pytest.importorskip("torch")
    if scale is not None:
        parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        parent.GetTransformToParent().Scale(scale, scale, scale)
        for node in pair:
            node.SetAndObserveTransformNodeID(parent.GetID())
    parameters = logic.getParameterNode()
    parameters.fixedVolume, parameters.movingVolume = pair
    parameters.quality, parameters.spacing = module.Quality[quality], spacing
    parameters.initialization = module.Initialization.NONE
    size, spacing_mm = logic.workingGrid(parameters)
    result = logic.registerImages(*(mrml.image_from_node(node) for node in pair), logic.settings(parameters))
    assert result.quality["working_grid"] == {"size": list(size), "spacing_mm": spacing_mm}


def test_panel_says_that_it_needs_the_application(module: Any) -> None:
    with pytest.raises(RuntimeError, match="needs the Slicer application"):
        module.GradientGuidedRegistrationWidget()


def test_a_phantom_is_registered_from_nodes_to_nodes(scene: Any, logic: Any) -> None:
    """The whole way: scene, pipeline, scene. The result is nearer the truth than the start, and the nodes agree."""
    pytest.importorskip("torch")
    from GradientGuidedRegistrationLib.registration import Settings
    from GradientGuidedRegistrationLib.training.phantom import phantom_images

    images = phantom_images(5, (48, 56, 56), 4.0)  # moves 8.6 mm on average: much to gain
    fixed = mrml.volume_node_from_image(images["fixed"], "MR", scene)
    moving = mrml.volume_node_from_image(images["moving"], "CT", scene)
    organs = mrml.volume_node_from_image(images["moving_labels"], "organs", scene, labels=True)
    steps: list[tuple[str, float]] = []
    nodes = logic.register(
        fixed,
        moving,
        Settings(refine=10, initialization="none", use_network=False),
        movingSegmentationNode=organs,
        createInverse=True,
        progress=lambda step, fraction: steps.append((step, fraction)),
    )

    truth, found = images["field"], sitk.Resample(nodes.result.field, images["field"])
    body = sitk.GetArrayFromImage(images["fixed_labels"]) > 0
    before = np.linalg.norm(sitk.GetArrayFromImage(truth)[body], axis=1).mean()
    after = np.linalg.norm((sitk.GetArrayFromImage(truth) - sitk.GetArrayFromImage(found))[body], axis=1).mean()
    assert after < 0.9 * before
    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0

    expected = nodes.result.warp_labels(images["moving_labels"], images["fixed"])
    carried = mrml.labels_from_node(nodes.warpedSegmentation, images["fixed"])
    assert np.array_equal(sitk.GetArrayFromImage(carried), sitk.GetArrayFromImage(expected))
    there, back = nodes.transform.GetTransformFromParent(), nodes.inverseTransform.GetTransformFromParent()
    for point in ([0.0, 0.0, 0.0], [30.0, -20.0, 10.0], [-45.0, 15.0, -25.0]):
        moved = there.TransformPoint(point)
        returned = back.TransformPoint(moved)
        assert np.linalg.norm(np.subtract(returned, point)) < 0.3
        assert np.linalg.norm(np.subtract(moved, point)) > 0.1
