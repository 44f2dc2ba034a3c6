"""The section «Check the result»: what a registration says of itself, and the parts to look, measure and report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .apply_section import ApplySection
from .landmarks_section import LandmarksSection
from .shown_result import ShownResult
from .structures_section import StructuresSection
from .verdict import summary, verdict_html
from .view_section import ViewSection


class ResultSection:
    """Shows one of the results that the scene holds: the last one, or the one that the user chooses.

    Args:
        ui: the widgets of the panel.
        logic: `GradientGuidedRegistrationLogic`.
        write_report: write_report(shown, folder, segmentation nodes) starts to write a report in the background.
    """

    def __init__(self, ui: Any, logic: Any, write_report: Callable[..., None]) -> None:
        self.ui, self._logic, self._write_report = ui, logic, write_report
        self._results: list[ShownResult] = []
        self._shown: ShownResult | None = None
        self._filling = False
        self._views = ViewSection(ui)
        self._structures = StructuresSection(ui, logic, self._views.attempt)
        self._landmarks = LandmarksSection(ui)
        self._apply = ApplySection(ui, logic)
        self._parts = (self._views, self._structures, self._landmarks, self._apply)
        ui.resultComboBox.currentIndexChanged.connect(self._choose)
        ui.reportButton.clicked.connect(self._report)
        self._show(None)

    def show(self, nodes: Any) -> None:
        """Take over the nodes of a registration that has just ended; a result whose transform it took is no more."""
        for result in self._results:
            if result.transform_id == nodes.transform.GetID():
                result.close()
        self._results = [one for one in self._results if one.transform_id != nodes.transform.GetID()]
        self._results.append(ShownResult(nodes, self._logic))
        self.ui.checkCollapsibleButton.collapsed = False
        self._show(self._results[-1])

    def find(self) -> None:
        """Take over results that the scene has besides: it was opened, or they were made without the panel."""
        known = [result.transform_id for result in self._results]
        for nodes in self._logic.resultsInScene(known):
            self._results.append(ShownResult(nodes, self._logic))
        if self._shown is None and self._results:
            self._show(self._results[-1])
        else:
            self._list()

    def clear(self) -> None:
        """There is no result any more: the scene closes, and all nodes go with it."""
        self._views.leave_three_up()
        self._results = []
        self._show(None)

    def close(self) -> None:
        """The panel goes away: the views show again what they showed before."""
        self._views.restore()
        self.clear()

    def pause(self) -> None:
        """Another module is shown."""
        self._views.pause()

    def update(self, *_args: Any) -> None:
        """Nodes have come or gone, or have been moved: enable what can be done."""
        for part in self._parts:
            part.update()
        obstacle = self._shown.obstacle if self._shown is not None else _("Register first.")
        self.ui.reportButton.enabled = not obstacle
        self.ui.reportButton.toolTip = obstacle or (
            _("One HTML file with figures, tables and settings, to keep or to send. It has the volumes' names in the "
              "scene, nothing from DICOM.")
        )  # fmt: skip

    def report_written(self, path: str) -> None:
        """Tell where the report is, as a link."""
        url = Path(path).as_uri()
        self.ui.reportLabel.text = _("Written: {link}").format(link=f'<a href="{url}">{Path(path).name}</a>')
        self.ui.reportLabel.visible = True

    def _show(self, shown: ShownResult | None) -> None:
        if self._shown is not None and self._shown is not shown and self._shown in self._results:
            self._shown.close()
        self._shown = shown
        self._list()
        ui = self.ui
        ui.reportLabel.visible = False
        ui.applyLabel.text = ""
        quality = shown.result.quality if shown is not None else {}
        ui.verdictLabel.text = verdict_html(quality)
        ui.verdictFrame.visible = bool(verdict_html(quality))
        ui.resultLabel.text = (
            _("No registration yet.") if shown is None else summary(quality, shown.result.settings.device)
        )
        for part in self._parts:
            part.show(shown)
        self.update()

    def _list(self) -> None:
        box = self.ui.resultComboBox
        self._filling = True
        box.clear()
        box.addItems([result.title for result in self._results])
        if self._shown is not None:
            box.currentIndex = self._results.index(self._shown)
        self._filling = False
        box.visible = len(self._results) > 1

    def _choose(self, *_args: Any) -> None:
        index = self.ui.resultComboBox.currentIndex
        if not self._filling and 0 <= index < len(self._results):
            self._show(self._results[index])

    def _report(self, *_args: Any) -> None:
        start = slicer.app.userSettings().value("GradientGuidedRegistration/ReportFolder", "")
        folder = qt.QFileDialog.getExistingDirectory(self.ui.reportButton, _("Folder for the report"), start)
        if not folder or self._shown is None:
            return
        slicer.app.userSettings().setValue("GradientGuidedRegistration/ReportFolder", folder)
        name = "".join(letter if letter.isalnum() or letter in "-_ " else "_" for letter in self._shown.title)
        self._write_report(self._shown, Path(folder) / name, self._structures.nodes)
