"""Structures, outlines, plots and landmarks of «Check the result», driven by their widgets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from panel.volumes import SHIFT_MM, ball, count

from GradientGuidedRegistrationLib import mrml


def test_structures_are_found_compared_and_corrected(
    panel: Any, show: Any, scene: Any, volumes: Any, wait: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from GradientGuidedRegistrationLib.mrml.geometry import vtk_from_image

    ui = panel.ui
    show()
    assert (ui.fixedStructuresSelector.currentNode(), ui.movingStructuresSelector.currentNode()) == (
        volumes.mr_labels, volumes.ct_labels)  # fmt: skip
    ui.compareButton.click()
    assert ui.compareButton.text == "Stop"
    wait(lambda: ui.compareButton.text == "Compare", 20)
    table = ui.comparisonTable
    assert table.rowCount == 2 and not table.isHidden()
    assert table.item(0, 0).text() == "Label 1" and table.cellWidget(0, 1).currentText == "Label 1"
    before, after = (float(text) for text in table.item(0, 2).text().split(" → "))
    assert before < 0.8 and after > 0.97
    assert "surface distance" in ui.comparisonLabel.text
    assert count(scene, "vtkMRMLTableNode") == 1 and count(scene, "vtkMRMLPlotChartNode") == 3

    ui.copyButton.click()
    import slicer

    copied = [line.split("\t") for line in slicer.app.clipboard().text().splitlines()]
    assert copied[0][:3] == ["name", "dice_before", "dice_after"] and float(copied[1][2]) > 0.97
    qt = __import__("sys").modules["qt"]
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", staticmethod(lambda *_: str(tmp_path / "table.csv")))
    ui.exportButton.click()
    assert (tmp_path / "table.csv").read_text().splitlines()[1].startswith("1,Label 1,0.")
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", staticmethod(lambda *_: str(tmp_path / "no" / "table.csv")))
    ui.exportButton.click()
    assert "cannot be written" in ui.comparisonLabel.text

    table.cellWidget(0, 1).currentIndex = 0  # it has no partner
    assert "compare again" in ui.comparisonLabel.text and not ui.plotButton.enabled
    ui.compareButton.click()
    wait(lambda: ui.compareButton.text == "Compare", 20)
    assert table.rowCount == 3 and table.item(0, 2).text() == "– → –"
    assert table.item(1, 0).text() == "–" and table.item(1, 1).text() == "Label 1"

    # the label map of the MR is edited: measured anew, what was chosen by hand stays
    volumes.mr_labels.SetAndObserveImageData(vtk_from_image(ball(0, (0, 2), sitk.sitkUInt8) + ball(9, (0, 1), 1)))
    ui.compareButton.click()
    wait(lambda: ui.compareButton.text == "Compare", 20)
    names = [table.item(row, 0).text() for row in range(table.rowCount)]
    assert names[:2] == ["Label 1", "Label 2"] and "3" in names[2]
    assert table.cellWidget(0, 1).currentText == "none"


def test_outlines_come_and_go(panel: Any, show: Any, scene: Any) -> None:
    show()
    panel.ui.outlinesButton.click()
    assert count(scene, "vtkMRMLSegmentationNode") == 2
    panel.ui.outlinesButton.click()
    assert count(scene, "vtkMRMLSegmentationNode") == 0


def test_segmentations_that_are_empty_are_told(panel: Any, show: Any, scene: Any) -> None:
    show()
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    panel.ui.movingStructuresSelector.setCurrentNode(empty)
    panel.ui.compareButton.click()
    assert "has no segments" in panel.ui.comparisonLabel.text and panel.ui.compareButton.text == "Compare"


def test_plot_shows_the_chosen_figure(panel: Any, show: Any, wait: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    shown: list[Any] = []
    plots = SimpleNamespace(logic=lambda: SimpleNamespace(ShowChartInLayout=shown.append))
    monkeypatch.setattr(slicer, "modules", SimpleNamespace(plots=plots))
    show()
    panel.ui.compareButton.click()
    wait(lambda: panel.ui.plotButton.enabled, 20)
    panel.ui.plotComboBox.currentIndex = 1
    panel.ui.plotButton.click()
    assert [chart.GetTitle() for chart in shown] == ["ASD (mm)"]


# --- landmarks


def test_landmarks_where_there_are_point_lists(panel: Any, show: Any, scene: Any) -> None:
    ui = panel.ui
    show()
    assert ui.landmarksGroupBox.isHidden()
    points = np.array([[10.0, 12.0, 14.0], [16.0, 15.0, 9.0]])
    fixed = mrml.markups_from_points(points, "MR points", scene)
    moving = mrml.markups_from_points(points + [SHIFT_MM, 0, 0], "CT points", scene)
    assert not ui.landmarksGroupBox.isHidden() and not ui.landmarksButton.enabled
    ui.fixedPointsSelector.setCurrentNode(fixed)
    ui.movingPointsSelector.setCurrentNode(fixed)
    assert "two different" in ui.landmarksButton.toolTip
    ui.movingPointsSelector.setCurrentNode(moving)
    ui.landmarksButton.click()
    assert "2 landmarks: 3.0 mm before, 0.0 mm after" in ui.landmarksLabel.text
    moving.UnsetNthControlPointPosition(0)
    ui.landmarksButton.click()
    assert "1 landmarks: 3.0 mm before" in ui.landmarksLabel.text
    assert "not placed in both lists: 1." in ui.landmarksLabel.text
    moving.RemoveNthControlPoint(0)
    ui.landmarksButton.click()
    assert "as many of each" in ui.landmarksLabel.text


def test_another_pair_brings_its_own_structures(panel: Any, show: Any, scene: Any, volumes: Any) -> None:
    """Those of one patient are not compared on another; what was chosen by hand for a pair stays for that pair."""
    chosen = (panel.ui.fixedStructuresSelector, panel.ui.movingStructuresSelector)
    nodes = show()
    chosen[0].setCurrentNode(volumes.ct_labels)
    show()
    assert chosen[0].currentNode() is volumes.ct_labels
    other = [
        mrml.volume_node_from_image(ball(shift, (0, 50), sitk.sitkFloat32), name, scene)
        for shift, name in ((1, "Second MR"), (4, "Second CT"))
    ]
    labels = mrml.volume_node_from_image(ball(1, (0, 1), sitk.sitkUInt8), "Second MR organs", scene, labels=True)
    panel.resultSection.show(panel.logic.addResultToScene(nodes.result, *other))
    assert (chosen[0].currentNode(), chosen[1].currentNode()) == (labels, None)
