"""Structures of nodes matched and compared, as numbers, tables, plots and CSV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.evaluation import label_metrics
from GradientGuidedRegistrationLib.mrml.evaluation_nodes import (
    compare_nodes,
    export_csv,
    landmark_table_node,
    plot_nodes_from_table,
    table_node_from_comparison,
)
from GradientGuidedRegistrationLib.mrml.geometry import RESULT_ATTRIBUTE, vtk_from_image, vtk_ijk_to_ras
from GradientGuidedRegistrationLib.mrml.images import volume_node_from_image
from GradientGuidedRegistrationLib.mrml.pairing import Pairing
from GradientGuidedRegistrationLib.mrml.points import markups_from_points
from GradientGuidedRegistrationLib.mrml.structures import match_structures, structures_of

IDENTITY = sitk.Transform(3, sitk.sitkIdentity)
KIDNEY = "Organs~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^24028007^Right~Anatomic~^^~^^"
KIDNEY_ELSEWHERE = "My list~SCT^123037004^Structure~SCT^64033007^Niere~SCT^24028007^Rechts~Other~^^~^^"
TISSUE = "Organs~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~Anatomic~^^~^^"


def box(reference: sitk.Image, low: float, high: float) -> sitk.Image:
    """1 between two shares of the last axis, inside a margin of the others."""
    array = np.zeros(reference.GetSize()[::-1], np.uint8)
    n = array.shape[2]
    array[1:-1, 2:-2, int(low * n) : int(high * n)] = 1
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(reference)
    return image


def segmentation(scene: Any, name: str, segments: list[tuple[str, sitk.Image, str]]) -> Any:
    """A segmentation node of (name, mask, terminology), each with a label image of its own."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    for number, (words, mask, terminology) in enumerate(segments):
        data = vtk_from_image(mask, slicer.vtkOrientedImageData())
        data.SetGeometryFromImageToWorldMatrix(vtk_ijk_to_ras(mask))
        segment = slicer.vtkSegment()
        segment.SetName(words)
        segment.SetTag("TerminologyEntry", terminology)
        segment.AddRepresentation("Binary labelmap", data)
        node.GetSegmentation().AddSegment(segment, f"{name}_{number}")
    return node


def found(matches: Any) -> list[tuple[str | None, str | None, str]]:
    return [(m.fixed.name if m.fixed else None, m.moving.name if m.moving else None, m.by) for m in matches]


def test_matching_by_name_then_terminology(scene: Any, geometries: Any, new_image: Any) -> None:
    reference = new_image(geometries["lps"])
    mask = box(reference, 0.1, 0.5)
    fixed = segmentation(scene, "F", [("Liver", mask, TISSUE), ("Kidney R", mask, KIDNEY), ("Spleen", mask, TISSUE)])
    moving = segmentation(
        scene, "M", [("Niere", mask, KIDNEY_ELSEWHERE), ("tumour", mask, TISSUE), ("LIVER ", mask, "")]
    )
    matches = match_structures(structures_of(fixed), structures_of(moving))
    assert found(matches) == [
        ("Liver", "LIVER ", "name"), ("Kidney R", "Niere", "terminology"), ("Spleen", None, ""), (None, "tumour", "")
    ]  # fmt: skip
    by_hand = match_structures(structures_of(fixed), structures_of(moving), {"F_2": "M_1", "F_0": None})
    assert found(by_hand) == [
        ("Liver", None, ""), ("Kidney R", "Niere", "terminology"), ("Spleen", "tumour", "hand"), (None, "LIVER ", "")
    ]  # fmt: skip


def test_a_name_that_occurs_twice_is_not_guessed(scene: Any, geometries: Any, new_image: Any) -> None:
    mask = box(new_image(geometries["lps"]), 0.1, 0.5)
    fixed = segmentation(scene, "F", [("cyst", mask, ""), ("Cyst", mask, "")])
    moving = segmentation(scene, "M", [("cyst", mask, "")])
    assert found(match_structures(structures_of(fixed), structures_of(moving))) == [
        ("cyst", None, ""), ("Cyst", None, ""), (None, "cyst", "")
    ]  # fmt: skip


