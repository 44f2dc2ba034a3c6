"""Runs of the panel: started, queued, cancelled, failed; the real background process, Qt by a stand-in."""

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


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def folders() -> list[Path]:
    """The folders of all runs, that of the search for devices too."""
    import slicer

    return list(Path(slicer.app.temporaryPath).glob("registration-*"))


def job_folders() -> list[Path]:
    """The folders with the images of a registration."""
    return [folder / "input" for folder in folders() if (folder / "input").exists()]


def _probe_folder(panel: Any) -> Path | None:
    return panel.setupSection._probe.folder if panel.setupSection._probe else None


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
    assert "non-linear transform 'bent'" in filled.ui.missingLabel.text and not filled.ui.registerButton.enabled
    filled.runner.register(filled._parameterNode)
    assert "non-linear transform 'bent'" in filled.ui.errorLabel.text
    assert filled.runner.queue.current is None
    assert not job_folders()


def test_what_cannot_be_carried_over_is_told_before_the_run(filled: Any, scene: Any) -> None:
    filled._parameterNode.movingSegmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing")
    filled.ui.registerButton.click()
    assert "'nothing' has no segments" in filled.ui.errorLabel.text
    assert filled.runner.queue.current is None
    assert not job_folders()
    assert not filled.ui.errorFrame.isHidden()
    scene.Clear(0)
    assert filled.ui.errorFrame.isHidden(), "it is of volumes that are gone"


def test_a_segmentation_emptied_meanwhile_costs_no_registration(filled: Any, scene: Any, wait: Any) -> None:
    import slicer

    organs = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    labels = mrml.volume_node_from_image(sitk.Image(8, 8, 8, sitk.sitkUInt8) + 1, "labels", scene, labels=True)
    assert slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labels, organs)
    filled._parameterNode.movingSegmentation = organs
    filled.ui.registerButton.click()
    organs.GetSegmentation().RemoveAllSegments()
    wait(lambda: not filled.runner.running)
    assert filled._parameterNode.movingVolume.GetParentTransformNode() is not None
    assert filled.ui.errorFrame.isHidden()
    assert filled.ui.noteLabel.text == "The segmentation 'organs' has no segments. It was not carried over."


def test_whatever_keeps_a_job_from_being_written_is_told(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(filled.logic, "writeJob", refuse)
    filled.ui.registerButton.click()
    assert "Memory ran out" in filled.ui.errorLabel.text
    assert filled.runner.queue.current is None
    assert not [path for path in folders() if path != _probe_folder(filled)]


def test_a_job_folder_that_is_gone_is_told_and_the_next_in_the_queue_starts(filled: Any, wait: Any) -> None:
    import shutil

    for _ in range(3):
        filled.ui.queueButton.click()
    queue = filled.runner.queue
    shutil.rmtree(queue.waiting[0].folder)
    third = queue.waiting[1]
    filled.ui.registerButton.click()
    wait(lambda: queue.current is third, 10)
    assert "job folder cannot be written" in filled.ui.errorLabel.text


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use stays there")
@pytest.mark.parametrize("how", ["cancel", "close", "crash"])
def test_a_job_folder_that_goes_away_during_the_run_leaves_the_panel_usable(
    filled: Any, scene: Any, wait: Any, how: str
) -> None:
    import shutil

    import slicer

    from GradientGuidedRegistrationLib.worker import is_alive

    ui, queue, before = filled.ui, filled.runner.queue, node_ids(scene)
    ui.registerButton.click()
    wait(lambda: ui.progressBar.value > 0)
    pid = queue._process._pid
    shutil.rmtree(slicer.app.temporaryPath)
    if how == "cancel":
        ui.registerButton.click()
    elif how == "close":
        filled.stopEverything()
    else:
        os.killpg(pid, signal.SIGKILL)
    wait(lambda: queue.current is None, 10)
    assert not is_alive(pid) and node_ids(scene) == before and ui.registerButton.text == "&Register"
    if how == "crash":
        ui.retryCpuButton.click()
        assert "files of this run are gone" in ui.errorLabel.text and queue.current is None
    ui.registerButton.click()
    wait(lambda: ui.progressBar.value > 0)
    assert not ui.errorFrame.visible


def test_what_ends_while_it_is_cancelled_leaves_the_scene_as_it_was(filled: Any, scene: Any, wait: Any) -> None:
    before = node_ids(scene)
    filled.ui.registerButton.click()
    process = filled.runner.queue._process
    process._on_event = lambda event: event["event"] == "finished" and filled.ui.registerButton.click()
    wait(lambda: filled.runner.queue.current is None)
    assert "cancelled" in filled.ui.logText.toPlainText()
    assert node_ids(scene) == before


def test_output_that_is_no_event_is_passed_over(filled: Any, wait: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from GradientGuidedRegistrationLib.panel import process

    worker = tmp_path / "worker.py"
    worker.write_text("print('123'); print('[]'); print('{}'); print('null')")
    monkeypatch.setattr(process, "WORKER", worker)
    filled.ui.registerButton.click()
    wait(lambda: filled.runner.queue.current is None, 20)
    assert "ended unexpectedly" in filled.ui.errorLabel.text


def test_folders_of_a_killed_application_are_removed_and_those_of_a_running_one_are_not(application: Any) -> None:
    import subprocess

    from GradientGuidedRegistrationLib.panel.process import new_folder, remove_orphans

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    own, mine = new_folder(), str(os.getpid())
    orphan = own.with_name(own.name.replace(f"-{mine}-", f"-{gone.pid}-"))
    others = [own.with_name(f"registration-elsewhere-{gone.pid}-x"), own.with_name("registration-of-mine")]
    for folder in (orphan, *others):
        folder.mkdir()
        (folder / "input.mha").touch()
    remove_orphans()
    assert sorted(folders()) == sorted([own, *others])


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


def test_each_step_is_a_line_of_the_log(panel: Any) -> None:
    from GradientGuidedRegistrationLib.panel.runs import Run

    run = Run("register", "CT, thin to MR, T2")
    for step, fraction in (("align", 0.1), ("align", 0.2), ("refine", 0.5), ("refine", 0.6)):
        panel.runner.progress.show_event(run, {"event": "progress", "step": step, "fraction": fraction})
    lines = panel.ui.logText.toPlainText().splitlines()
    assert [line.partition("T2: ")[2] for line in lines] == ["Aligning", "Refining the deformation"]


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
