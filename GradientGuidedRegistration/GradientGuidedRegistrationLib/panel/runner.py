"""From the choices of the panel to a run of the background process, and from its end to nodes in the scene."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import InputError, is_memory_error
from ..worker import INPUT, RESULT
from .process import Outcome
from .progress_section import ProgressSection
from .runs import Run, RunQueue

_NODES = ("fixedVolume", "movingVolume", "movingSegmentation", "transform", "inverseTransform", "warpedVolume")
_FAILED = ("memory", "crash", "error")  # kinds of outcome after which another try makes sense
_COARSER = 1.5
_COARSEST_MM = 20.0


class Runner:
    """Starts, queues and retries registrations; the scene is touched when a result is whole, on the main thread.

    Args:
        ui: the widgets of the panel.
        logic: `GradientGuidedRegistrationLogic`.
        on_change: called when a run starts or ends.
        on_sample: called with the nodes of the artificial patient when «Try it» has loaded it.
        on_result: called with the `RegisteredNodes`.
        on_report: called with the path of a report that was written.
    """

    def __init__(self, ui: Any, logic: Any, on_change: Callable[[], None], on_sample: Callable[[dict[str, Any]], None],
                 on_result: Callable[[Any], None], on_report: Callable[[str], None]) -> None:  # fmt: skip
        self.logic = logic
        self.progress = ProgressSection(ui)
        self.queue = RunQueue(self._changed, self.progress.show_event, self._ended)
        self._on_change, self._on_sample, self._on_result = on_change, on_sample, on_result
        self._on_report = on_report
        self._failed: Run | None = None
        ui.tryButton.clicked.connect(self.generate_sample)
        ui.clearQueueButton.clicked.connect(lambda *_args: self.queue.clear())
        ui.retryCpuButton.clicked.connect(self.retry_on_cpu)
        ui.retryCoarserButton.clicked.connect(self.retry_coarser)
        ui.dismissButton.clicked.connect(lambda *_args: self._discard_failed())

    @property
    def running(self) -> bool:
        """Whether something runs."""
        return self.queue.current is not None

    def register(self, parameters: Any) -> None:
        """Write what a parameter node names to a job folder and hand it to the background process."""
        self._discard_failed()
        self.progress.clear_error()
        fixed, moving = parameters.fixedVolume, parameters.movingVolume

        def write(run: Run) -> None:
            run.options["createWarped"] = parameters.createWarped
            nodes = {role: getattr(parameters, role) for role in _NODES}
            run.nodes.update({role: node.GetID() for role, node in nodes.items() if node is not None})
            run.options["registered"] = self.logic.writeJob(
                run.folder / INPUT, fixed, moving, self.logic.settings(parameters),
                initialTransformNode=parameters.initialTransform, fixedMaskNode=parameters.fixedMask,
                movingMaskNode=parameters.movingMask, movingSegmentationNode=parameters.movingSegmentation,
                transformNode=parameters.transform,
                inverseTransformNode=parameters.inverseTransform if parameters.createInverse else None,
                warpedVolumeNode=parameters.warpedVolume if parameters.createWarped else None,
            )  # fmt: skip
            run.options["spacing"] = self.logic.workingGrid(parameters)[1]

        title = _("{moving} to {fixed}").format(moving=moving.GetName(), fixed=fixed.GetName())
        self._begin("register", title, write)

    def report(self, shown: Any, folder: Path, structures: tuple[Any, Any]) -> None:
        """Write the report of a `ShownResult` into a folder; with segmentations of both volumes, with their table."""
        self.progress.clear_error()
        title = _("Report on {title}").format(title=shown.title)

        def write(run: Run) -> None:
            if shown.obstacle:
                raise InputError(shown.obstacle)
            run.options["request"] = {"directory": str(folder), "title": shown.title}
            self.logic.writeReportJob(
                run.folder / INPUT, shown.result, shown.node("fixed"), shown.node("moving"), structures
            )

        self._begin("report", title, write)

    def generate_sample(self, *_args: Any) -> None:
        """Generate an artificial patient."""
        self._begin("phantom", _("Artificial patient"), lambda run: None)

    def retry_on_cpu(self, *_args: Any) -> None:
        """Run what has failed once more, without the GPU."""
        self._retry(device="cpu")

    def retry_coarser(self, *_args: Any) -> None:
        """Run what has failed once more, on a coarser working grid."""
        if self._failed is not None:
            self._failed.options["spacing"] = min(_COARSER * self._failed.options["spacing"], _COARSEST_MM)
            self._retry(spacing=self._failed.options["spacing"])

    def stop(self) -> None:
        """End everything at once; the scene is left as it is."""
        self.queue.stop()
        self._discard_failed()
        self.progress.clear()
        self._changed()

    def _begin(self, task: str, title: str, write: Callable[[Run], None]) -> None:
        """Hand a run to the queue once `write` has filled its folder; what prevents that is told."""
        run: Run | None = None
        try:
            run = Run(task, title)
            write(run)
        except Exception as error:
            if run is not None:
                run.discard()
            self.progress.show_error(title, _not_written(error))
        else:
            self._add(run)

    def _retry(self, **changes: Any) -> None:
        run, self._failed = self._failed, None
        if run is not None:
            try:
                if not (run.folder / INPUT).is_dir():
                    raise InputError(_("The files of this run are gone; register again."))
                self.logic.changeJob(run.folder / INPUT, **changes)
            except Exception as error:
                run.discard()
                self.progress.show_error(run.title, _not_written(error))
            else:
                self._add(run)

    def _add(self, run: Run) -> None:
        if not self.running:
            self.progress.clear()
        self.queue.add(run)

    def _changed(self) -> None:
        self.progress.show_queue(self.queue)
        self._on_change()

    def _ended(self, run: Run, outcome: Outcome) -> None:
        if outcome.kind == "finished":
            try:
                self._finish(run, outcome)
            except Exception as error:  # the scene is as it was; the user reads why, and the log has it all
                logging.exception("The result could not be put into the scene")
                outcome = Outcome("input", str(error))
        self.progress.show_outcome(run, outcome)
        if outcome.kind in _FAILED and run.task == "register":
            self._discard_failed()
            self._failed = run
        else:
            run.discard()

    def _finish(self, run: Run, outcome: Outcome) -> None:
        """Make nodes of what a run left in its folder, or tell where its report is."""
        if run.task == "report":
            self._on_report(outcome.values["path"])
            return
        if run.task == "phantom":
            nodes = self.logic.loadPhantom(run.folder / RESULT)
            _show_layers(nodes["fixed"], nodes["moving"], fit=True)
            self._on_sample(nodes)
            return
        nodes = {role: slicer.mrmlScene.GetNodeByID(identifier) for role, identifier in run.nodes.items()}
        fixed, moving = nodes["fixedVolume"], nodes["movingVolume"]
        if fixed is None or moving is None:
            raise InputError(_("A volume was removed from the scene while it was being registered."))
        result, segmentation = self.logic.readResult(run.folder / RESULT), nodes.get("movingSegmentation")

        def add(carried: Any) -> Any:
            return self.logic.addResultToScene(
                result, fixed, moving, movingSegmentationNode=carried, createWarpedVolume=run.options["createWarped"],
                registered=run.options["registered"], transformNode=nodes.get("transform"),
                inverseTransformNode=nodes.get("inverseTransform"), warpedVolumeNode=nodes.get("warpedVolume"),
            )  # fmt: skip

        try:
            made = add(segmentation)
        except InputError as error:
            if segmentation is None:
                raise
            made = add(None)  # changed meanwhile: the registration is worth having without it
            self.progress.show_note(_("{reason} It was not carried over.").format(reason=error))
        self._on_result(made)  # which ends the look at the last result, and brings its views back
        _show_layers(fixed, moving)

    def _discard_failed(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            failed.discard()


def _not_written(error: Exception) -> Outcome:
    """What to tell of an exception while a job was written. The log has it all."""
    logging.error("The job could not be written", exc_info=error)
    if is_memory_error(error):
        return Outcome("memory", str(error))
    return Outcome("input", str(error) or type(error).__name__)


def _show_layers(fixed: Any, moving: Any, fit: bool = False) -> None:
    slicer.util.setSliceViewerLayers(background=fixed, foreground=moving, foregroundOpacity=0.5, fit=fit)
