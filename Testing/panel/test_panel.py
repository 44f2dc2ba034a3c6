"""The wiring of the panel: the real Widget over the real .ui file, the real background process; Qt by a stand-in."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib import mrml


def volume(scene: Any, name: str, size: int = 20, seed: int = 1) -> Any:
    k, j, i = np.indices((size, size, size)) - size / 2 + seed
    values = 100.0 * (i**2 / 2 + j**2 + k**2 < (size / 4) ** 2) + np.random.default_rng(seed).normal(size=i.shape)
    image = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(values.astype(np.float32)), 1.0)
    image.SetOrigin((5.0, -7.0, 11.0))
    return mrml.volume_node_from_image(image, name, scene)


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def job_folders() -> list[Path]:
    """The folders with the images of a registration."""
    import slicer

    return list(Path(slicer.app.temporaryPath).glob("registration-*/input"))


@pytest.fixture
def filled(panel: Any, scene: Any) -> Any:
    """The panel with an MR, a CT and the fastest settings."""
    from GradientGuidedRegistrationLib.panel.choices import Model, Quality

    parameters = panel._parameterNode
    parameters.fixedVolume, parameters.movingVolume = volume(scene, "MR"), volume(scene, "CT", seed=2)
    parameters.model, parameters.quality = Model.NONE, Quality.FAST
    return panel


# --- what can be pressed, and why not


def test_button_says_what_is_missing(panel: Any, scene: Any) -> None:
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
    panel.ui.movingSelector.setCurrentNode(ct)
    assert button.enabled
    assert panel.ui.missingLabel.text == ""
    assert "Working grid 25 × 25 × 25 at 0.8 mm" in panel.ui.memoryLabel.text
    parameters.quality = type(parameters.quality).OFF
    assert "Working grid 20 × 20 × 20 at 1.0 mm" in panel.ui.memoryLabel.text
    panel.ui.weightsPathEdit.currentPath = "/no/such/file.pt"
    assert "weights file does not exist" in button.toolTip
    panel.ui.weightsPathEdit.currentPath = ""
    assert button.enabled
    parameters.warpedVolume = mr
    assert "would overwrite an input" in button.toolTip
    parameters.createWarped = False
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


def test_probe_fills_in_the_devices(panel: Any, wait: Any) -> None:
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
    panel.ui.swapButton.click()
    assert (panel.ui.fixedSelector.currentNode(), panel.ui.movingSelector.currentNode()) == (ct, mr)
    assert parameters.initialTransform is None and parameters.movingSegmentation is None


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
    assert settings.use_network
    assert not panel.ui.inverseTransformSelector.enabled


def test_several_parameter_sets(panel: Any, scene: Any) -> None:
    first = panel._parameterNode.parameterNode
    panel.ui.spacingSpinBox.value = 3.0
    second = scene.AddNode(panel.logic.createParameterNode())
    panel.ui.parameterSetSelector.setCurrentNode(second)
    assert panel._parameterNode.parameterNode is second
    assert panel.ui.spacingSpinBox.value == 0.0
    panel.ui.parameterSetSelector.setCurrentNode(first)
    assert panel.ui.spacingSpinBox.value == 3.0
    scene.RemoveNode(first)
    assert panel._parameterNode is None


# --- registering


def test_register_then_undo_and_apply(filled: Any, scene: Any, wait: Any) -> None:
    ui, parameters = filled.ui, filled._parameterNode
    points = mrml.markups_from_points(np.zeros((1, 3)), "landmarks", scene)
    ui.registerButton.click()
    assert ui.registerButton.text == "&Cancel"
    assert filled.runner.queue.current is not None
    folder = filled.runner.queue.current.folder
    wait(lambda: filled.runner.queue.current is None)
    assert ui.registerButton.text == "&Register", ui.errorLabel.text
    moving, transform = parameters.movingVolume, parameters.movingVolume.GetParentTransformNode()
    assert transform is not None, ui.logText.toPlainText()
    assert transform.GetName() == "CT to MR"
    assert {"CT on MR", "MR to CT"} <= {scene.GetNthNode(n).GetName() for n in range(scene.GetNumberOfNodes())}
    assert "mm on average" in ui.resultLabel.text
    assert not folder.exists()
    assert ui.registeredCheckBox.checked
    ui.registeredCheckBox.click()
    assert moving.GetParentTransformNode() is None
    ui.registeredCheckBox.click()
    assert moving.GetParentTransformNode() is transform
    filled.exit()
    moving.SetAndObserveTransformNodeID(None)
    filled.enter()
    assert not ui.registeredCheckBox.checked
    ui.registeredCheckBox.click()
    ui.applySelector.setCurrentNode(points)
    ui.sideComboBox.currentIndex = 1
    ui.applyButton.click()
    assert points.GetParentTransformNode().GetName() == "MR to CT"
    ui.sideComboBox.currentIndex = 0
    ui.applyButton.click()
    assert points.GetParentTransformNode() is transform


def test_cancel_leaves_the_scene_as_it_was_and_the_next_in_the_queue_starts(filled: Any, scene: Any, wait: Any) -> None:
    import time

    ui = filled.ui
    before = node_ids(scene)
    ui.registerButton.click()
    ui.queueButton.click()
    assert "Waiting: CT to MR" in ui.queueLabel.text
    first, second = filled.runner.queue.current, filled.runner.queue.waiting[0]
    wait(lambda: ui.progressBar.value > 0)
    start = time.monotonic()
    ui.registerButton.click()
    assert ui.statusLabel.text == "Cancelling…"
    filled.runner.queue._process._on_event({"event": "progress", "step": "refine", "fraction": 0.5})
    assert ui.statusLabel.text == "Cancelling…", "a late step is no news"
    wait(lambda: filled.runner.queue.current is second)
    seconds = time.monotonic() - start
    ui.progressBar.value = 900
    wait(lambda: filled.runner.queue._process._pid)
    assert ui.progressBar.value == 0, "the next run begins at the beginning"
    assert seconds < 2.0
    assert node_ids(scene) == before
    assert not first.folder.exists()
    assert "cancelled" in ui.logText.toPlainText()
    ui.registerButton.click()
    wait(lambda: filled.runner.queue.current is None, 5)
    assert node_ids(scene) == before
    assert list(second.folder.parent.glob("registration-*")) == [
        path for path in second.folder.parent.glob("registration-*") if path == _probe_folder(filled)
    ]


def _probe_folder(panel: Any) -> Path | None:
    return panel.setupSection._probe.folder if panel.setupSection._probe else None


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_process_is_told_and_can_be_tried_again(filled: Any, scene: Any, wait: Any) -> None:
    ui = filled.ui
    before = node_ids(scene)
    ui.registerButton.click()
    wait(lambda: filled.runner.queue._process._pid)
    os.killpg(filled.runner.queue._process._pid, signal.SIGKILL)
    wait(lambda: filled.runner.queue.current is None, 10)
    assert "ended from outside" in ui.errorLabel.text
    assert "killed" in ui.errorLabel.text
    assert node_ids(scene) == before
    assert job_folders()
    ui.dismissButton.click()
    assert not job_folders()
    ui.registerButton.click()
    wait(lambda: filled.runner.queue._process._pid)
    os.killpg(filled.runner.queue._process._pid, signal.SIGKILL)
    wait(lambda: filled.runner.queue.current is None, 10)
    ui.retryCoarserButton.click()
    assert ui.registerButton.text == "&Cancel"
    wait(lambda: filled.runner.queue.current is None)
    result = filled._parameterNode.movingVolume.GetParentTransformNode()
    assert result is not None, ui.logText.toPlainText()
    spacing = result.GetTransformFromParent().GetDisplacementGrid().GetSpacing()
    assert spacing == pytest.approx((1.2, 1.2, 1.2))  # half as coarse again as for a refinement


def test_input_that_cannot_be_registered_is_told_in_a_sentence(filled: Any, scene: Any) -> None:
    bent = mrml.transform_node_from_field(sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), "bent", scene)
    filled._parameterNode.fixedVolume.SetAndObserveTransformNodeID(bent.GetID())
    filled.ui.registerButton.click()
    assert "non-linear transform 'bent'" in filled.ui.errorLabel.text
    assert filled.runner.queue.current is None
    assert not job_folders()


def test_closing_the_scene_ends_what_runs(filled: Any, scene: Any, wait: Any) -> None:
    from GradientGuidedRegistrationLib.worker import is_alive

    filled.ui.registerButton.click()
    filled.ui.queueButton.click()
    wait(lambda: filled.runner.queue._process._pid)
    pid, folder = filled.runner.queue._process._pid, filled.runner.queue.current.folder
    scene.Clear(0)
    assert filled.runner.queue.current is None
    assert filled.runner.queue.waiting == []
    assert not is_alive(pid)
    assert not folder.exists()
    assert filled.ui.registerButton.text == "&Register"
    assert filled._parameterNode is not None, "a new parameter set, since the module is shown"
    assert filled._parameterNode.fixedVolume is None


def test_a_volume_that_goes_away_meanwhile_is_told(filled: Any, scene: Any, wait: Any) -> None:
    from GradientGuidedRegistrationLib.panel.process import Outcome

    filled.ui.registerButton.click()
    run = filled.runner.queue.current
    filled.runner.queue._process.kill()
    scene.RemoveNode(filled._parameterNode.movingVolume)
    filled.runner.queue._ended(run, Outcome("finished"))
    assert "removed from the scene" in filled.ui.errorLabel.text
    assert not run.folder.exists()


def test_try_it_loads_a_pair_and_registers_it(panel: Any, scene: Any, tmp_path: Path, wait: Any) -> None:
    panel.ui.tryButton.click()
    assert panel.runner.queue.current.task == "phantom"
    wait(lambda: panel.runner.queue.current is None or panel.runner.queue.current.task == "register")
    parameters = panel._parameterNode
    assert (parameters.fixedVolume.GetName(), parameters.movingVolume.GetName()) == ("Phantom MR", "Phantom CT")
    names = mrml.segment_names(parameters.movingSegmentation)
    assert "liver" in [name.lower() for name in names]
    assert panel.runner.queue.current.title == "Phantom CT to Phantom MR"
    panel.runner.queue.stop()


@pytest.mark.parametrize("shown", [True, False])
def test_an_opened_scene_brings_its_parameter_set(panel: Any, scene: Any, shown: bool) -> None:
    from GradientGuidedRegistrationLib.panel.choices import Quality

    empty = panel._parameterNode.parameterNode  # made when the old scene closed
    if not shown:
        panel.exit()
    saved = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
    saved.UnRegister(None)
    saved.SetModuleName(panel.moduleName)
    saved.SetAttribute("ModuleName", panel.moduleName)
    saved.SetParameter("quality", "BEST")
    scene.AddNode(saved)
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


@pytest.mark.parametrize(
    ("elapsed", "fraction", "words"),
    [
        (1.0, 0.5, ""),
        (10.0, 0.01, ""),
        (10.0, 0.8, "a few seconds left"),
        (20.0, 0.5, "about 20 s left"),
        (100.0, 0.25, "about 5 min left"),
        (5.0, 1.0, ""),
    ],
)
def test_time_left(application: Any, elapsed: float, fraction: float, words: str) -> None:
    from GradientGuidedRegistrationLib.panel.progress_section import time_left

    assert time_left(elapsed, fraction) == words
