"""The wiring of the panel: the real Widget over the real .ui file, the real background process; Qt by a stand-in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from panel.volumes import volume

from GradientGuidedRegistrationLib import mrml

# --- what can be pressed, and why not


def test_button_says_what_is_missing(panel: Any, scene: Any) -> None:
    from GradientGuidedRegistrationLib.panel.choices import Model, Quality

    button, parameters = panel.ui.registerButton, panel._parameterNode
    assert not button.enabled
    assert "Choose the fixed volume (MR) and the moving volume" in button.toolTip
    assert panel.ui.missingLabel.text == button.toolTip
    mr, ct = volume(scene, "MR"), volume(scene, "CT", seed=2)
    panel.ui.fixedSelector.setCurrentNode(mr)
    assert parameters.fixedVolume is mr
    assert "Choose the moving volume (CT)" in button.toolTip
    panel.ui.movingSelector.setCurrentNode(mr)
    assert "same volume" in button.toolTip
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    panel.ui.movingSelector.setCurrentNode(empty)
    assert "The moving volume has no voxels" in button.toolTip
    panel.ui.movingSelector.setCurrentNode(volume(scene, "small", size=15))
    assert "The moving volume has fewer than 16 voxels along an axis" in button.toolTip
    panel.ui.movingSelector.setCurrentNode(ct)
    assert button.enabled
    assert panel.ui.missingLabel.text == ""
    assert "Working grid 25 × 25 × 25 at 0.8 mm" in panel.ui.memoryLabel.text
    parameters.quality = type(parameters.quality).OFF
    assert "Working grid 20 × 20 × 20 at 1.0 mm" in panel.ui.memoryLabel.text
    panel.ui.weightsPathEdit.currentPath = "/no/such/file.pt"
    assert "weights file does not exist" in button.toolTip
    quality, parameters.quality, parameters.model = parameters.quality, Quality.FAST, Model.NONE
    assert button.enabled, "no model, no weights"
    parameters.quality, parameters.model = quality, Model.GATED
    panel.ui.weightsPathEdit.currentPath = ""
    assert button.enabled
    parameters.warpedVolume = mr
    assert "would overwrite an input" in button.toolTip
    parameters.createWarped = False
    assert button.enabled
    parameters.inverseTransform = parameters.initialTransform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    assert "inverse would overwrite the initial transform" in button.toolTip
    parameters.createInverse = False
    assert button.enabled


def test_without_torch_the_panel_explains_itself(panel: Any, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(panel.setupSection), "torch_version", None)
    panel.ui.checkAgainButton.click()
    panel._parameterNode.fixedVolume, panel._parameterNode.movingVolume = volume(scene, "a"), volume(scene, "b")
    assert not panel.ui.registerButton.enabled
    assert "PyTorch is not installed" in panel.ui.registerButton.toolTip
    assert panel.ui.noticeLabel.text
    panel.ui.installButton.click()  # no extension here: told, not raised
    assert "Extensions Manager" in panel.ui.noticeLabel.text
    assert not panel.ui.setupCollapsibleButton.collapsed


def test_install_goes_through_the_extension_and_tells_its_error(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    asked: dict[str, Any] = {}

    def install(**options: Any) -> None:
        asked.update(options)
        raise RuntimeError("no route to host")

    logic = SimpleNamespace(installTorch=install)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=lambda: logic))
    panel.ui.installButton.click()
    assert asked["askConfirmation"]
    assert "no route to host" in panel.ui.noticeLabel.text


def test_probe_fills_in_the_devices(panel: Any, scene: Any, wait: Any) -> None:
    scene.Clear(0)  # which has nothing to do with it
    wait(lambda: panel.setupSection.devices)
    assert "CPU" in panel.ui.devicesLabel.text
    assert panel.setupSection.free_memory()["cpu"] > 0


def test_two_volumes_fill_themselves_in(panel: Any, scene: Any) -> None:
    ct, mr = volume(scene, "Thorax CT"), volume(scene, "t2_haste")
    panel.exit()
    panel.enter()
    assert (panel._parameterNode.fixedVolume, panel._parameterNode.movingVolume) == (mr, ct)
    parameters = panel._parameterNode
    parameters.initialTransform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    parameters.movingSegmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    parameters.transform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    parameters.inverseTransform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    parameters.warpedVolume = volume(scene, "CT on MR")
    panel.ui.swapButton.click()
    assert (panel.ui.fixedSelector.currentNode(), panel.ui.movingSelector.currentNode()) == (ct, mr)
    assert parameters.initialTransform is None and parameters.movingSegmentation is None
    assert (parameters.transform, parameters.inverseTransform, parameters.warpedVolume) == (None, None, None)


def test_an_alignment_alone_needs_no_network(panel: Any, scene: Any) -> None:
    """As the tutorial says of a head."""
    from GradientGuidedRegistrationLib.panel.choices import Model, Quality

    volume(scene, "Head CT"), volume(scene, "MR")
    panel.exit()
    panel.enter()
    panel._parameterNode.model, panel._parameterNode.quality = Model.NONE, Quality.OFF
    assert panel.missing() == "" and panel.ui.registerButton.enabled


def test_presets_set_the_options_and_options_make_it_custom(panel: Any) -> None:
    from GradientGuidedRegistrationLib.panel.choices import Initialization, Quality

    ui = panel.ui
    ui.presetComboBox.currentIndex = 2
    ui.presetComboBox.activated.emit(2)
    assert panel._parameterNode.initialization is Initialization.AFFINE
    assert panel._parameterNode.quality is Quality.BEST
    assert ui.qualityComboBox.currentText == "Best"
    ui.qualityComboBox.currentIndex = 0
    assert panel._parameterNode.quality is Quality.FAST
    assert ui.presetComboBox.currentText == "Custom"


def test_settings_are_those_of_the_panel(panel: Any) -> None:
    parameters = panel._parameterNode
    panel.ui.spacingSpinBox.value = 2.5
    panel.ui.createInverseCheckBox.checked = False
    panel.ui.weightsPathEdit.currentPath = "/a b/ü.pt"
    settings = panel.logic.settings(parameters)
    assert (settings.spacing, settings.inverse, settings.refine, settings.device) == (2.5, False, None, "auto")
    assert settings.weights == Path("/a b/ü.pt")
    assert settings.use_network and settings.method == "gated"  # which the weights must not contradict
    assert not panel.ui.inverseTransformSelector.enabled


def test_several_parameter_sets(panel: Any, scene: Any) -> None:
    first = panel._parameterNode.parameterNode
    panel.ui.spacingSpinBox.value = 3.0
    second = scene.AddNode(panel.logic.createParameterNode())
    panel.ui.parameterSetSelector.setCurrentNode(second)
    assert panel._parameterNode.parameterNode is second
    assert panel.ui.spacingSpinBox.value == 0.0
    panel.exit()
    panel.enter()
    assert panel._parameterNode.parameterNode is second, "the one that was shown last"
    panel.ui.parameterSetSelector.setCurrentNode(first)
    assert panel.ui.spacingSpinBox.value == 3.0
    scene.RemoveNode(first)
    assert panel._parameterNode.parameterNode is second
    scene.RemoveNode(second)
    assert panel.parameterSets() == [panel._parameterNode.parameterNode], "a new one"
    assert panel.ui.parameterSetSelector.currentNode() is panel._parameterNode.parameterNode
    panel.ui.swapButton.click()


def test_the_selector_alone_can_bring_a_parameter_set(panel: Any, scene: Any) -> None:
    panel.setParameterNode(None)
    new = scene.AddNode(panel.logic.createParameterNode())
    panel.ui.parameterSetSelector.setCurrentNode(new)
    assert panel._parameterNode.parameterNode is new


def test_try_it_loads_a_pair_and_registers_it(panel: Any, scene: Any, tmp_path: Path, wait: Any) -> None:
    own = panel._parameterNode
    own.transform = result = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "the patient's")
    panel.ui.tryButton.click()
    assert panel.runner.queue.current.task == "phantom"
    wait(lambda: panel.runner.queue.current is None or panel.runner.queue.current.task == "register")
    parameters = panel._parameterNode
    assert (parameters.fixedVolume.GetName(), parameters.movingVolume.GetName()) == ("Phantom MR", "Phantom CT")
    names = mrml.segment_names(parameters.movingSegmentation)
    assert "liver" in [name.lower() for name in names]
    assert panel.runner.queue.current.title == "Phantom CT to Phantom MR"
    assert panel.ui.parameterSetSelector.currentNode().GetName() == "Artificial patient"
    assert parameters.transform is None
    assert (own.fixedVolume, own.transform) == (None, result), "the user's set stays as it is"
    panel.runner.queue.stop()


@pytest.mark.parametrize(("shown", "with_unused"), [(True, False), (True, True), (False, False)])
def test_an_opened_scene_brings_its_parameter_set(panel: Any, scene: Any, shown: bool, with_unused: bool) -> None:
    from GradientGuidedRegistrationLib.panel.choices import Quality

    empty, parameters = panel._parameterNode.parameterNode, type(panel._parameterNode)  # made when the old scene closed
    if not shown:
        panel.exit()
    saved = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
    saved.UnRegister(None)
    saved.SetModuleName(panel.moduleName)
    saved.SetAttribute("ModuleName", panel.moduleName)
    saved.SetParameter("quality", "BEST")
    unused = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
    unused.UnRegister(None)
    unused.Copy(saved)
    if with_unused:
        scene.AddNode(unused)
    scene.AddNode(saved)
    parameters(saved).fixedVolume = volume(scene, "saved")
    scene.InvokeEvent(scene.EndImportEvent)
    assert not scene.IsNodePresent(empty)
    panel.enter()
    assert panel._parameterNode.parameterNode is saved
    assert panel._parameterNode.quality is Quality.BEST
    panel._parameterNode.fixedVolume = volume(scene, "MR")
    scene.InvokeEvent(scene.EndImportEvent)  # more data is added: what is chosen stays
    assert panel._parameterNode.parameterNode is saved


def test_a_scene_that_is_added_leaves_what_was_chosen(filled: Any, scene: Any) -> None:
    own = filled._parameterNode.parameterNode
    other = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    other.SetAttribute("ModuleName", filled.moduleName)
    scene.InvokeEvent(scene.EndImportEvent)
    assert filled._parameterNode.parameterNode is own
    assert scene.IsNodePresent(own)


def test_what_is_deleted_is_not_replaced_by_its_neighbour(filled: Any, scene: Any) -> None:
    """Another volume of the user's might be registered, or overwritten."""
    others = [volume(scene, name, seed=number) for number, name in enumerate(("PET", "warped"), start=3)]
    grids = [scene.AddNewNodeByClass("vtkMRMLGridTransformNode", name) for name in ("mine", "scratch")]
    parameters = filled._parameterNode
    parameters.warpedVolume, parameters.transform = others[1], grids[1]
    for node in (others[1], grids[1], parameters.movingVolume):
        scene.RemoveNode(node)
    assert (parameters.warpedVolume, parameters.transform, parameters.movingVolume) == (None, None, None)
    assert filled.ui.warpedVolumeSelector.currentNode() is None
    assert filled.ui.missingLabel.text == "Choose the moving volume (CT)." and not filled.ui.registerButton.enabled


