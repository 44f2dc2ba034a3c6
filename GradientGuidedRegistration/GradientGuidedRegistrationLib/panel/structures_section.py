"""«Structures»: outlines of both images' segmentations, and Dice, ASD, HD95 and volumes before and after."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from .figures import comparison_rows, text_of
from .shown_result import ShownResult
from .steps import Steps


class StructuresSection:
    """Matches the structures of two nodes by itself, lets the user correct that in the table, and compares them.

    Args:
        ui: the widgets of the panel.
        logic: `GradientGuidedRegistrationLogic`.
        attempt: does something with the review and tells what is wrong: `ViewSection.attempt`.
    """

    def __init__(self, ui: Any, logic: Any, attempt: Callable[[Callable[[Any], Any]], bool]) -> None:
        self.ui, self._logic, self._attempt = ui, logic, attempt
        self._shown: ShownResult | None = None
        self._volumes: tuple[str, str] | None = None  # whose structures are chosen
        self._pairing: Any = None
        self._comparison: Any = None
        self._steps: Steps | None = None
        self._boxes: list[Any] = []
        ui.plotComboBox.addItems([_("Dice"), _("ASD (mm)"), _("HD95 (mm)")])
        for selector in (ui.fixedStructuresSelector, ui.movingStructuresSelector):
            selector.currentNodeChanged.connect(self._changed)
        ui.outlinesButton.clicked.connect(self._outline)
        ui.compareButton.clicked.connect(self.compare)
        ui.plotButton.clicked.connect(self._plot)
        ui.copyButton.clicked.connect(self._copy)
        ui.exportButton.clicked.connect(self._export)
        self.show(None)

    def show(self, shown: ShownResult | None) -> None:
        """Compare the structures of another result from now on, or of none; of other volumes, other structures."""
        self._shown = shown
        self._forget()
        if shown is not None and shown.can_be_looked_at:
            fixed, moving = shown.node("fixed"), shown.node("moving")
            before, self._volumes = self._volumes, (fixed.GetID(), moving.GetID())
            found = self._logic.suggestStructures(fixed, moving)
            for selector, node in zip((self.ui.fixedStructuresSelector, self.ui.movingStructuresSelector), found):
                if selector.currentNode() is None or before not in (None, self._volumes):
                    selector.setCurrentNode(node)
        self.update()

    def update(self) -> None:
        """Enable what can be done."""
        ui, missing = self.ui, self._missing()
        for button, words in (
            (ui.compareButton, _("Measure how well the structures overlap, before and after.")),
            (ui.outlinesButton, _("Draw the outlines of both over the slices: blue of the fixed volume, orange of the "
                                  "moving one, registered.")),
        ):  # fmt: skip
            button.enabled = not missing
            button.toolTip = missing or words
        ui.compareButton.text = _("Stop") if self._steps is not None else _("Compare")
        for button in (ui.plotButton, ui.plotComboBox, ui.copyButton, ui.exportButton):
            button.enabled = self._comparison is not None

    @property
    def nodes(self) -> tuple[Any, Any]:
        """The chosen nodes of the fixed and of the moving volume, None where none is chosen."""
        return self.ui.fixedStructuresSelector.currentNode(), self.ui.movingStructuresSelector.currentNode()

    def compare(self, *_args: Any) -> None:
        """Begin to compare, or stop."""
        if self._steps is not None:
            self._stop()
            self._say(_("Stopped."))
        elif self._shown is not None and not self._missing() and self._match():
            matches = self._pairing.matches
            count = 0

            def announce(name: str) -> None:
                nonlocal count
                count += 1
                self._say(_("Comparing {name} ({count} of {all})…").format(name=name, count=count, all=len(matches)))

            steps = self._shown.review.compare_matches(matches)
            self._steps = Steps(steps, announce, self._compared, self._failed)
        self.update()

    def _missing(self) -> str:
        obstacle = self._shown.obstacle if self._shown is not None else _("Register first.")
        if obstacle:
            return obstacle
        return "" if all(self.nodes) else _("Choose a segmentation of each volume.")

    def _changed(self, *_args: Any) -> None:
        self._forget()
        self.update()

    def _forget(self) -> None:
        self._stop()
        self._pairing = self._comparison = None
        self._boxes = []
        self.ui.comparisonTable.setRowCount(0)
        self.ui.comparisonTable.visible = False
        self.ui.outlinesButton.checked = False
        self._say("")

    def _stop(self) -> None:
        if self._steps is not None:
            self._steps.stop()
            self._steps = None

    def _match(self) -> bool:
        """Read the structures and find out what belongs together, unless chosen by hand; False if it cannot be."""
        try:
            self._pairing = self._logic.pairing(*self.nodes, self._pairing)
        except InputError as error:
            self._say(str(error))
            return False
        return True

    def _compared(self, comparison: Any) -> None:
        self._steps, self._comparison = None, comparison
        self._fill_table()
        self._say(_("Before → after. Dice: twice the common volume over the sum of both. ASD: symmetric average "
                    "surface distance, weighted by surface area. HD95: the larger 95th percentile of the surface "
                    "distances. –: not in both."))  # fmt: skip
        self.update()

    def _failed(self, error: Exception) -> None:
        self._steps = None
        if not isinstance(error, InputError):
            logging.error("The structures could not be compared", exc_info=error)
        self._say(str(error))
        self.update()

    def _fill_table(self) -> None:
        """Fill in the figures, with a list of the moving structures in each row to correct the matching."""
        table, pairing = self.ui.comparisonTable, self._pairing
        headings = [_("Fixed"), _("Moving"), _("Dice"), _("ASD (mm)"), _("HD95 (mm)"), _("Volume (ml), fixed")]
        rows = comparison_rows(self._comparison.figures)
        table.setRowCount(0)
        table.setColumnCount(len(headings))
        table.setHorizontalHeaderLabels(headings)
        table.setRowCount(len(rows))
        self._boxes = []
        matches = [*pairing.matches, None]  # the last row is the mean
        for row, (cells, match) in enumerate(zip(rows, matches)):
            first = cells[0] if match is None or match.fixed is not None else "–"
            for column, text in ((0, first), *enumerate(cells[1:], start=2)):
                table.setItem(row, column, qt.QTableWidgetItem(text))
            if match is None:
                table.setItem(row, 1, qt.QTableWidgetItem(""))
            elif match.fixed is None:
                table.setItem(row, 1, qt.QTableWidgetItem(match.moving.name))
            else:
                table.setCellWidget(row, 1, self._partner_box(match))
        table.resizeColumnsToContents()
        table.visible = True

    def _partner_box(self, match: Any) -> Any:
        box = qt.QComboBox()
        box.addItems([_("none"), *(structure.name for structure in self._pairing.moving)])
        keys = [None, *(structure.key for structure in self._pairing.moving)]
        box.currentIndex = keys.index(match.moving.key if match.moving is not None else None)
        box.toolTip = _("Matched by: {by}").format(by=_matched_by(match.by))
        box.currentIndexChanged.connect(lambda *_args: self._choose(match.fixed.key, keys[box.currentIndex]))
        self._boxes.append(box)  # the table owns it, Python has to keep it as well
        return box

    def _choose(self, fixed_key: str, moving_key: str | None) -> None:
        self._pairing.choose(fixed_key, moving_key)
        self._say(_("The matching has changed: compare again."))
        self._comparison = None
        self.update()

    def _outline(self, *_args: Any) -> None:
        fixed, moving = self.nodes
        if not self.ui.outlinesButton.checked:
            self._attempt(lambda review: review.hide_outlines())
        elif not self._attempt(lambda review: review.outlines(fixed, moving)):
            self.ui.outlinesButton.checked = False

    def _plot(self, *_args: Any) -> None:
        chart = self._comparison.charts[max(self.ui.plotComboBox.currentIndex, 0)]
        slicer.modules.plots.logic().ShowChartInLayout(chart)

    def _copy(self, *_args: Any) -> None:
        slicer.app.clipboard().setText(text_of(self._comparison.figures))
        self._say(_("The table is on the clipboard."))

    def _export(self, *_args: Any) -> None:
        path = qt.QFileDialog.getSaveFileName(
            self.ui.comparisonTable, _("Write the table"), _("comparison") + ".csv", _("Comma-separated (*.csv)")
        )
        if not path:
            return
        try:
            self._logic.exportComparison(self._comparison.figures, path)
            self._say(_("Written: {path}").format(path=path))
        except InputError as error:
            self._say(str(error))

    def _say(self, text: str) -> None:
        self.ui.comparisonLabel.text = text
        self.ui.comparisonLabel.visible = bool(text)


def _matched_by(by: str) -> str:
    return {"name": _("name"), "terminology": _("terminology"), "label value": _("label value"),
            "hand": _("hand")}.get(by, _("nothing"))  # fmt: skip