def test_label_maps_match_by_value_or_by_the_names_of_their_colours(scene: Any, geometry: Any, new_image: Any) -> None:
    reference = new_image(geometry)
    labels = sitk.Cast(box(reference, 0.1, 0.4) * 2 + box(reference, 0.5, 0.9) * 5, sitk.sitkInt16)
    node = volume_node_from_image(labels, "labels", scene, labels=True)
    plain = structures_of(node)
    assert [(s.name, s.value) for s in plain] == [("Label 2", 2), ("Label 5", 5)]
    segments = segmentation(scene, "S", [("one", box(reference, 0.1, 0.4), ""), ("two", box(reference, 0.5, 0.9), "")])
    segments.GetSegmentation().GetNthSegment(1).SetLabelValue(5)
    data = segments.GetSegmentation().GetNthSegment(1).GetRepresentation("Binary labelmap")
    for index in range(data.GetNumberOfPoints()):
        data.GetPointData().GetScalars().SetTuple1(index, 5 * data.GetPointData().GetScalars().GetTuple1(index))
    assert found(match_structures(structures_of(segments), plain)) == [
        ("one", None, ""), ("two", "Label 5", "label value"), (None, "Label 2", "")
    ]  # fmt: skip
    colours = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "organs")
    colours.SetTypeToUser()
    colours.SetNumberOfColors(6)
    colours.SetColor(2, "ONE", 1, 0, 0)
    colours.SetColor(5, "two", 0, 1, 0)
    node.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
    assert [m.by for m in match_structures(structures_of(segments), structures_of(node))] == ["name", "name"]


def test_a_structure_of_one_side_alone_counts_nowhere(scene: Any, geometries: Any, new_image: Any) -> None:
    reference = new_image(geometries["lps"])
    organ, other = box(reference, 0.2, 0.6), box(reference, 0.6, 0.9)
    fixed = segmentation(scene, "F", [("organ", organ, "")])
    moving = segmentation(scene, "M", [("organ", organ, ""), ("tumour", other, "")])
    figures = compare_nodes(fixed, moving, IDENTITY, reference)
    assert [entry["after"]["dice"] for entry in figures["labels"].values()] == [1.0, None]
    assert figures["mean"]["after"]["dice"] == 1.0 and figures["mean"]["after"]["labels"] == 1


def test_figures_agree_with_label_metrics(scene: Any, geometry: Any, new_image: Any) -> None:
    """A segmentation against a label map, moved by a known shift; the structure that fills more is overlapped."""
    reference = new_image(geometry)
    organ, vessel = box(reference, 0.2, 0.7), box(reference, 0.4, 0.5)
    moved = box(reference, 0.3, 0.8)
    fixed = segmentation(scene, "F", [("organ", organ, ""), ("vessel", vessel, "")])
    moving = segmentation(scene, "M", [("organ", moved, ""), ("vessel", vessel, "")])
    step = reference.GetSpacing()[0] * int(0.1 * reference.GetSize()[0] + 1e-9)
    direction = np.reshape(reference.GetDirection(), (3, 3))[:, 0]
    back = sitk.TranslationTransform(3, (direction * step).tolist())
    comparison = compare_nodes(fixed, moving, back, reference)
    assert list(comparison["labels"]) == ["1", "2"]
    first, second = comparison["labels"].values()
    assert first["name"] == "organ" and first["matched_by"] == "name"
    assert first["before"] == pytest.approx(label_metrics(organ, moved)[1])
    after = sitk.Resample(moved, reference, back, sitk.sitkNearestNeighbor)
    assert first["after"] == pytest.approx(label_metrics(organ, after)[1])
    assert second["before"]["dice"] == 1.0  # whole, although the organ lies over it
    assert comparison["mean"]["before"]["labels"] == 2


def test_segments_that_touch_share_a_label_image_or_lie_partly_outside(
    scene: Any, geometry: Any, new_image: Any
) -> None:
    """Each is compared by itself, and only inside the fixed image, whatever it touches and however it is stored."""
    reference = new_image(geometry)
    left, right, end = box(reference, 0.1, 0.4), box(reference, 0.4, 0.7), box(reference, 0.8, 1.0)
    moved = box(reference, 0.2, 0.4), box(reference, 0.4, 0.9), box(reference, 0.7, 1.0)
    fixed = segmentation(scene, "F", [("left", left, ""), ("right", right, ""), ("end", end, "")])
    # the last one goes on for ten voxels beyond the fixed image
    longer = sitk.ConstantPad(moved[2], [0, 0, 0], [10, 0, 0], 1)
    moving = segmentation(scene, "M", [("end", longer, "")])
    shared = vtk_from_image(moved[0] + 2 * moved[1], slicer.vtkOrientedImageData())
    shared.SetGeometryFromImageToWorldMatrix(vtk_ijk_to_ras(reference))
    for value, name in ((1, "left"), (2, "right")):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetLabelValue(value)
        segment.AddRepresentation("Binary labelmap", shared)
        moving.GetSegmentation().AddSegment(segment, name)
    comparison = compare_nodes(fixed, moving, IDENTITY, reference)
    entries = {entry["name"]: entry for entry in comparison["labels"].values()}
    assert set(entries) == {"left", "right", "end"}
    for name, mask, other in zip(("left", "right", "end"), (left, right, end), moved, strict=True):
        expected = label_metrics(mask, other)[1]
        assert 0 < expected["dice"] < 1 and expected["asd_mm"] > 0
        before, after = entries[name]["before"], entries[name]["after"]
        assert after == pytest.approx(expected)
        whole = longer if name == "end" else other
        voxels = np.count_nonzero(sitk.GetArrayViewFromImage(whole))
        assert before == pytest.approx(expected | {"moving_volume_ml": voxels * np.prod(whole.GetSpacing()) / 1000})
    table = table_node_from_comparison(comparison, "Overlap", scene).GetTable()
    assert table.GetNumberOfRows() == 4 and not np.isnan(table.GetColumnByName("ASD after (mm)").GetValue(3))


