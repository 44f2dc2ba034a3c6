"""«Check the result», driven by its widgets over a result that was made without registering."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from panel.volumes import ball, count

from GradientGuidedRegistrationLib import mrml


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


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


def test_the_views_come_back_where_nothing_can_be_looked_at_any_more(
    panel: Any, show: Any, views: Any, volumes: Any
) -> None:
    show()
    views.SetBackgroundVolumeID(volumes.mr.GetID())
    panel.ui.jacobianButton.click()
    volumes.ct.HardenTransform()
    panel.exit()
    panel.enter()
    assert not panel.ui.jacobianButton.enabled and panel.ui.restoreViewsButton.enabled
    panel.ui.restoreViewsButton.click()
    assert views.GetBackgroundVolumeID() == volumes.mr.GetID() and not views.GetForegroundVolumeID()
    assert not panel.ui.restoreViewsButton.enabled


def test_a_result_whose_transform_is_overwritten_is_no_more(panel: Any, show: Any, volumes: Any) -> None:
    """Its maps and verdict would stand beside the field of another."""
    first, second = show(), show()
    assert panel.ui.resultComboBox.count() == 2
    panel.logic.addResultToScene(second.result, volumes.mr, volumes.ct, transformNode=first.transform)
    panel.resultSection.show(first)
    assert panel.ui.resultComboBox.count() == 2 and panel.ui.resultComboBox.currentIndex == 1


def test_closing_the_scene_goes_back_to_the_users_layout(panel: Any, show: Any, scene: Any) -> None:
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.AddLayoutDescription(layout.SlicerLayoutFourUpView, '<layout type="vertical"/>')
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    show()
    panel.ui.threeUpButton.click()
    assert layout.GetViewArrangement() != layout.SlicerLayoutFourUpView
    scene.Clear(0)
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView
    assert not panel.ui.threeUpButton.checked


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


def test_volumes_made_for_looking_are_no_inputs(panel: Any, show: Any, scene: Any) -> None:
    ui = panel.ui
    hidden = ui.movingSelector.sortFilterProxyModel
    show()
    assert list(hidden().hiddenNodeIDs) == []
    before = node_ids(scene)
    ui.fadeButton.click()
    ui.checkerboardButton.click()
    made = {node for node in node_ids(scene) - before if scene.GetNodeByID(node).IsA("vtkMRMLVolumeNode")}
    assert len(made) == 2 and made <= set(hidden().hiddenNodeIDs)
    ui.restoreViewsButton.click()
    assert list(hidden().hiddenNodeIDs) == []


def test_a_fixed_volume_that_was_moved_is_told(panel: Any, show: Any, volumes: Any, views: Any) -> None:
    """Its new place would be shown, and measured, under a result of the old one."""
    ui = panel.ui
    show()
    volumes.mr.SetOrigin(0.0, 0.0, 5.0)
    ui.fadeButton.click()
    assert "'MR' was changed or moved since" in ui.legendLabel.text and not views.GetForegroundVolumeID()
    panel.exit()
    panel.enter()
    assert not ui.fadeButton.enabled and not ui.reportButton.enabled
    ui.registeredCheckBox.click()  # the undo is always there, the way back is not
    assert volumes.ct.GetParentTransformNode() is None and not ui.registeredCheckBox.enabled
    volumes.mr.SetOrigin(0.0, 0.0, 0.0)
    panel.exit()
    panel.enter()
    assert ui.fadeButton.enabled and ui.reportButton.enabled and ui.registeredCheckBox.enabled


def test_a_transform_that_was_inverted_is_no_result_any_more(panel: Any, show: Any, views: Any) -> None:
    nodes = show()
    nodes.transform.Inverse()
    panel.resultSection.update()
    for button in (panel.ui.fadeButton, panel.ui.reportButton):
        assert not button.enabled
    assert "was inverted or changed" in panel.ui.reportButton.toolTip
    panel.ui.applySelector.setCurrentNode(nodes.inverseTransform)
    assert not panel.ui.applyButton.enabled and "was inverted or changed" in panel.ui.applyButton.toolTip
    nodes.transform.Inverse()
    panel.resultSection.update()
    assert panel.ui.reportButton.enabled


def test_the_module_is_reloaded_although_a_volume_was_hardened(panel: Any, show: Any, volumes: Any) -> None:
    """The old panel takes leave with the library that it was made with; another one's errors are not its own."""
    show()
    volumes.ct.HardenTransform()
    kept = {name: module for name, module in sys.modules.items() if name.startswith("GradientGuidedRegistrationLib")}
    try:
        panel.onReload()
        panel.cleanup()  # Slicer's part of the reload
    finally:
        sys.modules.update(kept)
    assert panel._parameterNode is None and panel.resultSection._shown is None


# --- several results, report


def test_every_result_of_the_scene_can_be_chosen(panel: Any, show: Any, scene: Any, views: Any) -> None:
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


def test_results_that_the_scene_has_already_are_found(
    panel: Any, show: Any, scene: Any, volumes: Any, views: Any
) -> None:
    """Of a scene that was opened, of a script, of the panel before it was reloaded."""
    result = show({"verdict": "poor"}).result
    panel.resultSection.clear()
    assert panel.resultSection._shown is None
    scene.InvokeEvent(scene.EndImportEvent)
    assert "Poor" in panel.ui.verdictLabel.text and panel.ui.resultComboBox.isHidden()
    assert not panel.ui.trustButton.enabled and "without an estimate" in panel.ui.trustButton.toolTip
    panel.ui.jacobianButton.click()
    panel.logic.addResultToScene(result, volumes.mr, volumes.ct)
    panel.enter()
    assert panel.ui.resultComboBox.count() == 2 and panel.ui.resultComboBox.currentIndex == 0
    assert panel.ui.jacobianButton.checked, "a look goes on"
    panel.enter()
    assert panel.ui.resultComboBox.count() == 2
    panel.ui.resultComboBox.currentIndex = 1
    panel.ui.checkerboardButton.click()
    assert scene.GetNodeByID(views.GetBackgroundVolumeID()).GetName() == "MR checkerboard"


def test_a_new_result_is_what_the_views_show(
    panel: Any, show: Any, views: Any, volumes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    from GradientGuidedRegistrationLib.panel.process import Outcome
    from GradientGuidedRegistrationLib.panel.runs import Run

    result = show().result
    for button in ("jacobianButton", "gridButton", "threeUpButton"):
        getattr(panel.ui, button).click()
    monkeypatch.setattr(panel.logic, "readResult", lambda folder: result)
    monkeypatch.setattr(
        slicer.util,
        "setSliceViewerLayers",
        lambda background, foreground, **_: views.SetBackgroundVolumeID(background.GetID()),
    )
    nodes = {"fixedVolume": volumes.mr.GetID(), "movingVolume": volumes.ct.GetID()}
    options = {"createWarped": False, "registered": mrml.input_fingerprints(volumes.mr, volumes.ct)}
    panel.runner._ended(Run("register", "again", nodes, options), Outcome("finished"))
    assert views.GetBackgroundVolumeID() == volumes.mr.GetID()
    assert not any(getattr(panel.ui, f"{name}Button").checked for name in ("jacobian", "grid", "threeUp"))


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
