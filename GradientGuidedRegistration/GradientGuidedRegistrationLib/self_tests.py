"""Self-tests for inside the Slicer application: the Logic, and the panel driven by its widgets.

A mixin for `GradientGuidedRegistrationTest` in the module file. Every test stands alone, with a scene of its
own, needs no network, and takes seconds on a CPU.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from .errors import InputError
from .headless import in_application

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object  # Slicer's test class brings the real one; by itself this mixin is not to be collected


class SelfTests(TestCase):
    """The tests and what they have in common; to be combined with `ScriptedLoadableModuleTest`."""

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear()
        self.folder = Path(tempfile.mkdtemp(prefix="ggr ü "))

    def tearDown(self) -> None:
        """Leave nothing in the scene, and nothing running."""
        slicer.mrmlScene.Clear()  # which ends what runs, too
        shutil.rmtree(self.folder, ignore_errors=True)

    def runTest(self) -> None:
        """Run all of them, each with its own set-up, and raise if one failed."""
        if not in_application():
            super().runTest()  # type: ignore[misc]
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(type(self))
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
        if not result.wasSuccessful():
            raise AssertionError(f"{len(result.failures) + len(result.errors)} of {result.testsRun} self-tests failed.")

    # --- helpers

    def openPanel(self) -> Any:
        """The module's panel, as when the user opens the module with an empty scene."""
        panel = slicer.util.getModuleWidget("GradientGuidedRegistration")
        panel.enter()
        return panel

    def openFilledPanel(self) -> Any:
        """A panel with a small MR and CT and fast settings."""
        from .panel.choices import Model, Quality

        panel = self.openPanel()
        parameters = panel._parameterNode
        parameters.fixedVolume, parameters.movingVolume = self.blob("MR", 0.0), self.blob("CT", 2.0)
        parameters.model, parameters.quality = Model.NONE, Quality.FAST
        if panel.missing():
            self.skipTest(panel.missing())
        return panel

    def blob(self, name: str, shift: float, size: int = 24) -> Any:
        """A small oblique volume with a bright ellipsoid, `shift` voxels along the first axis off the middle."""
        import numpy as np
        import SimpleITK as sitk

        from . import mrml

        k, j, i = np.indices((size, size, size)) - size / 2
        inside = ((i - shift) ** 2 / 2 + j**2 + k**2 / 1.5 < (size / 4) ** 2).astype(np.float32)
        texture = np.random.default_rng(3).normal(size=inside.shape).astype(np.float32)
        image = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(100 * inside + texture), 1.0)
        image.SetSpacing((2.0, 2.0, 2.0))
        turn = sitk.Euler3DTransform()
        turn.SetRotation(0.1, -0.2, 0.15)
        image.SetDirection(turn.GetMatrix())
        return mrml.volume_node_from_image(image, name, slicer.mrmlScene)

    def openPanelWithResult(self) -> Any:
        """A panel that shows a result of two volumes; no process was needed to make it."""
        import numpy as np
        import SimpleITK as sitk

        from . import mrml
        from .registration.result import Result
        from .registration.settings import Settings

        panel = self.openPanel()
        fixed, moving = self.blob("MR", 0.0), self.blob("CT", 2.0)
        image = mrml.image_from_node(fixed)
        inwards = [np.minimum(np.arange(n), np.arange(n)[::-1]) for n in image.GetSize()[::-1]]
        depth = np.minimum.reduce(np.meshgrid(*inwards, indexing="ij"))[..., None]
        lengths = np.minimum(depth, 4.0).astype(np.float32)  # mm: two voxels in the middle, folding nowhere
        vectors = lengths * np.array(image.GetDirection(), dtype=np.float32).reshape(3, 3)[:, 0]
        fields = [sitk.GetImageFromArray(sign * vectors, isVector=True) for sign in (1, -1)]
        for field in fields:
            field.CopyInformation(image)
        result = Result(
            fields[0], sitk.Transform(3, sitk.sitkIdentity), Settings(), inverse_field=fields[1],
            expected_error=sitk.VectorMagnitude(fields[0]),
        )  # fmt: skip
        made = panel.logic.addResultToScene(result, fixed, moving)
        panel.resultSection.show(made)
        return panel

    def halves(self, volume: Any) -> Any:
        """A label map of a blob in two parts that touch."""
        import numpy as np
        import SimpleITK as sitk

        from . import mrml

        image = mrml.image_from_node(volume, before_registration=True)
        inside = sitk.GetArrayFromImage(image) > 50
        labels = np.where(inside, 1 + (np.arange(len(inside)) >= len(inside) // 2)[:, None, None], 0)
        labelImage = sitk.GetImageFromArray(labels.astype(np.uint8))
        labelImage.CopyInformation(image)
        return mrml.volume_node_from_image(labelImage, f"{volume.GetName()} halves", slicer.mrmlScene, labels=True)

    def waitFor(self, condition: Callable[[], Any], seconds: float = 120.0) -> None:
        """Let the application work until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"Not within {seconds:.0f} s")
            slicer.app.processEvents()
            time.sleep(0.01)

    def nodeIDs(self) -> set[str]:
        """What is in the scene."""
        scene = slicer.mrmlScene
        return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}

    # --- the bridge to the scene

    def test_VolumeRoundTrip(self) -> None:
        """A volume under a linear transform comes out where the scene shows it."""
        import numpy as np
        import vtk

        from . import mrml

        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        slicer.util.updateVolumeFromArray(node, np.arange(24, dtype=np.int16).reshape(2, 3, 4))
        node.SetSpacing(1.0, 2.0, 3.0)
        transformNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, 10.0)
        transformNode.SetMatrixTransformToParent(matrix)
        node.SetAndObserveTransformNodeID(transformNode.GetID())
        image = mrml.image_from_node(node)
        self.assertEqual(image.GetPixel(3, 2, 1), 23)
        self.assertEqual(image.TransformIndexToPhysicalPoint((1, 1, 1)), (-11.0, -2.0, 3.0))

    def test_TransformNode(self) -> None:
        """A field becomes a from-parent grid transform that moves a point as the field says."""
        import numpy as np
        import SimpleITK as sitk

        from . import mrml

        vectors = np.zeros((9, 9, 9, 3), dtype=np.float32)
        vectors[2:-2, 2:-2, 2:-2] = (1.0, 2.0, 3.0)
        field = sitk.GetImageFromArray(vectors, isVector=True)
        node = mrml.transform_node_from_field(field, "CT to MR", slicer.mrmlScene)
        moved = node.GetTransformFromParent().TransformPoint(-4.0, -4.0, 4.0)
        for found, expected in zip(moved, (-5.0, -6.0, 7.0)):
            self.assertAlmostEqual(found, expected, places=4)

    def test_PointsAndImagesGoTheSameWay(self) -> None:
        """A point of the CT comes to lie where the MR shows the same place, and back through the inverse."""
        import vtk

        panel = self.openPanelWithResult()
        transform, inverse = (slicer.util.getNode(name) for name in ("CT to MR", "MR to CT"))
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        fixed = slicer.util.getNode("MR")
        middle = [0.0] * 6
        fixed.GetRASBounds(middle)
        centre = [(middle[2 * axis] + middle[2 * axis + 1]) / 2 for axis in range(3)]
        points.AddControlPoint(centre)
        ui = panel.ui
        ui.applySelector.setCurrentNode(points)
        direction = vtk.vtkMatrix4x4()
        fixed.GetIJKToRASDirectionMatrix(direction)
        shift, moved = direction.MultiplyPoint((4.0, 0.0, 0.0, 0.0)), [0.0] * 3
        for side, node, sign in ((0, transform, -1.0), (1, inverse, 1.0)):
            ui.sideComboBox.currentIndex = side
            ui.applyButton.click()
            self.assertIs(points.GetParentTransformNode(), node)
            points.GetNthControlPointPositionWorld(0, moved)
            for axis in range(3):
                self.assertAlmostEqual(moved[axis], centre[axis] + sign * shift[axis], places=1)

    # --- the Logic

    def test_LogicRegistersAPhantom(self) -> None:
        """The organs of a generated patient overlap better after the registration than before."""
        from GradientGuidedRegistration import GradientGuidedRegistrationLogic

        from . import mrml
        from .evaluation import label_metrics, mean_metrics
        from .panel.samples import download_phantom
        from .registration.settings import Settings

        self.requireTorch()
        nodes = download_phantom()
        fixed, moving, fixedLabels, movingLabels = nodes
        image = mrml.image_from_node(fixed)
        names = mrml.segment_names(fixedLabels)

        def dice(segmentation: Any) -> float:
            labels = [mrml.labels_from_node(node, image, names) for node in (fixedLabels, segmentation)]
            return mean_metrics(label_metrics(*labels))["dice"]

        before = dice(movingLabels)
        made = GradientGuidedRegistrationLogic().register(
            fixed, moving, Settings(refine=30, device="cpu"), movingSegmentationNode=movingLabels
        )
        after = dice(made.warpedSegmentation)
        logging.info("Mean Dice %.3f before, %.3f after", before, after)
        self.assertGreater(after, before + 0.1)
        self.assertLess(made.result.quality["folding_percent"], 0.5)
        self.assertIs(moving.GetParentTransformNode(), made.transform)

    def test_TrainingTwoSteps(self) -> None:
        """The network can be trained here, and its weights be used."""
        from GradientGuidedRegistration import GradientGuidedRegistrationLogic

        from .training import TrainingSettings

        self.requireTorch()
        GradientGuidedRegistrationLogic().train(
            TrainingSettings(
                output=self.folder / "run", steps=2, shape=(32, 32, 32), device="cpu", workers=0, validation_cases=1
            )
        )
        self.assertTrue(list((self.folder / "run").glob("*.pt")))

    def requireTorch(self) -> None:
        """Skip where PyTorch is not installed."""
        import importlib.util

        if importlib.util.find_spec("torch") is None:
            self.skipTest("PyTorch is not installed")

    # --- the panel

    def test_PanelLoadsItsClasses(self) -> None:
        """Slicer's loader silently gives a plain QWidget for a class that it does not know."""
        ui = self.openPanel().ui
        for widget, name in (
            (ui.fixedSelector, "qMRMLNodeComboBox"),
            (ui.weightsPathEdit, "ctkPathLineEdit"),
            (ui.optionsCollapsibleButton, "ctkCollapsibleButton"),
        ):
            self.assertEqual(widget.className(), name)

    def test_PanelFillsItselfIn(self) -> None:
        """An MR and a CT are recognised, and the button says what is missing."""
        panel = self.openPanel()
        self.assertFalse(panel.ui.registerButton.enabled)
        self.assertIn("Choose", panel.ui.registerButton.toolTip)
        ct, mr = self.blob("CTAbdomen", 0.0), self.blob("MRT2", 1.0)
        panel.exit()
        panel.enter()
        self.assertIs(panel.ui.fixedSelector.currentNode(), mr)
        self.assertIs(panel.ui.movingSelector.currentNode(), ct)
        panel.ui.swapButton.click()
        self.assertIs(panel.ui.fixedSelector.currentNode(), ct)

    def test_PanelRegistersAndUndoes(self) -> None:
        """Register, look, undo, redo."""
        panel = self.openFilledPanel()
        moving = panel._parameterNode.movingVolume
        panel.ui.registerButton.click()
        self.assertEqual(panel.ui.registerButton.text, "&Cancel")
        self.waitFor(lambda: panel.runner.queue.current is None)
        transform = moving.GetParentTransformNode()
        self.assertIsNotNone(transform, panel.ui.logText.plainText)
        self.assertEqual(transform.GetName(), "CT to MR")
        for name in ("MR to CT", "CT on MR"):
            self.assertIsNotNone(slicer.util.getFirstNodeByName(name))
        panel.ui.registeredCheckBox.click()
        self.assertIsNone(moving.GetParentTransformNode())
        panel.ui.registeredCheckBox.click()
        self.assertIs(moving.GetParentTransformNode(), transform)

    def test_PanelCancels(self) -> None:
        """Cancel ends the process within two seconds, leaves the scene as it was, and the next one starts."""
        panel = self.openFilledPanel()
        before = self.nodeIDs()
        panel.ui.registerButton.click()
        panel.ui.queueButton.click()
        self.waitFor(lambda: panel.ui.progressBar.value > 0)
        first, start = panel.runner.queue.current, time.monotonic()
        panel.ui.registerButton.click()
        self.waitFor(lambda: panel.runner.queue.current is not first, 10)
        self.assertLess(time.monotonic() - start, 2.5)
        self.assertEqual(self.nodeIDs(), before)
        self.assertIsNotNone(panel.runner.queue.current)
        panel.ui.registerButton.click()
        self.waitFor(lambda: panel.runner.queue.current is None, 10)

    def test_PanelTellsAnError(self) -> None:
        """A volume that cannot be registered is told in a sentence, and nothing is left of the attempt."""
        panel = self.openFilledPanel()
        volume = panel._parameterNode.movingVolume
        slicer.util.updateVolumeFromArray(volume, 0 * slicer.util.arrayFromVolume(volume))
        before = self.nodeIDs()
        panel.ui.registerButton.click()
        self.waitFor(lambda: panel.runner.queue.current is None)
        self.assertIn("constant", panel.ui.errorLabel.text)
        self.assertEqual(self.nodeIDs(), before)
        with self.assertRaises(InputError):
            panel.logic.register(panel._parameterNode.fixedVolume, volume)

    def test_PanelSurvivesSceneClose(self) -> None:
        """Closing the scene while it runs ends the process; the panel can be used again."""
        panel = self.openFilledPanel()
        panel.ui.registerButton.click()
        self.waitFor(lambda: panel.ui.progressBar.value > 0)
        folder = panel.runner.queue.current.folder
        slicer.mrmlScene.Clear()
        self.assertIsNone(panel.runner.queue.current)
        self.assertFalse(folder.exists())
        panel.enter()
        self.assertFalse(panel.ui.registerButton.enabled)
        self.assertEqual(panel.ui.registerButton.text, "&Register")

    def test_PanelShowsAResult(self) -> None:
        """Every way of looking, one after the other, and back without a trace."""
        panel = self.openPanelWithResult()
        ui, before = panel.ui, self.nodeIDs()
        for look in (
            "fade",
            "checkerboard",
            "split",
            "gradientFixed",
            "gradientBefore",
            "gradientAfter",
            "jacobian",
            "trust",
        ):
            button = getattr(ui, f"{look}Button")
            button.click()
            self.assertTrue(button.checked, look)
            self.assertIn("error" if look == "trust" else "MR", ui.legendLabel.text)
        for button in (ui.gridButton, ui.glyphsButton, ui.threeUpButton):
            button.click()
            self.assertTrue(button.checked, button.text)
        slicer.app.processEvents()
        ui.restoreViewsButton.click()
        self.assertFalse(ui.gridButton.checked or ui.threeUpButton.checked)
        colours = "vtkMRMLColorTableNode"  # made once a scene, for all results
        self.assertEqual([node for node in self.nodeIDs() - before if not node.startswith(colours)], [])

    def test_PanelShowsAResultOfASavedScene(self) -> None:
        """Saved, closed and opened again, a scene shows its results as before."""
        panel = self.openPanelWithResult()
        names = [result.title for result in panel.resultSection._results]
        scene, folder = slicer.mrmlScene, self.folder
        self.assertTrue(scene.WriteToMRB(str(folder / "scene.mrb"), None))
        scene.Clear()
        self.assertFalse(panel.ui.jacobianButton.enabled)
        shutil.unpack_archive(folder / "scene.mrb", folder, "zip")
        scene.SetURL(str(next(folder.rglob("*.mrml"))))
        self.assertTrue(scene.Connect())
        self.assertEqual([result.title for result in panel.resultSection._results], names)
        for button in (panel.ui.jacobianButton, panel.ui.trustButton):
            button.click()
            self.assertTrue(button.checked, button.text)

    def test_PanelComparesStructures(self) -> None:
        """Overlap before and after, in the table of the panel and in a table node."""
        panel = self.openPanelWithResult()
        ui = panel.ui
        ui.fixedStructuresSelector.setCurrentNode(self.halves(slicer.util.getNode("MR")))
        ui.movingStructuresSelector.setCurrentNode(self.halves(slicer.util.getNode("CT")))
        ui.compareButton.click()
        self.waitFor(lambda: ui.comparisonTable.rowCount == 3)
        before, after = (float(text) for text in ui.comparisonTable.item(2, 2).text().split(" → "))
        self.assertLess(before, 0.9)
        self.assertGreater(after, 0.97)
        self.assertEqual(slicer.util.getNode("CT overlap").GetNumberOfRows(), 3)