def test_earlier_result_above_the_moving_node_does_not_count_twice(
    scene: Any, geometries: Any, new_image: Any, new_linear: Any
) -> None:
    from GradientGuidedRegistrationLib.mrml.geometry import RESULT_ATTRIBUTE

    reference = new_image(geometries["lps"])
    mask = box(reference, 0.2, 0.7)
    fixed, moving = (segmentation(scene, name, [("organ", mask, "")]) for name in "FM")
    matrix = np.eye(4)
    matrix[0, 3] = 6.0
    result = new_linear(matrix)
    result.SetAttribute(RESULT_ATTRIBUTE, "1")
    moving.SetAndObserveTransformNodeID(result.GetID())
    assert compare_nodes(fixed, moving, IDENTITY, reference)["mean"]["before"]["dice"] == 1.0
    seen = compare_nodes(fixed, moving, IDENTITY, reference, before_registration=False)
    assert seen["mean"]["before"]["dice"] < 1.0
    moving.SetAndObserveTransformNodeID(None)
    fixed.SetAndObserveTransformNodeID(result.GetID())  # as a fixed node is under the inverse
    assert compare_nodes(fixed, moving, IDENTITY, reference)["mean"]["before"]["dice"] == 1.0
    assert compare_matches_of(fixed, moving, reference) == 1.0


def compare_matches_of(fixed: Any, moving: Any, reference: sitk.Image) -> float:
    """Dice before, by way of the panel's pairing."""
    figures = compare_nodes(fixed, moving, IDENTITY, reference, Pairing(fixed, moving).matches)
    return figures["mean"]["before"]["dice"]


@pytest.fixture
def comparison(scene: Any, geometries: Any, new_image: Any) -> dict[str, Any]:
    reference = new_image(geometries["lps"])
    empty = reference * 0
    empty = sitk.Cast(empty, sitk.sitkUInt8)
    fixed = segmentation(scene, "F", [("a, b", box(reference, 0.2, 0.7), ""), ("lost", box(reference, 0.1, 0.3), ""),
                                      ("empty", empty, "")])  # fmt: skip
    moving = segmentation(scene, "M", [("a, b", box(reference, 0.3, 0.8), ""), ("empty", empty, "")])
    return compare_nodes(fixed, moving, IDENTITY, reference)


def test_table_node(scene: Any, comparison: Any) -> None:
    node = table_node_from_comparison(comparison, "Overlap", scene)
    table = node.GetTable()
    assert node.GetNumberOfRows() == 4 and node.GetNumberOfColumns() == 11
    names = [node.GetCellText(row, 0) for row in range(4)]
    assert names == ["a, b", "lost", "empty", "Mean"]
    column = table.GetColumnByName("Dice before")
    entries = list(comparison["labels"].values())
    assert column.GetValue(0) == pytest.approx(entries[0]["before"]["dice"])
    assert np.isnan(column.GetValue(1)) and np.isnan(column.GetValue(2))
    assert np.isnan(table.GetColumnByName("ASD after (mm)").GetValue(1))
    assert column.GetValue(3) == pytest.approx(comparison["mean"]["before"]["dice"])