def test_a_scene_that_is_added_empties_no_choice(filled: Any, scene: Any, tmp_path: Path) -> None:
    """Slicer's node selectors forget what they show while a scene is imported."""
    parameters = filled._parameterNode
    filled.onSwap()  # they would not be recognised as that
    chosen = parameters.fixedVolume, parameters.movingVolume
    parameters.spacing = 4.0
    empty = lambda *_: [  # noqa: E731
        selector.setCurrentNode(None) for selector in (filled.ui.fixedSelector, filled.ui.movingSelector)
    ]
    scene.AddObserver(scene.StartImportEvent, empty)
    path = tmp_path / "points.mrml"
    path.write_text('<MRML version="Slicer5" userTags=""><MarkupsFiducial id="F1" name="F"/></MRML>', encoding="utf-8")
    scene.SetURL(str(path))
    assert scene.Import()
    shown = filled._parameterNode
    assert shown.parameterNode is parameters.parameterNode
    assert (shown.fixedVolume, shown.movingVolume, shown.spacing) == (*chosen, 4.0)


def test_a_volume_under_a_result_is_told_before_the_click(filled: Any, scene: Any) -> None:
    parameters = filled._parameterNode
    warp = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "CT to MR")
    warp.SetAttribute("GradientGuidedRegistration.Result", "1")
    parameters.movingVolume.SetAndObserveTransformNodeID(warp.GetID())
    assert filled.ui.registerButton.enabled  # that result is left out and replaced
    filled.onSwap()
    assert "untick «Show the moving volume registered»" in filled.ui.missingLabel.text
    assert not filled.ui.registerButton.enabled
    parameters.fixedVolume.SetAndObserveTransformNodeID(None)
    assert filled.ui.registerButton.enabled and not filled.ui.missingLabel.text


