"""Volume nodes to images and back: the same voxels at the same places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import vtk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.mrml import image_from_node, volume_node_from_image
from GradientGuidedRegistrationLib.mrml.geometry import matrix_to_vtk


def world_ras(node: Any, index: tuple[int, int, int]) -> np.ndarray:
    """World RAS position of a voxel by MRML's own functions, parent transforms included."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    local = matrix.MultiplyPoint([*index, 1.0])[:3]
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(local, world)
    return np.asarray(world)


def corners_and_centre(size: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [tuple(int(c * (n - 1)) for c, n in zip(corner, size)) for corner in np.ndindex(2, 2, 2)] + [
        tuple(n // 2 for n in size)
    ]


def test_round_trip_keeps_voxels_and_places(scene: Any, geometry: Any, new_image: Any) -> None:
    image = new_image(geometry)
    node = volume_node_from_image(image, "MR", scene)
    for index in corners_and_centre(image.GetSize()):
        lps = np.asarray(image.TransformIndexToPhysicalPoint(index))
        assert np.abs(world_ras(node, index) - lps * [-1, -1, 1]).max() < 1e-9
        assert node.GetImageData().GetScalarComponentAsDouble(*index, 0) == image.GetPixel(index)
    back = image_from_node(node)
    assert np.array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))
    assert np.allclose(back.GetDirection(), image.GetDirection(), atol=1e-12)
    assert np.allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-9)
    assert np.allclose(back.GetSpacing(), image.GetSpacing(), atol=1e-12)


@pytest.mark.parametrize(
    "pixel",
    [
        sitk.sitkInt8,
        sitk.sitkUInt8,
        sitk.sitkInt16,
        sitk.sitkUInt16,
        sitk.sitkInt32,
        sitk.sitkUInt32,
        sitk.sitkFloat32,
        sitk.sitkFloat64,
    ],
)
def test_pixel_types_are_kept(scene: Any, geometries: Any, new_image: Any, pixel: int) -> None:
    image = new_image(geometries["permuted-odd"], pixel)
    back = image_from_node(volume_node_from_image(image, "CT", scene))
    assert back.GetPixelID() == pixel
    assert np.array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(image))


@pytest.mark.parametrize(("value", "stored"), [(-5, sitk.sitkInt32), (2**40, sitk.sitkFloat64)])
def test_64_bit_integers_become_something_mrml_takes(
    scene: Any, geometries: Any, new_image: Any, value: int, stored: int
) -> None:
    image = new_image(geometries["lps"], sitk.sitkInt64)
    image[3, 4, 5] = value
    back = image_from_node(volume_node_from_image(image, "labels", scene))
    assert back.GetPixelID() == stored
    assert back[3, 4, 5] == value