def test_plot_nodes(scene: Any, comparison: Any) -> None:
    table = table_node_from_comparison(comparison, "Overlap", scene)
    chart = plot_nodes_from_table(table, "asd_mm", scene)
    assert chart.GetNumberOfPlotSeriesNodes() == 2 and "ASD" in chart.GetTitle()
    low, high = chart.GetXAxisRange()
    assert -1 < low < -0.5 and 3.5 < high < 4  # four groups of bars, at 0 to 3
    low, high = plot_nodes_from_table(table, "dice", scene).GetYAxisRange()
    assert low == 0.0 and 1.1 < high < 1.2  # room for the legend, and no Dice of 1.2 on the axis
    for index, column in enumerate(("ASD before (mm)", "ASD after (mm)")):
        series = chart.GetNthPlotSeriesNode(index)
        assert series.GetTableNode() is table and series.GetYColumnName() == column
        assert table.GetTable().GetColumnByName(series.GetYColumnName()) is not None
        assert table.GetTable().GetColumnByName(series.GetLabelColumnName()) is not None


def test_csv(comparison: Any, tmp_path: Any) -> None:
    path = export_csv(comparison, tmp_path / "überlappung.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("label,name,dice_before") and lines[1].startswith('1,"a, b",') and len(lines) == 5
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    with pytest.raises(InputError, match="cannot be written"):
        export_csv(comparison, tmp_path / "missing" / "x.csv")


def test_nothing_to_compare(scene: Any, geometries: Any, new_image: Any) -> None:
    reference = new_image(geometries["lps"])
    with pytest.raises(InputError, match="No segmentation"):
        compare_nodes(None, None, IDENTITY, reference)
    empty = volume_node_from_image(sitk.Cast(reference * 0, sitk.sitkUInt8), "e", scene, labels=True)
    with pytest.raises(InputError, match="nothing to compare"):
        compare_nodes(empty, empty, IDENTITY, reference)
    with pytest.raises(InputError, match="fractions"):
        structures_of(volume_node_from_image(reference + 0.5, "f", scene))


def test_landmarks(scene: Any) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5, 3)) * 30
    moving = markups_from_points(points + [3.0, 0, 4.0], "moving", scene)
    fixed = markups_from_points(points, "fixed", scene, ["a", "b", "c", "d", "e"])
    shift = sitk.TranslationTransform(3, (3.0, 0.0, 3.0))
    node, errors = landmark_table_node(fixed, moving, shift, "TRE", scene)
    assert np.allclose(errors, [[5.0, 1.0]] * 5)
    assert [node.GetCellText(row, 0) for row in range(6)] == ["a", "b", "c", "d", "e", "Mean"]
    assert node.GetTable().GetColumn(2).GetValue(5) == pytest.approx(1.0)
    result = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    result.SetAttribute(RESULT_ATTRIBUTE, "1")
    shifted = vtk.vtkMatrix4x4()
    shifted.SetElement(0, 3, 25.0)
    result.SetMatrixTransformToParent(shifted)
    moving.SetAndObserveTransformNodeID(result.GetID())  # as after «Apply to…»
    assert np.allclose(landmark_table_node(fixed, moving, shift, "TRE", scene)[1], errors)
    inverse = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    inverse.SetAttribute(RESULT_ATTRIBUTE, "1")
    inverse.SetMatrixTransformToParent(shifted)
    fixed.SetAndObserveTransformNodeID(inverse.GetID())
    assert np.allclose(landmark_table_node(fixed, moving, shift, "TRE", scene)[1], errors)
    moving.RemoveNthControlPoint(0)
    with pytest.raises(InputError, match="5 landmarks and the moving one 4"):
        landmark_table_node(fixed, moving, shift, "TRE", scene)


def test_landmarks_that_are_skipped_in_one_list(scene: Any) -> None:
    points = np.arange(12.0).reshape(4, 3) ** 2
    fixed = markups_from_points(points, "fixed", scene, ["a", "b", "c", "d"])
    moving = markups_from_points(points + [3.0, 0, 0], "moving", scene)
    identity = sitk.Transform(3, sitk.sitkIdentity)
    fixed.UnsetNthControlPointPosition(1)
    moving.UnsetNthControlPointPosition(2)
    node, errors = landmark_table_node(fixed, moving, identity, "TRE", scene)
    assert np.allclose(errors, 3.0) and [node.GetCellText(row, 0) for row in range(3)] == ["a", "d", "Mean"]
    moving.RemoveNthControlPoint(0)  # which belongs to which is not clear any more
    with pytest.raises(InputError, match="4 landmarks and the moving one 3"):
        landmark_table_node(fixed, moving, identity, "TRE", scene)
    moving.RemoveAllControlPoints()
    with pytest.raises(InputError, match="0 of them placed"):
        landmark_table_node(fixed, moving, identity, "TRE", scene)