def test_the_panel_leaves_its_place_to_an_empty_widget(panel: Any) -> None:
    """Slicer takes the place out of its layout without deleting it; Qt would go on with the heights in it."""
    from PySide6.QtCore import QCoreApplication, QEvent
    from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

    outer = QWidget()
    layout = QVBoxLayout(outer)
    for widget in (QLabel("help"), panel.parent, QLabel("below")):
        layout.addWidget(widget)
    panel.exit()
    assert layout.indexOf(panel.parent) == -1
    assert [layout.itemAt(n).widget().metaObject().className() for n in range(3)] == ["QLabel", "QWidget", "QLabel"]
    QCoreApplication.processEvents()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert layout.count() == 2
    panel.parent.setParent(None)


def test_the_layout_is_known_before_the_panel_is_opened(application: Any, scene: Any) -> None:
    """A scene that was saved with three views side by side would show none."""
    from GradientGuidedRegistrationLib.mrml.views import THREE_UP_LAYOUT

    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    application.prepareScene()
    assert layout.IsLayoutDescription(THREE_UP_LAYOUT)
    for kind in ("gradient", "distance", "jacobian"):  # a copy of a map is saved, its colour table is not
        table = scene.GetSingletonNode(f"GradientGuidedRegistration.{kind}", "vtkMRMLColorTableNode")
        assert table is not None and not table.GetSaveWithScene()


def test_the_views_of_an_opened_scene_come_back_without_the_panel(
    application: Any, scene: Any, volumes: Any, views: Any
) -> None:
    """`test_review.py` saves and opens one; here it is the event that counts."""
    from GradientGuidedRegistrationLib.mrml.views import ViewState

    application.prepareScene()
    views.SetBackgroundVolumeID(volumes.mr.GetID())
    ViewState.capture(scene).leave_marks(scene)
    views.SetBackgroundVolumeID(None)
    scene.InvokeEvent(scene.EndImportEvent)
    assert views.GetBackgroundVolumeID() == volumes.mr.GetID()


def test_module_reload_takes_the_library_along(filled: Any, wait: Any) -> None:
    filled.ui.registerButton.click()
    wait(lambda: filled.runner.queue._process._pid)
    from GradientGuidedRegistrationLib.worker import is_alive

    pid = filled.runner.queue._process._pid
    kept = {name: module for name, module in sys.modules.items() if name.startswith("GradientGuidedRegistrationLib")}
    try:
        filled.onReload()
        assert not [name for name in sys.modules if name.startswith("GradientGuidedRegistrationLib")]
        assert not is_alive(pid)
    finally:
        sys.modules.update(kept)