def test_linear_parents_move_the_image(scene: Any, geometry: Any, new_image: Any, new_linear: Any) -> None:
    image = new_image(geometry)
    node = volume_node_from_image(image, "CT", scene)
    outer, inner = np.eye(4), np.eye(4)
    angle = np.radians(30)
    outer[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    outer[:3, 3] = [12, -4, 7]
    inner[:3, 3] = [-30, 5, 2]
    inner[:3, :3] *= -1  # a mirror as well
    node.SetAndObserveTransformNodeID(new_linear(inner, new_linear(outer)).GetID())
    moved = image_from_node(node)
    assert np.array_equal(sitk.GetArrayFromImage(moved), sitk.GetArrayFromImage(image))
    for index in corners_and_centre(image.GetSize()):
        lps = np.asarray(moved.TransformIndexToPhysicalPoint(index))
        assert np.abs(world_ras(node, index) * [-1, -1, 1] - lps).max() < 1e-9


def test_shearing_parent_gives_perpendicular_axes_with_the_same_content(scene: Any, new_linear: Any) -> None:
    grid = np.indices((24, 26, 28)).astype(np.float32)
    image = sitk.GetImageFromArray(grid[0] + 2 * grid[1] + 3 * grid[2])  # linear interpolation of this is exact
    node = volume_node_from_image(image, "tilted", scene)
    shear = np.eye(4)
    shear[1, 2] = 0.3
    node.SetAndObserveTransformNodeID(new_linear(shear).GetID())
    straight = image_from_node(node)
    axes = np.reshape(straight.GetDirection(), (3, 3))
    assert np.abs(axes.T @ axes - np.eye(3)).max() < 1e-9
    for index in [(10, 12, 11), (3, 20, 4), (25, 5, 20), *corners_and_centre(image.GetSize())]:
        lps = world_ras(node, index) * [-1, -1, 1]
        inside = straight.TransformPhysicalPointToContinuousIndex(lps.tolist())
        assert all(-1e-6 <= c <= n - 1 + 1e-6 for c, n in zip(inside, straight.GetSize()))
        if index in [(10, 12, 11), (3, 20, 4), (25, 5, 20)]:
            value = straight.EvaluateAtPhysicalPoint(lps.tolist(), sitk.sitkLinear)
            assert value == pytest.approx(image.GetPixel(index), abs=1e-2)


def test_extent_that_does_not_start_at_zero(scene: Any) -> None:
    data = vtk.vtkImageData()
    data.SetExtent(3, 9, -2, 6, 5, 9)
    data.AllocateScalars(vtk.VTK_SHORT, 1)
    data.GetPointData().GetScalars().Fill(0)
    data.SetScalarComponentFromDouble(4, 0, 7, 0, 42)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.SetAndObserveImageData(data)
    node.SetSpacing(2, 3, 4)
    image = image_from_node(node)
    found = np.argwhere(sitk.GetArrayFromImage(image) == 42)[0][::-1]
    expected = world_ras(node, (4, 0, 7)) * [-1, -1, 1]
    assert np.allclose(image.TransformIndexToPhysicalPoint([int(i) for i in found]), expected)


def test_display_of_the_moving_volume_is_taken_over(scene: Any, geometries: Any, new_image: Any) -> None:
    first = volume_node_from_image(new_image(geometries["lps"]), "CT", scene)
    first.GetDisplayNode().SetAutoWindowLevel(False)
    first.GetDisplayNode().SetWindowLevel(350, 40)
    second = volume_node_from_image(new_image(geometries["ras"]), "CT", scene, display_like=first)
    assert (second.GetDisplayNode().GetWindow(), second.GetDisplayNode().GetLevel()) == (350, 40)
    assert second.GetName() == "CT_1"


def nonlinear_parent(scene: Any, node: Any) -> None:
    grid = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "bend")
    node.SetAndObserveTransformNodeID(grid.GetID())


def empty(scene: Any, node: Any) -> None:
    node.SetAndObserveImageData(None)


def colour(scene: Any, node: Any) -> None:
    data = vtk.vtkImageData()
    data.SetDimensions(4, 4, 4)
    data.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(data)


def not_a_number(scene: Any, node: Any) -> None:
    node.GetImageData().SetScalarComponentFromDouble(1, 1, 1, 0, float("nan"))


def singular_parent(scene: Any, node: Any) -> None:
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "flat")
    transform.SetMatrixTransformToParent(matrix_to_vtk(np.diag([1.0, 1, 0, 1])))
    node.SetAndObserveTransformNodeID(transform.GetID())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nonlinear_parent, "non-linear transform 'bend'"),
        (empty, "no voxels"),
        (colour, "3 components"),
        (not_a_number, "NaN"),
        (singular_parent, "'flat'.*singular"),
    ],
)
def test_bad_nodes_are_refused_by_name(
    scene: Any, geometries: Any, new_image: Any, vtk_errors: list[str], spoil: Any, message: str
) -> None:
    node = volume_node_from_image(new_image(geometries["lps"]), "abdomen", scene)
    spoil(scene, node)
    vtk_errors.clear()
    with pytest.raises(InputError, match=message) as error:
        image_from_node(node)
    assert "abdomen" in str(error.value)


def test_nothing_selected_and_wrong_kind(scene: Any) -> None:
    with pytest.raises(InputError, match="No volume"):
        image_from_node(None)
    with pytest.raises(InputError, match="scalar volume is needed"):
        image_from_node(scene.AddNewNodeByClass("vtkMRMLModelNode"))
