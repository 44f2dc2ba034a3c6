"""«Landmarks»: the error of pairs of points before and after, where there are point lists."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import InputError
from .shown_result import ShownResult


class LandmarksSection:
    """Shown where the scene has point lists. The n-th point of one list belongs to the n-th of the other."""

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self._shown: ShownResult | None = None
        for selector in (ui.fixedPointsSelector, ui.movingPointsSelector):
            selector.currentNodeChanged.connect(self._changed)
        ui.landmarksButton.clicked.connect(self._measure)
        self.show(None)

    def show(self, shown: ShownResult | None) -> None:
        """Measure another result from now on, or none."""
        self._shown = shown
        self._changed()

    def update(self) -> None:
        """Show the section where there is something to measure, and enable what can be done."""
        missing = self._missing()
        self.ui.landmarksGroupBox.visible = bool(slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode"))
        self.ui.landmarksButton.enabled = not missing
        self.ui.landmarksButton.toolTip = missing or _("How far the landmarks are apart, before and after, in mm.")

    def _missing(self) -> str:
        obstacle = self._shown.obstacle if self._shown is not None else _("Register first.")
        if obstacle:
            return obstacle
        fixed, moving = self.ui.fixedPointsSelector.currentNode(), self.ui.movingPointsSelector.currentNode()
        if fixed is None or moving is None:
            return _("Choose a point list of each volume.")
        return _("Choose two different point lists.") if fixed is moving else ""

    def _changed(self, *_args: Any) -> None:
        self._say("")
        self.update()

    def _measure(self, *_args: Any) -> None:
        if self._shown is None or self._missing():
            self.update()
            return
        points = self.ui.fixedPointsSelector.currentNode(), self.ui.movingPointsSelector.currentNode()
        try:
            table, errors = self._shown.review.landmarks(*points)
        except InputError as error:
            self._say(str(error))
            return
        before, after = errors.mean(axis=0)
        text = _("Error of {count} landmarks: {before:.1f} mm before, {after:.1f} mm after on average, {most:.1f} mm "
                 "at most. Each is in the table «{table}».")  # fmt: skip
        text = text.format(
            count=len(errors), before=before, after=after, most=errors[:, 1].max(), table=table.GetName()
        )
        left_out = max(node.GetNumberOfControlPoints() for node in points) - len(errors)
        if left_out:
            text += " " + _("Left out, since not placed in both lists: {count}.").format(count=left_out)
        self._say(text)

    def _say(self, text: str) -> None:
        self.ui.landmarksLabel.text = text
        self.ui.landmarksLabel.visible = bool(text)
