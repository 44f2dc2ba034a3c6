"""The module as Slicer finds it: Module, ParameterNode, Widget, Logic and Test, in the one file where it wants them.

Thin: what they do is in `GradientGuidedRegistrationLib`.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

import slicer
import vtk
from slicer import (
    vtkMRMLGridTransformNode,
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTransformNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

from GradientGuidedRegistrationLib.panel.choices import Device, Initialization, Model, Quality, presets
from GradientGuidedRegistrationLib.self_tests import SelfTests

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import SimpleITK as sitk

    from GradientGuidedRegistrationLib.job import Request
    from GradientGuidedRegistrationLib.mrml import Pairing, RegisteredNodes, Review
    from GradientGuidedRegistrationLib.registration import Result, Settings
    from GradientGuidedRegistrationLib.training import EvaluationSettings, TrainingResult, TrainingSettings
    from GradientGuidedRegistrationLib.training.comparison.table import Table

    Progress = Callable[[str, float], None]

Labels = Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007 (Slicer 5.10 knows no other)

_DOUBLE_CLICK_S = 0.4

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
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", prepareScene)


def registerSampleData() -> None:
    """Put the sample pairs into the Sample Data module, once the application is up."""
    from GradientGuidedRegistrationLib.panel.samples import register_samples

    register_samples()


def prepareScene() -> None:
    """Let scenes be shown, when they are opened, as they were when they were saved."""
    from GradientGuidedRegistrationLib import mrml

    scene = slicer.mrmlScene
    mrml.register_layout(scene)
    mrml.register_colours(scene)
    scene.AddObserver(scene.EndImportEvent, onSceneOpened)


def onSceneOpened(caller: Any, event: Any) -> None:
    """A scene may have been saved while a result was looked at."""
    from GradientGuidedRegistrationLib import mrml

    mrml.restore_opened(caller)


#
# GradientGuidedRegistrationParameterNode
#


@parameterNodeWrapper
class GradientGuidedRegistrationParameterNode:
    """The choices of one registration, saved with the scene. A scene may hold several.

    fixedVolume - the volume that stays, usually the MR.
    movingVolume - the volume that is brought onto it, usually the CT.
    initialTransform - a transform that already brings the moving volume near, optional.
    fixedMask, movingMask - the regions of the volumes that count, optional.
    movingSegmentation - to be carried over to the fixed volume, optional.
    initialization, quality, model, device - see `panel.choices`.
    weights - path of a weights file to use instead of the packaged one; empty for none.
    spacing - of the working grid in mm; 0 chooses it from the images.
    createInverse, createWarped - what to make besides the transform.
    transform, inverseTransform, warpedVolume - nodes to overwrite; none creates new ones.
    """

    fixedVolume: vtkMRMLScalarVolumeNode
    movingVolume: vtkMRMLScalarVolumeNode
    initialTransform: vtkMRMLTransformNode
    fixedMask: Labels
    movingMask: Labels
    movingSegmentation: Labels
    initialization: Initialization = Initialization.RIGID
    quality: Quality = Quality.BALANCED
    model: Model = Model.GATED
    device: Device = Device.AUTO
    weights: str = ""
    spacing: Annotated[float, WithinRange(0, 20)] = 0.0
    createInverse: bool = True
    createWarped: bool = True
    transform: vtkMRMLGridTransformNode
    inverseTransform: vtkMRMLGridTransformNode
    warpedVolume: vtkMRMLScalarVolumeNode


#
# GradientGuidedRegistrationWidget
#


class GradientGuidedRegistrationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: fills itself in, hands registrations to the background process, and puts results into the scene."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: GradientGuidedRegistrationLogic | None = None
        self._parameterNode: GradientGuidedRegistrationParameterNode | None = None
        self._madeSet: Any = None
        self._lastSet: Any = None
        self._guiTag: Any = None
        self.runner: Any = None
        self._followed: list[Any] = []
        self._shownBeforeImport = False
        self._started = 0.0

    # --- life of the panel

    def setup(self) -> None:
        """Build the panel. Slicer calls it once, when the module is first shown."""
        from GradientGuidedRegistrationLib.panel.process import remove_orphans
        from GradientGuidedRegistrationLib.panel.repairs import letting_go, reach_node_selectors, tell_every_path
        from GradientGuidedRegistrationLib.panel.result_section import ResultSection
        from GradientGuidedRegistrationLib.panel.runner import Runner
        from GradientGuidedRegistrationLib.panel.setup_section import SetupSection

        ScriptedLoadableModuleWidget.setup(self)
        remove_orphans()
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/GradientGuidedRegistration.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        reach_node_selectors(self.ui)
        self.logic = GradientGuidedRegistrationLogic()
        self.presets = presets()
        self.ui.presetComboBox.addItems([*(preset.name for preset in self.presets), _("Custom")])
        self.ui.parameterSetSelector.addAttribute("vtkMRMLScriptedModuleNode", "ModuleName", self.moduleName)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.setupSection = SetupSection(self.ui, self.updatePanel)
        self.resultSection = ResultSection(self.ui, self.logic, self.onReport)
        self.runner = Runner(self.ui, self.logic, self.updatePanel, self.onSampleLoaded,
                             self.resultSection.show, self.resultSection.report_written)  # fmt: skip
        self.ui.registerButton.clicked.connect(self.onRegister)
        self.ui.queueButton.clicked.connect(self.onQueue)
        self.ui.swapButton.clicked.connect(self.onSwap)
        self.ui.presetComboBox.activated.connect(self.onPreset)
        tell_every_path(self.ui.weightsPathEdit, self.onWeights)
        self.ui.parameterSetSelector.currentNodeChanged.connect(self.onParameterSet)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(scene, scene.NodeAddedEvent, self.resultSection.update)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, letting_go(self.ui))
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodeRemoved)
        self.initializeParameterNode()
        self.resultSection.find()
        self.setupSection.check()

    def cleanup(self) -> None:
        """The module is reloaded, or the application ends."""
        self.stopEverything()
        self.removeObservers()
        if self.runner is not None:
            self.resultSection.close()
            self.runner = None
        self.setParameterNode(None)

    def stopEverything(self) -> None:
        """End the background processes at once; the scene is left as it is."""
        if self.runner is not None:
            self.runner.stop()
            self.setupSection.stop()

    def enter(self) -> None:
        """The module is shown, again or for the first time."""
        self.initializeParameterNode()
        self.resultSection.find()
        self.resultSection.update()

    def exit(self) -> None:
        """Another module is shown: the registration goes on, the widgets are not kept up to date."""
        from GradientGuidedRegistrationLib.panel.repairs import leave_layout

        self.resultSection.pause()
        self.setParameterNode(None)
        leave_layout(self.parent)

    def onReload(self) -> None:
        """Reload the library too, not only this file."""
        self.cleanup()  # while it still has the library that it was made with
        for name in [name for name in sys.modules if name.partition(".")[0] == "GradientGuidedRegistrationLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """The scene closes: what runs is of no use any more, but for the search for devices."""
        self.runner.stop()
        self.resultSection.clear()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller: Any, event: Any) -> None:
        """The scene is empty: begin again with a new parameter set."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneStartImport(self, caller: Any, event: Any) -> None:
        """A scene is opened or added: until it is there, the node selectors would empty what is chosen."""
        self._shownBeforeImport = self._parameterNode is not None
        self.setParameterNode(None)

    def onSceneEndImport(self, caller: Any, event: Any) -> None:
        """A scene was opened: its results are shown, its parameter set replaces the empty one made before."""
        self.resultSection.find()
        self.replaceUnusedSet()
        if self._shownBeforeImport:
            self.initializeParameterNode()

    def replaceUnusedSet(self) -> None:
        """If the parameter set that was made here and shown last is still empty, one of the scene takes its place."""
        made, sets = self._madeSet, self.parameterSets()
        if made not in sets or self._lastSet is not made:
            return
        others = [GradientGuidedRegistrationParameterNode(node) for node in sets if node is not made]
        own = GradientGuidedRegistrationParameterNode(made)
        if others and own.fixedVolume is None and own.movingVolume is None:
            chosen = next((one for one in others if one.fixedVolume or one.movingVolume), others[0])
            self._lastSet = chosen.parameterNode
            self.ui.parameterSetSelector.setCurrentNode(chosen.parameterNode)  # else it chooses by itself
            slicer.mrmlScene.RemoveNode(made)

    def onNodeRemoved(self, caller: Any, event: Any) -> None:
        """The parameter set that is shown may be gone: another takes its place."""
        parameters = self._parameterNode
        if parameters is not None and not slicer.mrmlScene.IsNodePresent(parameters.parameterNode):
            self.setParameterNode(None)
            if self.parent.isEntered:
                self.initializeParameterNode()
        self.resultSection.update()

    # --- the parameter node

    def parameterSets(self) -> list[Any]:
        """The nodes of the parameter sets in the scene."""
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def initializeParameterNode(self) -> None:
        """Show the parameter set that was shown last, else the first, else a new one, with the recognised volumes."""
        if self._parameterNode is None:
            known = self.parameterSets()
            if self._lastSet in known:
                self.setParameterNode(GradientGuidedRegistrationParameterNode(self._lastSet))
            else:
                self.setParameterNode(self.logic.getParameterNode())
            if not known:
                self._madeSet = self._parameterNode.parameterNode
        parameters = self._parameterNode
        if parameters.fixedVolume is None and parameters.movingVolume is None:
            fixed, moving = self.logic.recognizeVolumes()
            if fixed is not None:
                parameters.fixedVolume = fixed
            if moving is not None:
                parameters.movingVolume = moving

    def setParameterNode(self, parameterNode: GradientGuidedRegistrationParameterNode | None) -> None:
        """Show and observe another parameter set, or none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            node = self._parameterNode.parameterNode
            if self.hasObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParametersModified):
                self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        self.followVolumes()
        if parameterNode is not None:
            self._lastSet = parameterNode.parameterNode
            self._guiTag = parameterNode.connectGui(self.ui)
            self.ui.parameterSetSelector.setCurrentNode(parameterNode.parameterNode)
            self.ui.weightsPathEdit.currentPath = parameterNode.weights
            self.addObserver(parameterNode.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
            self.updatePanel()

    def onParameterSet(self, node: Any) -> None:
        """The user chooses another parameter set."""
        shown = self._parameterNode.parameterNode if self._parameterNode is not None else None
        used = self.parent.isEntered and not slicer.mrmlScene.IsClosing()  # else the selector chooses by itself
        if node is not None and node is not shown and used:
            self.setParameterNode(GradientGuidedRegistrationParameterNode(node))

    def onPreset(self, index: int) -> None:
        """The user chooses a preset: its options are set."""
        if index < len(self.presets):
            with slicer.util.NodeModify(self._parameterNode):
                self.presets[index].apply(self._parameterNode)
        self.updatePanel()

    def onWeights(self, path: str) -> None:
        """The user chooses a weights file, or none."""
        if self._parameterNode is not None and self._parameterNode.weights != path:
            self._parameterNode.weights = path

    def onSwap(self, *_args: Any) -> None:
        """Fixed and moving volume change places; what belongs to one direction only is given up."""
        parameters = self._parameterNode
        with slicer.util.NodeModify(parameters):
            for first, second in (("fixedVolume", "movingVolume"), ("fixedMask", "movingMask")):
                a, b = getattr(parameters, first), getattr(parameters, second)
                setattr(parameters, first, b)
                setattr(parameters, second, a)
            parameters.movingSegmentation = parameters.initialTransform = None
            parameters.transform = parameters.inverseTransform = parameters.warpedVolume = None

    def missing(self) -> str:
        """What keeps the button disabled, as a sentence."""
        from GradientGuidedRegistrationLib.panel.checks import missing

        if self._parameterNode is None:
            return _("There is no parameter set.")
        has_torch = self.setupSection.torch_version is not None
        has_network = self.logic.hasNetwork(self._parameterNode)
        return missing(self._parameterNode, has_torch, has_network) or self.logic.misplaced(self._parameterNode)

    def followVolumes(self) -> None:
        """Notice when one of the chosen volumes is put under a transform or taken out of one."""
        parameters = self._parameterNode
        volumes = [parameters.fixedVolume, parameters.movingVolume] if parameters is not None else []
        for node in self._followed:
            if self.hasObserver(node, node.TransformModifiedEvent, self.onVolumeMoved):
                self.removeObserver(node, node.TransformModifiedEvent, self.onVolumeMoved)
        self._followed = [
            node for number, node in enumerate(volumes) if node is not None and node not in volumes[:number]
        ]
        for node in self._followed:
            self.addObserver(node, node.TransformModifiedEvent, self.onVolumeMoved)

    def onVolumeMoved(self, *_args: Any) -> None:
        """A chosen volume is elsewhere: it may fit, or not fit any more."""
        self.updatePanel()
        self.resultSection.update()

    def onParametersModified(self, *_args: Any) -> None:
        """Something else is chosen."""
        self.followVolumes()
        self.updatePanel()

    def updatePanel(self, *_args: Any) -> None:
        """Enable what can be done, say what is missing, and tell what it will take."""
        from GradientGuidedRegistrationLib.panel import options_section

        if self._parameterNode is not None:
            options_section.update(
                self.ui, self._parameterNode, self.logic, self.setupSection, self.presets,
                missing=self.missing(), running=self.runner.running,
            )  # fmt: skip

    # --- registering

    def onRegister(self, *_args: Any) -> None:
        """The one button: register, or cancel what runs."""
        if not self.runner.running:
            self.onQueue()
            self._started = time.monotonic()
        elif time.monotonic() - self._started > _DOUBLE_CLICK_S:  # the second half of a double click is no «Cancel»
            self.runner.queue.cancel()

    def onQueue(self, *_args: Any) -> None:
        """Hand what is chosen to the background process; if one runs already, it waits for its turn."""
        if not self.missing():
            self.runner.register(self._parameterNode)

    def onReport(self, shown: Any, folder: Path, structures: tuple[Any, Any]) -> None:
        """Write a report in the background process, after what runs already."""
        self.runner.report(shown, folder, structures)

    def onSampleLoaded(self, nodes: dict[str, Any]) -> None:
        """The artificial patient of «Try it» is in the scene: register it, with a parameter set of its own."""
        node = self.logic.createParameterNode()
        node.SetName(slicer.mrmlScene.GenerateUniqueName(_("Artificial patient")))
        parameters = GradientGuidedRegistrationParameterNode(slicer.mrmlScene.AddNode(node))
        parameters.fixedVolume, parameters.movingVolume = nodes["fixed"], nodes["moving"]
        parameters.movingSegmentation = nodes["moving_labels"]
        self.setParameterNode(parameters)
        self.onQueue()


#
# GradientGuidedRegistrationLogic
#


class GradientGuidedRegistrationLogic(ScriptedLoadableModuleLogic):
    """Everything that the panel, the scripts and a cluster's nodes do, without Qt.

    `registerImages` needs no scene, `train` and `evaluate` need neither a scene nor VTK; the rest works on the scene of
    Slicer or of the plain-Python host (`GradientGuidedRegistrationLib.headless`).
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.isSingletonParameterNode = False  # a scene may hold several parameter sets

    def getParameterNode(self) -> GradientGuidedRegistrationParameterNode:
        """The first parameter set of the scene; made if there is none."""
        return GradientGuidedRegistrationParameterNode(super().getParameterNode())

    def settings(self, parameters: GradientGuidedRegistrationParameterNode) -> Settings:
        """What a parameter node asks for."""
        from GradientGuidedRegistrationLib.registration.settings import Settings

        network = parameters.model is not Model.NONE
        return Settings(
            method=parameters.model.value if network else Settings.method,
            weights=Path(parameters.weights) if network and parameters.weights else None,
            use_network=network,
            initialization=parameters.initialization.value,
            refine=parameters.quality.value,
            spacing=parameters.spacing or None,
            device=parameters.device.value,
            inverse=parameters.createInverse,
        )

    def hasNetwork(self, parameters: GradientGuidedRegistrationParameterNode) -> bool:
        """Whether there are weights for the model that a parameter node asks for."""
        from GradientGuidedRegistrationLib.errors import InputError
        from GradientGuidedRegistrationLib.registration.models import weights_file

        settings = self.settings(parameters)
        try:
            return settings.use_network and weights_file(settings) is not None
        except InputError:
            return False

    def misplaced(self, parameters: GradientGuidedRegistrationParameterNode) -> str:
        """Why the volumes of a parameter node cannot be registered where they are, as a sentence; empty if they can."""
        from GradientGuidedRegistrationLib import mrml
        from GradientGuidedRegistrationLib.errors import InputError

        try:
            mrml.parent_to_world(parameters.fixedVolume)
            mrml.parent_to_world(parameters.movingVolume, before_registration=True)
        except InputError as error:
            return str(error)
        return ""

    def register(
        self,
        fixedNode: Any,
        movingNode: Any,
        settings: Settings | None = None,
        *,
        initialTransformNode: Any = None,
        fixedMaskNode: Any = None,
        movingMaskNode: Any = None,
        movingSegmentationNode: Any = None,
        createWarpedVolume: bool = True,
        createInverse: bool = False,
        observe: bool = True,
        progress: Progress | None = None,
    ) -> RegisteredNodes:
        """Bring the moving volume onto the fixed one; nodes in, nodes out, and on any error the scene as it was.

        Main thread only, since it works on the scene.

        Args:
            fixedNode: scalar volume node, usually the MR; linear parent transforms are honoured.
            movingNode: scalar volume node, usually the CT; its linear parent transforms are part of where it is. If it
                is under the result of an earlier registration, that result is left out and replaced.
            settings: None takes the defaults.
            initialTransformNode: transform that brings the moving volume near the fixed one; if the volume is under it
                already, it is not applied a second time.
            fixedMaskNode, movingMaskNode: segmentation or label map of the region of that volume that matters.
            movingSegmentationNode: segmentation or label map to carry over to the fixed volume.
            createWarpedVolume: also make a volume of the moving image on the fixed grid.
            createInverse: also make the inverse transform node.
            observe: put the moving volume under the transform; taking it out is the undo, nothing is hardened.
            progress: called as progress(step, fraction); may raise `errors.Cancelled`.

        Raises:
            InputError: for input that cannot be registered, with a sentence that says why.
        """
        from GradientGuidedRegistrationLib import mrml

        fixed, moving, options = mrml.registration_input(
            fixedNode, movingNode, initialTransformNode, fixedMaskNode, movingMaskNode
        )
        if movingSegmentationNode is not None:
            mrml.check_labels(movingSegmentationNode, before_registration=True)
        registered = mrml.input_fingerprints(fixedNode, movingNode)
        settings = self._withInverse(settings, createInverse)
        result = self.registerImages(fixed, moving, settings, progress=progress, **options)
        return self.addResultToScene(
            result,
            fixedNode,
            movingNode,
            movingSegmentationNode=movingSegmentationNode,
            createWarpedVolume=createWarpedVolume,
            observe=observe,
            registered=registered,
        )

    def writeJob(
        self,
        folder: Path,
        fixedNode: Any,
        movingNode: Any,
        settings: Settings,
        *,
        initialTransformNode: Any = None,
        fixedMaskNode: Any = None,
        movingMaskNode: Any = None,
        movingSegmentationNode: Any = None,
        **targets: Any,
    ) -> tuple[str, str]:
        """Write what `register` would work on to a new folder, for the background process. Main thread only.

        The moving segmentation is not written, only checked: it is carried over when the result is there. `targets` are
        the existing nodes that the result is to overwrite, by their names in `mrml.add_result`.

        Returns:
            What `addResultToScene` takes as `registered`, to notice that a volume has changed in the meantime.

        Raises:
            InputError: for input that cannot be registered, or nodes that cannot be overwritten.
            OSError: the folder cannot be written.
        """
        from GradientGuidedRegistrationLib import mrml
        from GradientGuidedRegistrationLib.registration.storage import Job, write_job

        mrml.check_targets(fixedNode, movingNode, **targets)
        fixed, moving, options = mrml.registration_input(
            fixedNode, movingNode, initialTransformNode, fixedMaskNode, movingMaskNode
        )
        if movingSegmentationNode is not None:
            mrml.check_labels(movingSegmentationNode, before_registration=True)
        write_job(Job(fixed, moving, settings, **options), folder)
        return mrml.input_fingerprints(fixedNode, movingNode)

    def changeJob(self, folder: Path, **changes: Any) -> None:
        """Change settings (names of `Settings`) of a job that was written, for another try."""
        from GradientGuidedRegistrationLib.registration.storage import read_settings, write_settings

        write_settings(replace(read_settings(folder), **changes), folder)

    def readResult(self, folder: Path) -> Result:
        """What the background process left in a folder. Raises `InputError` where that is not whole."""
        from GradientGuidedRegistrationLib.registration.storage import read_result

        return read_result(folder)

    @staticmethod
    def _withInverse(settings: Settings | None, inverse: bool) -> Settings:
        from GradientGuidedRegistrationLib.registration.settings import Settings

        settings = Settings() if settings is None else settings
        return replace(settings, inverse=True) if inverse and not settings.inverse else settings

    def registerImages(
        self, fixed: sitk.Image, moving: sitk.Image, settings: Settings | None = None, **options: Any
    ) -> Result:
        """Register two SimpleITK images (LPS mm); options, result and errors as `registration.pipeline.register`."""
        from GradientGuidedRegistrationLib.registration.pipeline import register
        from GradientGuidedRegistrationLib.registration.settings import Settings

        return register(fixed, moving, Settings() if settings is None else settings, **options)

    def addResultToScene(self, result: Result, fixedNode: Any, movingNode: Any, **options: Any) -> RegisteredNodes:
        """Turn a result into nodes named after its inputs, all of them or, on any error, none. Main thread only.

        Options are those of `mrml.add_result`: what to make besides the transform, and nodes to overwrite.
        """
        from GradientGuidedRegistrationLib import mrml

        nodes = mrml.add_result(result, fixedNode, movingNode, slicer.mrmlScene, **options)
        logging.info("Registered '%s' to '%s'", movingNode.GetName(), fixedNode.GetName())
        return nodes

    def resultsInScene(self, known: Collection[str] = ()) -> list[RegisteredNodes]:
        """The results that the scene holds, such as one that was saved and opened; options as of `mrml.results_in`."""
        from GradientGuidedRegistrationLib import mrml

        return mrml.results_in(slicer.mrmlScene, known)

    def review(self, result: Result, fixedNode: Any, movingNode: Any) -> Review:
        """Ways of looking at a result in the slice views, which `close` undoes.

        Raises:
            InputError: for a volume that was changed since it was registered.
        """
        from GradientGuidedRegistrationLib import mrml

        mrml.check_fits(result, fixedNode, movingNode)
        return mrml.Review(result, fixedNode, movingNode, slicer.mrmlScene)

    def suggestStructures(self, fixedNode: Any, movingNode: Any) -> tuple[Any, Any]:
        """Segmentations or label maps that probably belong to two volumes; None for what cannot be told."""
        from GradientGuidedRegistrationLib import mrml

        return mrml.suggest_structures(fixedNode, movingNode, slicer.mrmlScene)

    def pairing(self, fixedNode: Any, movingNode: Any, earlier: Pairing | None = None) -> Pairing:
        """Which structures of two segmentations or label maps are compared; choices of an `earlier` pairing are kept.

        Raises:
            InputError: a node without structures, or whose values are fractions.
        """
        from GradientGuidedRegistrationLib import mrml

        return mrml.Pairing(fixedNode, movingNode, earlier)

    def exportComparison(self, figures: Mapping[str, Any], path: str | Path) -> Path:
        """Write the figures of a comparison (`evaluation.compare_labels`) as CSV.

        Raises:
            InputError: the file cannot be written.
        """
        from GradientGuidedRegistrationLib import mrml

        return mrml.export_csv(figures, path)

    def writeReportJob(
        self, folder: Path, result: Result, fixedNode: Any, movingNode: Any, structures: tuple[Any, Any]
    ) -> None:
        """Write what a report is made of to a new folder, for the background process. Main thread only.

        `structures` are segmentations or label maps of the fixed and of the moving volume; without both, the report
        has no table of them.

        Raises:
            InputError: for a volume that was changed since it was registered.
        """
        from GradientGuidedRegistrationLib import mrml
        from GradientGuidedRegistrationLib.figures.job import ReportJob, write_report_job

        mrml.check_fits(result, fixedNode, movingNode)
        fixed = mrml.image_from_node(fixedNode)
        moving = mrml.image_from_node(movingNode, before_registration=True)
        labels = mrml.Pairing(*structures).label_images(fixed, moving) if all(structures) else (None, None, {})
        write_report_job(ReportJob(result, fixed, moving, *labels), folder)

    def recognizeVolumes(self) -> tuple[Any, Any]:
        """The MR and the CT among the volumes of the scene, (fixed, moving); None for what is not recognised."""
        from GradientGuidedRegistrationLib import mrml

        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        return mrml.recognize_pair([node for node in nodes if not node.IsA("vtkMRMLLabelMapVolumeNode")])

    def workingGrid(self, parameters: GradientGuidedRegistrationParameterNode) -> tuple[tuple[int, int, int], float]:
        """Size in voxels (i, j, k) and spacing in mm of the grid on which what a parameter node names is registered.

        Raises:
            InputError: a fixed volume under a non-linear or singular transform.
        """
        from GradientGuidedRegistrationLib import mrml
        from GradientGuidedRegistrationLib.registration.grid import working_grid

        settings = self.settings(parameters)
        grid = working_grid(mrml.grid_from_node(parameters.fixedVolume), settings.spacing, refined=settings.is_refined)
        return grid.size, grid.spacing[0]

    def loadPhantom(self, folder: Path) -> dict[str, Any]:
        """Load the artificial patient that the background process left in a folder; nodes by role."""
        from GradientGuidedRegistrationLib import mrml

        return mrml.load_phantom(folder, slicer.mrmlScene)

    def isRegistered(self, node: Any, transformNode: Any) -> bool:
        """Whether a node is under the transform of a registration."""
        from GradientGuidedRegistrationLib import mrml

        return mrml.is_registered(node, transformNode)

    def setRegistered(self, node: Any, transformNode: Any, registered: bool) -> None:
        """Put a node under the transform of a registration, or undo that; nothing is hardened.

        Raises:
            InputError: for volumes of which one was changed since, or one that cannot be put under a transform.
        """
        from GradientGuidedRegistrationLib import mrml

        mrml.set_registered(node, transformNode, registered)

    def applyTo(self, node: Any, transformNode: Any) -> None:
        """Put something else of the moving volume under the transform, or of the fixed one under the inverse.

        Raises:
            InputError: for a transform that cannot be used.
        """
        from GradientGuidedRegistrationLib import mrml

        mrml.apply_to(node, transformNode)

    def run(self, request: Request, progress: Progress | None = None) -> dict[str, Any]:
        """Do one registration from files to files; metrics and errors as `job.run`. Needs no scene."""
        from GradientGuidedRegistrationLib.job import run

        return run(request, progress)

    def train(self, settings: TrainingSettings, **options: Any) -> TrainingResult:
        """Train a network; options and errors as `training.train`. Needs neither scene nor VTK."""
        from GradientGuidedRegistrationLib.training import train

        return train(settings, **options)

    def evaluate(self, settings: EvaluationSettings, **options: Any) -> Table:
        """Compare methods; options and errors as `training.evaluate`. Needs neither scene nor VTK."""
        from GradientGuidedRegistrationLib.training import evaluate

        return evaluate(settings, **options)


#
# GradientGuidedRegistrationTest
#


class GradientGuidedRegistrationTest(SelfTests, ScriptedLoadableModuleTest):
    """Self-tests inside the application; they are in `GradientGuidedRegistrationLib.self_tests`."""
