"""Whether a result still fits: the volumes are to be as they were when they were registered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from finished import SIZE, finished_result, names_in, saved

from GradientGuidedRegistrationLib import mrml
from GradientGuidedRegistrationLib.errors import InputError


def test_a_result_remembers_which_volume_it_fits(
    scene: Any, logic: Any, pair: tuple[Any, Any], new_parent: Any, tmp_path: Any
) -> None:
    moving, parent = pair[1], new_parent(pair[1])
    chosen = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "mine")
    transform = logic.addResultToScene(finished_result(False), *pair, transformNode=chosen).transform
    assert mrml.fingerprint(moving, before_registration=True) in saved(scene)
    logic.setRegistered(moving, transform, False)
    moving.HardenTransform()  # of its own parent: it is where it was
    logic.setRegistered(moving, transform, True)
    logic.review(finished_result(False), *pair).close()
    moving.HardenTransform()
    for refused in (
        lambda: logic.setRegistered(moving, transform, True),
        lambda: logic.review(finished_result(False), *pair),
        lambda: logic.writeReportJob(tmp_path / "job", finished_result(False), *pair, (None, None)),
    ):
        with pytest.raises(InputError, match="'CT' was changed or moved since it was registered"):
            refused()
    assert not (tmp_path / "job").exists()
    assert moving.GetParentTransformNode() is None and parent.GetParentTransformNode() is None


@pytest.mark.parametrize("how", ["moved", "other voxels", "under the inverse", "both moved"])
def test_a_result_remembers_where_the_fixed_volume_was(
    scene: Any, logic: Any, pair: tuple[Any, Any], new_parent: Any, tmp_path: Any, how: str
) -> None:
    from GradientGuidedRegistrationLib.mrml.geometry import vtk_from_image

    fixed, moving = pair
    shared = new_parent(fixed)
    moving.SetAndObserveTransformNodeID(shared.GetID())
    nodes = logic.addResultToScene(finished_result(inverse=True), *pair)
    logic.review(nodes.result, *pair).close()
    logic.setRegistered(moving, nodes.transform, False)
    logic.setRegistered(moving, nodes.transform, True)
    logic.setRegistered(moving, nodes.transform, False)
    image, matrix = fixed.GetImageData(), shared.GetMatrixTransformToParent()
    if how == "moved":
        fixed.SetOrigin(*(np.array(fixed.GetOrigin()) + [0, 0, 1]))
    elif how == "other voxels":
        fixed.SetAndObserveImageData(vtk_from_image(sitk.Image(SIZE, SIZE, SIZE, sitk.sitkFloat32)))
    elif how == "under the inverse":
        logic.applyTo(fixed, nodes.inverseTransform)
    else:
        shared.GetTransformToParent().Translate(0, 0, 1)
    for refused in (
        lambda: logic.setRegistered(moving, nodes.transform, True),
        lambda: logic.review(nodes.result, *pair),
        lambda: logic.writeReportJob(tmp_path / "job", nodes.result, *pair, (None, None)),
    ):
        with pytest.raises(InputError, match="'MR' was changed or moved since it was registered"):
            refused()
    assert moving.GetParentTransformNode() is shared and not (tmp_path / "job").exists()
    if how == "moved":
        fixed.SetOrigin(*(np.array(fixed.GetOrigin()) - [0, 0, 1]))
    elif how == "other voxels":
        fixed.SetAndObserveImageData(image)
    elif how == "under the inverse":
        logic.setRegistered(fixed, nodes.inverseTransform, False)
    else:
        shared.SetMatrixTransformToParent(matrix)
    logic.setRegistered(moving, nodes.transform, True)
    logic.review(nodes.result, *pair).close()


@pytest.mark.parametrize("handed", [1.0, -1.0])
def test_a_volume_is_the_same_after_its_slices_were_reversed(scene: Any, handed: float) -> None:
    """Slicer reads a left-handed volume that way: in a scene that was saved and opened it is a right-handed one."""
    values = np.random.default_rng(0).integers(-1000, 1000, (50, 90, 91)).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.SetDirection((1, 0, 0, 0, 0.8, -0.6 * handed, 0, 0.6, 0.8 * handed))
    image.SetSpacing((0.7, 0.8, 3.0))
    image.SetOrigin((-30.0, 20.0, 10.0))
    node = mrml.volume_node_from_image(image, "MR", scene)
    watch = mrml.PairWatch((mrml.fingerprint(node), None))
    reversed_image = sitk.Flip(image, (False, False, True), False)  # flips the voxels in their places
    assert reversed_image.GetDirection() != image.GetDirection()
    other = mrml.volume_node_from_image(reversed_image, "MR again", scene)
    assert watch.changed(other, None) is None
    other.GetImageData().SetScalarComponentFromDouble(0, 0, 0, 0, 5000)
    other.GetImageData().Modified()
    assert watch.changed(other, None) is other


@pytest.mark.parametrize("name", ["MR", "CT"])
@pytest.mark.parametrize("what", ["voxels", "parent"])
def test_a_volume_that_changes_meanwhile_is_told(
    scene: Any, logic: Any, pair: tuple[Any, Any], tmp_path: Any, new_parent: Any, name: str, what: str
) -> None:
    from GradientGuidedRegistrationLib.mrml.geometry import vtk_from_image
    from GradientGuidedRegistrationLib.registration.settings import Settings

    parents = {node.GetName(): new_parent(node) for node in pair}
    registered = logic.writeJob(tmp_path / "job", *pair, Settings())
    logic.addResultToScene(finished_result(inverse=False), *pair, registered=registered)  # nothing has changed
    before, node = names_in(scene), scene.GetFirstNodeByName(name)
    if what == "parent":
        parents[name].GetTransformToParent().Translate(0, 0, 5)
    else:
        other = np.zeros((SIZE, SIZE, SIZE), np.float32)
        node.SetAndObserveImageData(vtk_from_image(sitk.GetImageFromArray(other)))
    with pytest.raises(InputError, match=f"'{name}' was changed or moved .* Register again"):
        logic.addResultToScene(finished_result(inverse=False), *pair, registered=registered)
    assert names_in(scene) == before
