from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any

import ctk
import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLTransformNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, Default, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

#
# GradientGuidedRegistration
#


class GradientGuidedRegistration(ScriptedLoadableModule):
    """What the application's module list shows."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Gradient-Guided Registration")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        self.parent.dependencies = []
        self.parent.contributors = ["The GradientGuidedRegistration developers"]
        self.parent.helpText = _(
            "Registers a CT to an MR of the same patient, deformably: choose the MR as fixed and the CT as moving "
            "volume. The result is a transform node; taking the CT out of it is the undo. Not for clinical decisions."
        )
        self.parent.acknowledgementText = _(
            "The network is that of Zhe Xu, Jiangpeng Yan, Jie Luo, Xiu Li and Jayender Jagadeesan: Unsupervised "
            "Multimodal Image Registration with Adaptative Gradient Guidance, ICASSP 2021."
        )


#
# GradientGuidedRegistrationParameterNode
#


@parameterNodeWrapper
class GradientGuidedRegistrationParameterNode:
    """The choices of one registration, saved with the scene.

    fixedVolume - the volume that stays, usually the MR.
    movingVolume - the volume that is brought onto it, usually the CT.
    initialTransform - a transform that already brings the moving volume near, optional.
    initialization - alignment before the deformable part: none, rigid or affine.
    transform - the resulting transform node.
    warpedVolume - the moving volume on the fixed grid.
    """

    fixedVolume: vtkMRMLScalarVolumeNode
    movingVolume: vtkMRMLScalarVolumeNode
    initialTransform: vtkMRMLTransformNode
    initialization: Annotated[str, Choice(["none", "rigid", "affine"]), Default("rigid")]
    transform: vtkMRMLTransformNode
    warpedVolume: vtkMRMLScalarVolumeNode


#
# GradientGuidedRegistrationWidget
#


class GradientGuidedRegistrationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: two volumes, a button."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: GradientGuidedRegistrationLogic | None = None

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = GradientGuidedRegistrationLogic()
        inputs = ctk.ctkCollapsibleButton()
        inputs.text = _("Inputs")
        self.layout.addWidget(inputs)
        form = qt.QFormLayout(inputs)
        self.fixedSelector = self._volumeSelector(_("The volume that stays, usually the MR"))
        self.movingSelector = self._volumeSelector(_("The volume that is brought onto the fixed one, usually the CT"))
        form.addRow(_("Fixed volume (MR):"), self.fixedSelector)
        form.addRow(_("Moving volume (CT):"), self.movingSelector)
        self.registerButton = qt.QPushButton(_("Register"))
        self.registerButton.connect("clicked(bool)", self.onRegister)
        self.layout.addWidget(self.registerButton)
        self.layout.addStretch(1)
        self.updateButton()

    def _volumeSelector(self, toolTip: str) -> Any:
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.addEnabled = False
        selector.removeEnabled = False
        selector.noneEnabled = True
        selector.toolTip = toolTip
        selector.setMRMLScene(slicer.mrmlScene)
        selector.connect("currentNodeChanged(vtkMRMLNode*)", self.updateButton)
        return selector

    def updateButton(self, node: Any = None) -> None:
        fixed, moving = self.fixedSelector.currentNode(), self.movingSelector.currentNode()
        self.registerButton.enabled = bool(fixed and moving and fixed is not moving)
        self.registerButton.toolTip = (_("Bring the moving volume onto the fixed one") if self.registerButton.enabled
                                       else _("Choose two different volumes"))

    def onRegister(self, checked: bool = False) -> None:
        with slicer.util.tryWithErrorDisplay(_("The registration failed."), waitCursor=True):
            self.logic.register(self.fixedSelector.currentNode(), self.movingSelector.currentNode())

    def cleanup(self) -> None:
        self.removeObservers()


#
# GradientGuidedRegistrationLogic
#


@dataclass(frozen=True)
class RegisteredNodes:
    """The nodes that one registration added to the scene; None for what was not asked for.

    transform - grid transform node from parent; put any node of the moving image's space under it.
    inverseTransform - the transform for nodes of the fixed image's space.
    warpedVolume - the moving volume on the fixed grid.
    warpedSegmentation - the moving segmentation or label map on the fixed grid.
    result - the registration's result, with its quality figures, timings and settings.
    """

    transform: Any
    inverseTransform: Any
    warpedVolume: Any
    warpedSegmentation: Any
    result: Any


class GradientGuidedRegistrationLogic(ScriptedLoadableModuleLogic):
    """Everything that the panel, the scripts and a cluster's nodes do, without Qt.

    `registerImages` needs no scene, `train` and `evaluate` need neither a scene nor VTK; the rest works on the scene of
    Slicer or of the plain-Python host (`GradientGuidedRegistrationLib.headless`).
    """

    def getParameterNode(self) -> GradientGuidedRegistrationParameterNode:
        return GradientGuidedRegistrationParameterNode(super().getParameterNode())

    def register(
        self,
        fixedNode: Any,
        movingNode: Any,
        settings: Any = None,
        *,
        initialTransformNode: Any = None,
        fixedMaskNode: Any = None,
        movingMaskNode: Any = None,
        movingSegmentationNode: Any = None,
        createWarpedVolume: bool = True,
        createInverse: bool = False,
        observe: bool = True,
        progress: Any = None,
    ) -> RegisteredNodes:
        """Bring the moving volume onto the fixed one; nodes in, nodes out, and on any error the scene as it was.

        :param fixedNode: scalar volume node, usually the MR; linear parent transforms are honoured.
        :param movingNode: scalar volume node, usually the CT; its linear parent transforms are part of where it is.
            If it is under the result of an earlier registration, that result is left out and replaced.
        :param settings: `registration.settings.Settings`; default settings if None.
        :param initialTransformNode: transform that brings the moving volume near the fixed one, not applied to it yet.
        :param fixedMaskNode: segmentation or label map of the region of the fixed volume that matters.
        :param movingMaskNode: the same for the moving volume.
        :param movingSegmentationNode: segmentation or label map to carry over to the fixed volume.
        :param createWarpedVolume: also make a volume of the moving image on the fixed grid.
        :param createInverse: also make the inverse transform node.
        :param observe: put the moving volume under the transform; taking it out is the undo, nothing is hardened.
        :param progress: called as progress(step, fraction); may raise `errors.Cancelled`.
        :raises InputError: for input that cannot be registered, with a sentence that says why.
        """
        from GradientGuidedRegistrationLib import mrml

        fixed = mrml.image_from_node(fixedNode)
        moving = mrml.image_from_node(movingNode, before_registration=True)
        masks = {
            name: mrml.labels_from_node(node, image, before_registration=image is moving) != 0
            for name, node, image in (("fixed_mask", fixedMaskNode, fixed), ("moving_mask", movingMaskNode, moving))
            if node is not None
        }
        initial = mrml.transform_from_node(initialTransformNode, fixed) if initialTransformNode is not None else None
        settings = self._withInverse(settings, createInverse)
        result = self.registerImages(fixed, moving, settings, initial_transform=initial, progress=progress, **masks)
        return self.addResultToScene(
            result, fixedNode, movingNode, movingSegmentationNode=movingSegmentationNode,
            createWarpedVolume=createWarpedVolume, observe=observe,
        )

    @staticmethod
    def _withInverse(settings: Any, inverse: bool) -> Any:
        from dataclasses import replace

        from GradientGuidedRegistrationLib.registration.settings import Settings

        settings = Settings() if settings is None else settings
        return replace(settings, inverse=True) if inverse and not settings.inverse else settings

    def registerImages(self, fixed: Any, moving: Any, settings: Any = None, **options: Any) -> Any:
        """Register two SimpleITK images (LPS mm); options and result as `registration.pipeline.register`."""
        from GradientGuidedRegistrationLib.registration.pipeline import register
        from GradientGuidedRegistrationLib.registration.settings import Settings

        return register(fixed, moving, Settings() if settings is None else settings, **options)

    def addResultToScene(
        self,
        result: Any,
        fixedNode: Any,
        movingNode: Any,
        *,
        movingSegmentationNode: Any = None,
        createWarpedVolume: bool = True,
        observe: bool = True,
    ) -> RegisteredNodes:
        """Turn a result into nodes named after its inputs, all of them or, on any error, none. Main thread only."""
        from GradientGuidedRegistrationLib import mrml

        scene = slicer.mrmlScene
        fixedName, movingName = fixedNode.GetName(), movingNode.GetName()
        with mrml.all_or_nothing(scene):
            transform = mrml.transform_node_from_field(
                result.field, f"{movingName} to {fixedName}", scene, fixedNode, movingNode)
            inverse = warped = segmentation = None
            if result.inverse_field is not None:
                inverse = mrml.transform_node_from_field(
                    result.inverse_field, f"{fixedName} to {movingName}", scene, movingNode, fixedNode)
            if createWarpedVolume or movingSegmentationNode is not None:
                fixed = mrml.image_from_node(fixedNode)
            if createWarpedVolume:
                moving = mrml.image_from_node(movingNode, before_registration=True)
                warped = mrml.volume_node_from_image(
                    result.warp(moving, fixed), f"{movingName} on {fixedName}", scene, display_like=movingNode)
            if movingSegmentationNode is not None:
                segmentation = mrml.carry_labels(
                    movingSegmentationNode, result.transform, fixed,
                    f"{movingSegmentationNode.GetName()} on {fixedName}", scene, before_registration=True)
            if observe:
                mrml.observe_transform(movingNode, transform)
        logging.info("Registered '%s' to '%s'", movingName, fixedName)
        return RegisteredNodes(transform, inverse, warped, segmentation, result)

    def run(self, request: Any, progress: Any = None) -> dict[str, Any]:
        """Do one registration from files to files, as a `job.Request` says, and return its metrics. Needs no scene."""
        from GradientGuidedRegistrationLib.job import run

        return run(request, progress)

    def train(self, settings: Any, **options: Any) -> Any:
        """Train a network as `training.train` does, on its `TrainingSettings`. Needs neither scene nor VTK."""
        from GradientGuidedRegistrationLib.training import train

        return train(settings, **options)

    def evaluate(self, settings: Any, **options: Any) -> Any:
        """Compare methods as `training.evaluate` does, on its `EvaluationSettings`. Needs neither scene nor VTK."""
        from GradientGuidedRegistrationLib.training import evaluate

        return evaluate(settings, **options)


#
# GradientGuidedRegistrationTest
#


class GradientGuidedRegistrationTest(ScriptedLoadableModuleTest):
    """Self-tests inside the application; each stands alone and needs no network."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def test_VolumeRoundTrip(self) -> None:
        """A volume under a linear transform comes out where the scene shows it."""
        import numpy as np

        from GradientGuidedRegistrationLib import mrml

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
        """A field becomes a from-parent grid transform with references to its volumes."""
        import numpy as np
        import SimpleITK as sitk

        from GradientGuidedRegistrationLib import mrml

        vectors = np.zeros((9, 9, 9, 3), dtype=np.float32)
        vectors[2:-2, 2:-2, 2:-2] = (1.0, 2.0, 3.0)
        field = sitk.GetImageFromArray(vectors, isVector=True)
        node = mrml.transform_node_from_field(field, "CT to MR", slicer.mrmlScene)
        moved = node.GetTransformFromParent().TransformPoint(-4.0, -4.0, 4.0)
        for found, expected in zip(moved, (-5.0, -6.0, 7.0)):
            self.assertAlmostEqual(found, expected, places=4)
