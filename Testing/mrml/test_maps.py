"""Maps as volume nodes: right values at right places, right colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.evaluation import jacobian_determinant
from GradientGuidedRegistrationLib.mrml.images import image_from_node, volume_node_from_image
from GradientGuidedRegistrationLib.mrml.maps import (
    checkerboard,
    disagreement_node,
    expected_error_node,
    gradient_map,
    gradient_map_node,
    jacobian_node,
    mixed_node,
    split,
)


def shown_colour(node: Any, value: float) -> np.ndarray:
    """Colour (0 to 1) in which a volume node shows a value: window, then colour table."""
    display = node.GetDisplayNode()
    share = (value - display.GetWindowLevelMin()) / (display.GetWindowLevelMax() - display.GetWindowLevelMin())
    table = display.GetColorNode()
    colour = [0.0] * 4
    table.GetColor(int(np.clip(share, 0, 1) * (table.GetNumberOfColors() - 1) + 0.5), colour)
    return np.array(colour[:3])


def test_gradient_map_node(scene: Any, geometry: Any, new_image: Any) -> None:
    node = volume_node_from_image(new_image(geometry), "MR", scene)
    gradient = gradient_map_node(node, scene)
    assert gradient.GetName() == "MR gradient map"
    values = sitk.GetArrayFromImage(image_from_node(gradient))
    assert values.min() >= 0 and values.max() == 1
    for index in [(1, 2, 3), (5, 7, 4)]:
        ras = np.zeros((2, 3))
        for row, volume in enumerate((node, gradient)):
            image = image_from_node(volume)
            ras[row] = image.TransformIndexToPhysicalPoint(index)
        assert np.allclose(*ras)
    assert shown_colour(gradient, 0.0).sum() == 0 and shown_colour(gradient, 1.0).sum() > 2
    again = gradient_map_node(node, scene)
    assert again.GetDisplayNode().GetColorNode() is gradient.GetDisplayNode().GetColorNode()


def test_gradient_map_of_a_ramp_is_even_in_mm(geometry: Any, new_image: Any) -> None:
    """An edge is as strong along thick slices as in the plane."""
    image = new_image(geometry)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.GetSize()), indexing="ij"), -1).transpose(2, 1, 0, 3)
    direction = np.reshape(image.GetDirection(), (3, 3))
    points = (index * image.GetSpacing()) @ direction.T
    for axis in np.eye(3):
        ramp = sitk.GetImageFromArray(1000 + points @ axis)
        ramp.CopyInformation(image)
        values = sitk.GetArrayFromImage(gradient_map(ramp))[2:-2, 2:-2, 2:-2]
        assert np.median(values) > 0.9 and values.std() < 0.1


def test_gradient_map_after_registration(scene: Any, geometries: Any, new_image: Any) -> None:
    moving = volume_node_from_image(new_image(geometries["lps"]), "CT", scene)
    reference = new_image(geometries["oblique-anisotropic"])
    reference.SetOrigin(new_image(geometries["lps"]).TransformIndexToPhysicalPoint((3, 3, 3)))
    shift = sitk.TranslationTransform(3, (1.0, 2.0, -1.0))
    node = gradient_map_node(moving, scene, transform=shift, reference=reference, name="after")
    own = gradient_map(image_from_node(moving))
    found = image_from_node(node)
    assert found.GetSize() == reference.GetSize()
    expected = sitk.Resample(own, reference, shift, sitk.sitkLinear, 0.0)
    assert np.allclose(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected), atol=1e-6)
    assert sitk.GetArrayFromImage(found).max() > 0.2


def test_jacobian_node(scene: Any, geometry: Any, new_field: Any) -> None:
    field = new_field(geometry, amplitude=9.0)
    node = jacobian_node(field, "Jacobian", scene)
    assert np.allclose(
        sitk.GetArrayFromImage(image_from_node(node)), sitk.GetArrayFromImage(jacobian_determinant(field))
    )
    assert not node.GetDisplayNode().GetInterpolate()
    inner = sitk.RegionOfInterest(field, [n - 4 for n in field.GetSize()], [2, 2, 2])
    spacing = field.GetSpacing()[0]
    shown = image_from_node(jacobian_node(field, "Jacobian", scene, within=inner))
    size = [round(n * own / spacing) for n, own in zip(inner.GetSize(), inner.GetSpacing())]
    assert np.abs(np.subtract(shown.GetSize(), size)).max() <= 1  # nothing of what is outside
    middle = [n // 2 for n in shown.GetSize()]
    place = field.TransformPhysicalPointToIndex(shown.TransformIndexToPhysicalPoint(middle))
    assert shown[middle] == jacobian_determinant(field)[place]
    for folded in (-5.0, -0.3, 0.0):
        assert np.allclose(shown_colour(node, folded), (1, 1, 0))
    assert np.ptp(shown_colour(node, 1.0)) < 0.05  # volume kept: no hue
    assert shown_colour(node, 0.5)[2] > shown_colour(node, 0.5)[0] + 0.4  # shrinks: blue
    assert shown_colour(node, 2.0)[0] > shown_colour(node, 2.0)[2] + 0.4  # grows: red


def test_expected_error_node_has_a_legend_in_mm(scene: Any, geometry: Any, new_image: Any) -> None:
    node = expected_error_node(new_image(geometry, seed=3) / 25.0, "error", scene)
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 4.0)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    assert legend.GetTitleText() == "Expected error (mm)"
    assert legend.GetPrimaryDisplayNode() is display


def test_disagreement_node(scene: Any, geometry: Any, new_field: Any) -> None:
    first, second = new_field(geometry, amplitude=6.0), new_field(geometry, amplitude=2.0)
    node = disagreement_node(first, second, "trust", scene)
    values = sitk.GetArrayFromImage(first) - sitk.GetArrayFromImage(second)
    found = sitk.GetArrayFromImage(image_from_node(node))
    assert np.allclose(found, np.linalg.norm(values, axis=-1), atol=1e-5)
    assert node.GetDisplayNode().GetWindowLevelMin() == 0


def test_checkerboard_and_split(scene: Any, geometries: Any, new_image: Any) -> None:
    geometry = geometries["oblique-anisotropic"]
    dark, bright = new_image(geometry, seed=1), new_image(geometry, seed=2)
    first, second = (sitk.GetArrayFromImage(split(dark, bright, share=share)) for share in (1.0, 0.0))
    mixed = sitk.GetArrayFromImage(checkerboard(dark, bright, 7.0))
    k, j, i = np.indices(mixed.shape)
    odd = (i // 10 + j // 10 + k // 1) % 2 == 1  # 7 mm: 10 voxels of 0.7 mm, 1 of 5 mm
    assert np.array_equal(mixed, np.where(odd, second, first)) and first.max() <= 1 and first.min() >= 0
    for axis in range(3):  # of the patient, whatever the grid's own axes are
        halves = sitk.GetArrayFromImage(split(dark, bright, axis=axis, share=0.4))
        corners = [dark.TransformContinuousIndexToPhysicalPoint([n * e - 0.5 for n, e in zip(dark.GetSize(), end)])
                   for end in np.ndindex(2, 2, 2)]  # fmt: skip
        low, high = np.min(corners, axis=0)[axis], np.max(corners, axis=0)[axis]
        for index in ((2, 3, 1), (28, 20, 7), (15, 13, 4), (30, 0, 0), (0, 26, 8)):
            point = dark.TransformIndexToPhysicalPoint(index)[axis]
            expected = first if point < low + 0.4 * (high - low) else second
            assert halves[index[::-1]] == expected[index[::-1]]
    with pytest.raises(InputError, match="0 to 1"):
        split(dark, bright, share=2.0)
    nodes = [volume_node_from_image(image, name, scene) for image, name in ((dark, "MR"), (bright, "CT warped"))]
    node = mixed_node("checkerboard", *nodes, scene, tile_mm=7.0)
    assert np.allclose(sitk.GetArrayFromImage(image_from_node(node)), mixed) and node.GetName() == "MR checkerboard"


def test_colour_tables_are_saved_only_with_a_map_that_is_saved(
    scene: Any, tmp_path: Any, geometries: Any, new_field: Any
) -> None:
    from GradientGuidedRegistrationLib.mrml.review import Review
    from GradientGuidedRegistrationLib.registration.result import Result
    from GradientGuidedRegistrationLib.registration.settings import Settings

    field = new_field(geometries["lps"], 30.0)
    volume = volume_node_from_image(sitk.Cast(jacobian_determinant(field), sitk.sitkFloat32), "MR", scene)
    review = Review(Result(field, sitk.Transform(3, sitk.sitkIdentity), Settings()), volume, volume, scene)
    tables = [look().GetDisplayNode().GetColorNode() for look in (review.jacobian, review.gradient_map)]
    assert [table.GetSaveWithScene() for table in tables] == [0, 0]
    kept = jacobian_node(field, "kept", scene)
    review.gradient_map("fixed")
    assert [table.GetSaveWithScene() for table in tables] == [1, 0]
    table = kept.GetDisplayNode().GetColorNode()
    assert table is tables[0]
    colour = [0.0] * 4
    table.GetColor(0, colour)
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.SetRootDirectory(str(tmp_path))
    for node, name in ((volume, "mr.nrrd"), (kept, "kept.nrrd"), (table, "table.ctbl")):
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(str(tmp_path / name))
        assert node.GetStorageNode().WriteData(node)
    scene.Commit()
    scene.Clear(0)
    for other in tables:  # singletons stay
        scene.RemoveNode(other)
    scene.Connect()
    found = slicer.util.getNodes("*colours")  # beside those that an earlier test left
    assert "Volume change colours" in found and "Gradient colours" not in found
    table, again = slicer.util.getNode("kept").GetDisplayNode().GetColorNode(), [0.0] * 4
    table.GetColor(0, again)
    assert again == pytest.approx(colour) and again[:3] == [1.0, 1.0, 0.0]
    assert jacobian_node(field, "new", scene).GetDisplayNode().GetColorNode() is table
