"""«Check the result», driven by its widgets over a result that was made without registering."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib import mrml
from GradientGuidedRegistrationLib.registration.result import Result
from GradientGuidedRegistrationLib.registration.settings import Settings

SHIFT_MM = 3.0


def ball(centre: float, values: tuple[float, float], pixel: int) -> sitk.Image:
    """A ball of 7 mm radius in a cube of 30 voxels of 1 mm, `centre` along the first axis."""
    k, j, i = np.indices((30, 30, 30)) - 15.0
    inside = (i - centre) ** 2 + j**2 + k**2 < 49
    return sitk.Cast(sitk.GetImageFromArray(np.where(inside, values[1], values[0])), pixel)


def field() -> sitk.Image:
    vectors = np.zeros((30, 30, 30, 3), np.float32)
    vectors[2:-2, 2:-2, 2:-2, 0] = SHIFT_MM
    return sitk.GetImageFromArray(vectors, isVector=True)


@pytest.fixture
def views(new_slice_view: Any) -> Any:
    """One slice view, showing nothing."""
    return new_slice_view("Red")


@pytest.fixture
def volumes(scene: Any) -> SimpleNamespace:
    """An MR and a CT of a ball that has moved by 3 mm, with label maps."""
    noise = sitk.AdditiveGaussianNoise
    return SimpleNamespace(
        mr=mrml.volume_node_from_image(noise(ball(0, (20, 200), sitk.sitkFloat32), 1.0), "MR", scene),
        ct=mrml.volume_node_from_image(noise(ball(SHIFT_MM, (-90, 60), sitk.sitkFloat32), 1.0), "CT", scene),
        mr_labels=mrml.volume_node_from_image(ball(0, (0, 1), sitk.sitkUInt8), "MR organs", scene, labels=True),
        ct_labels=mrml.volume_node_from_image(ball(SHIFT_MM, (0, 1), sitk.sitkUInt8), "CT organs", scene, labels=True),
    )


@pytest.fixture
def show(panel: Any, scene: Any, views: Any, volumes: SimpleNamespace) -> Any:
    """`show(quality=..., **fields of the result)` puts a result into the scene and into the panel."""

    def shown(quality: dict[str, Any] | None = None, **fields: Any) -> Any:
        quality = quality or {"folding_percent": 0.0, "displacement_mm": {"mean": 3.0, "max": 3.0}}
        result = Result(field(), sitk.Transform(3, sitk.sitkIdentity), Settings(), quality=quality)
        for name, value in fields.items():
            result.__dict__[name] = value
        nodes = panel.logic.addResultToScene(result, volumes.mr, volumes.ct)
        panel.resultSection.show(nodes, volumes.mr, volumes.ct)
        return nodes

    return shown


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def count(scene: Any, class_name: str) -> int:
    return scene.GetNumberOfNodesByClass(class_name)


# --- verdict


@pytest.mark.parametrize(("verdict", "words"), [("good", "Good"), ("check", "Check before use"), ("poor", "Poor")])
def test_verdict_stands_on_top_with_its_reasons(panel: Any, show: Any, verdict: str, words: str) -> None:
    show({"verdict": verdict, "reasons": ["The edges of bone & air disagree.", "Half of the CT is outside."]})
    text = panel.ui.verdictLabel.text
    assert words in text and "bone &amp; air" in text and text.count("<li>") == 2
    assert not panel.ui.verdictFrame.isHidden()
    assert not panel.ui.checkCollapsibleButton.collapsed


def test_without_a_verdict_nothing_is_said(panel: Any, show: Any) -> None:
    assert panel.ui.verdictFrame.isHidden()
    assert panel.ui.resultLabel.text == "No registration yet."
    show()
    assert panel.ui.verdictFrame.isHidden()
    assert "3.0 mm on average" in panel.ui.resultLabel.text


# --- looking


def test_nothing_can_be_looked_at_before_a_registration(panel: Any) -> None:
    for button in (panel.ui.fadeButton, panel.ui.gradientAfterButton, panel.ui.jacobianButton, panel.ui.trustButton,
                   panel.ui.gridButton, panel.ui.threeUpButton, panel.ui.compareButton, panel.ui.outlinesButton,
                   panel.ui.reportButton, panel.ui.landmarksButton):  # fmt: skip
        assert not button.enabled, button.objectName


@pytest.mark.parametrize(
    ("button", "name"),
    [
        ("gradientFixedButton", "MR gradient map"),
        ("gradientBeforeButton", "CT gradient map, before"),
        ("gradientAfterButton", "CT gradient map, after"),
        ("jacobianButton", "Jacobian determinant"),
    ],
)
def test_a_map_is_one_click_and_its_opacity_the_slider(
    panel: Any, show: Any, scene: Any, views: Any, volumes: Any, button: str, name: str
) -> None:
    show()
    getattr(panel.ui, button).click()
    node = scene.GetNodeByID(views.GetForegroundVolumeID())
    assert node.GetName() == name
    assert views.GetBackgroundVolumeID() == volumes.mr.GetID()
    assert views.GetForegroundOpacity() == pytest.approx(0.6)
    assert getattr(panel.ui, button).checked and panel.ui.legendLabel.text
    panel.ui.viewSlider.value = 25
    assert views.GetForegroundOpacity() == pytest.approx(0.25)
    getattr(panel.ui, button).click()  # once more: back to the overlay
    assert panel.ui.fadeButton.checked and not getattr(panel.ui, button).checked
    assert "CT on MR" in scene.GetNodeByID(views.GetForegroundVolumeID()).GetName()


def test_images_side_by_side(panel: Any, show: Any, scene: Any, views: Any) -> None:
    show()
    panel.ui.checkerboardButton.click()
    assert scene.GetNodeByID(views.GetBackgroundVolumeID()).GetName() == "MR checkerboard"
    volumes = count(scene, "vtkMRMLScalarVolumeNode")
    panel.ui.viewSlider.value = 0
    assert count(scene, "vtkMRMLScalarVolumeNode") == volumes, "a board of another size takes the place of the last"
    panel.ui.splitButton.click()
    assert not panel.ui.splitAxisComboBox.isHidden() and not panel.ui.checkerboardButton.checked
    first = scene.GetNodeByID(views.GetBackgroundVolumeID())
    left = sitk.GetArrayFromImage(mrml.image_from_node(first))
    panel.ui.splitAxisComboBox.currentIndex = 2
    other = sitk.GetArrayFromImage(mrml.image_from_node(scene.GetNodeByID(views.GetBackgroundVolumeID())))
    assert not np.array_equal(left, other)


def test_flicker_swaps_by_itself_and_stands_still_when_the_panel_is_left(
    panel: Any, show: Any, views: Any, wait: Any
) -> None:
    show()
    panel.ui.flickerButton.click()
    shown = views.GetForegroundOpacity()
    wait(lambda: views.GetForegroundOpacity() != shown, 5)
    panel.exit()
    assert not panel.ui.flickerButton.checked and not panel.resultSection._views._timer.isActive()


def test_trust_map_where_the_result_has_one(panel: Any, show: Any, scene: Any, views: Any) -> None:
    show()
    assert not panel.ui.trustButton.enabled and "without an estimate" in panel.ui.trustButton.toolTip
    show(expected_error=ball(0, (0.5, 4.0), sitk.sitkFloat32))
    assert panel.ui.trustButton.enabled
    panel.ui.trustButton.click()
    assert scene.GetNodeByID(views.GetForegroundVolumeID()).GetName() == "Expected error"
    assert "mm" in panel.ui.legendLabel.text


def test_deformation_grid_or_arrows(panel: Any, show: Any, scene: Any) -> None:
    show()
    panel.ui.gridButton.click()
    display = scene.GetFirstNodeByClass("vtkMRMLTransformDisplayNode")
    assert display.GetVisualizationMode() == display.VIS_MODE_GRID and display.GetVisibility2D()
    panel.ui.glyphsButton.click()
    assert not panel.ui.gridButton.checked and display.GetVisualizationMode() == display.VIS_MODE_GLYPH
    panel.ui.glyphsButton.click()
    assert not display.GetVisibility2D()


def test_back_to_my_views_leaves_no_trace(panel: Any, show: Any, scene: Any, views: Any, volumes: Any) -> None:
    show()
    views.SetBackgroundVolumeID(volumes.ct.GetID())
    before = node_ids(scene)
    for button in ("jacobianButton", "gradientBeforeButton", "gridButton", "outlinesButton", "splitButton"):
        getattr(panel.ui, button).click()
    panel.ui.restoreViewsButton.click()
    assert views.GetBackgroundVolumeID() == volumes.ct.GetID() and not views.GetForegroundVolumeID()
    new = [scene.GetNodeByID(node_id) for node_id in sorted(node_ids(scene) - before)]
    assert {node.GetClassName() for node in new} <= {"vtkMRMLColorTableNode"}, "colour tables stay, once a scene"
    assert not any(getattr(panel.ui, f"{name}Button").checked for name in ("jacobian", "grid", "outlines", "split"))


def test_a_volume_that_is_gone_is_not_looked_at(panel: Any, show: Any, scene: Any, volumes: Any) -> None:
    show()
    scene.RemoveNode(volumes.ct)
    assert not panel.ui.fadeButton.enabled and not panel.ui.reportButton.enabled


def test_a_volume_that_is_moved_during_the_run_is_told(panel: Any, scene: Any, volumes: Any, wait: Any) -> None:
    from GradientGuidedRegistrationLib.panel.choices import Model, Quality

    parameters = panel._parameterNode
    parameters.fixedVolume, parameters.movingVolume = volumes.mr, volumes.ct
    parameters.model, parameters.quality = Model.NONE, Quality.FAST
    panel.ui.registerButton.click()
    before = node_ids(scene)
    volumes.ct.SetOrigin(0.0, 0.0, 1.0)
    wait(lambda: not panel.runner.running)
    assert "'CT' was changed or moved while" in panel.ui.errorLabel.text and node_ids(scene) == before


def test_a_volume_that_was_hardened_is_not_deformed_again(
    panel: Any, show: Any, scene: Any, volumes: Any, views: Any, tmp_path: Path
) -> None:
    ui = panel.ui
    show()
    shown = panel.resultSection._shown
    volumes.ct.HardenTransform()
    ui.fadeButton.click()  # not known yet: refused when it is pressed
    assert "'CT' was changed or moved since" in ui.legendLabel.text and not views.GetForegroundVolumeID()
    panel.runner.report(shown, tmp_path, (None, None))
    assert "'CT' was changed or moved since" in ui.errorLabel.text and panel.runner.queue.current is None
    panel.exit()
    panel.enter()
    for button in (ui.fadeButton, ui.compareButton, ui.reportButton, ui.registeredCheckBox):
        assert not button.enabled, button.objectName
    for button in (ui.compareButton, ui.reportButton, ui.landmarksButton, ui.registeredCheckBox):
        assert "register again" in button.toolTip
    show()
    assert ui.fadeButton.enabled and ui.registeredCheckBox.checked and "Untick" in ui.registeredCheckBox.toolTip


# --- structures


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
    assert table.rowCount == 3 and table.item(0, 2).text() == "0.000 → 0.000"
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


# --- several results, report


def test_every_result_since_the_scene_was_opened_can_be_chosen(panel: Any, show: Any, scene: Any, views: Any) -> None:
    show({"verdict": "good"})
    assert panel.ui.resultComboBox.isHidden()
    panel.ui.jacobianButton.click()
    show({"verdict": "poor"})
    assert not panel.ui.resultComboBox.isHidden() and "Poor" in panel.ui.verdictLabel.text
    assert not panel.ui.jacobianButton.checked and not views.GetForegroundVolumeID()
    panel.ui.resultComboBox.currentIndex = 0
    assert "Good" in panel.ui.verdictLabel.text
    scene.Clear(0)
    assert panel.ui.resultLabel.text == "No registration yet." and panel.ui.resultComboBox.isHidden()


def test_report_is_written_in_the_background(
    panel: Any, show: Any, wait: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = show({"verdict": "check", "reasons": ["It is made of a ball."]})
    panel.ui.reportButton.click()  # and thought better of it
    assert panel.runner.queue.current is None
    qt = __import__("sys").modules["qt"]
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", staticmethod(lambda *_: str(tmp_path)))
    panel.ui.reportButton.click()
    assert panel.runner.queue.current.task == "report"
    wait(lambda: panel.runner.queue.current is None)
    report = tmp_path / nodes.transform.GetName() / "report.html"
    assert report.is_file(), panel.ui.errorLabel.text
    text = report.read_text(encoding="utf-8")
    assert "It is made of a ball." in text and "Label 1" in text and nodes.transform.GetName() in text
    assert report.as_uri() in panel.ui.reportLabel.text and not panel.ui.reportLabel.isHidden()


def test_a_report_that_cannot_be_written_is_told(
    panel: Any, show: Any, wait: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show()
    (tmp_path / "file").touch()
    qt = __import__("sys").modules["qt"]
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", staticmethod(lambda *_: str(tmp_path / "file")))
    panel.ui.reportButton.click()
    wait(lambda: panel.runner.queue.current is None)
    assert "file" in panel.ui.errorLabel.text and panel.ui.reportLabel.isHidden()
