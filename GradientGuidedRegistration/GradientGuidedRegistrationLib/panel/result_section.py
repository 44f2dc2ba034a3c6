"""The section «Check the result»: what the registration says of itself, the undo, and «Apply to…»."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import InputError


class ResultSection:
    """Shows the last result of the current parameter set. Nodes by ID: they may be gone at any time."""

    def __init__(self, ui: Any, logic: Any) -> None:
        self.ui, self.logic = ui, logic
        self._ids: dict[str, str] = {}
        self._updating = False
        ui.sideComboBox.addItems([_("The moving volume (CT)"), _("The fixed volume (MR)")])
        ui.registeredCheckBox.toggled.connect(self._toggle)
        ui.applyButton.clicked.connect(self._apply)
        ui.applySelector.currentNodeChanged.connect(self.update)
        ui.sideComboBox.currentIndexChanged.connect(self.update)

    def show(self, nodes: Any, movingNode: Any) -> None:
        """Take over the nodes of a registration that has just ended."""
        roles = {"moving": movingNode, "transform": nodes.transform, "inverse": nodes.inverseTransform}
        self._ids = {role: node.GetID() for role, node in roles.items() if node is not None}
        self.ui.resultLabel.text = summary(nodes.result.quality, nodes.result.settings.device)
        self.ui.checkCollapsibleButton.collapsed = False
        self.update()

    def clear(self) -> None:
        """There is no result: the scene was closed."""
        self._ids = {}
        self.ui.resultLabel.text = _("No registration yet.")
        self.update()

    def update(self, *_args: Any) -> None:
        """Enable what can be done with the nodes that are still there."""
        ui, moving, transform = self.ui, self._node("moving"), self._node("transform")
        self._updating = True
        ui.registeredCheckBox.enabled = moving is not None and transform is not None
        ui.registeredCheckBox.checked = ui.registeredCheckBox.enabled and self.logic.isRegistered(moving, transform)
        self._updating = False
        ui.applyButton.enabled = not self._missing()
        ui.applyButton.toolTip = self._missing() or _("Put it under the transform; nothing is hardened.")

    def _missing(self) -> str:
        if self._node("transform") is None:
            return _("Register first.")
        if self.ui.sideComboBox.currentIndex == 1 and self._node("inverse") is None:
            return _("Tick «Inverse transform» under Output and register again.")
        return "" if self.ui.applySelector.currentNode() is not None else _("Choose what to apply the transform to.")

    def _node(self, role: str) -> Any:
        return slicer.mrmlScene.GetNodeByID(self._ids[role]) if role in self._ids else None

    def _toggle(self, checked: bool) -> None:
        moving, transform = self._node("moving"), self._node("transform")
        if not self._updating and moving is not None and transform is not None:
            self.logic.setRegistered(moving, transform, checked)

    def _apply(self, *_args: Any) -> None:
        if self._missing():
            return
        role = "inverse" if self.ui.sideComboBox.currentIndex == 1 else "transform"
        node, transform = self.ui.applySelector.currentNode(), self._node(role)
        try:
            self.logic.applyTo(node, transform)
        except InputError as error:
            self.ui.resultLabel.text = str(error)
            return
        text = _("'{node}' is under '{transform}'. Take it out in the Data module to undo.")
        self.ui.resultLabel.text = text.format(node=node.GetName(), transform=transform.GetName())
        self.update()


def summary(quality: dict[str, Any], device: str) -> str:
    """The figures that a registration gives about itself, with their units."""
    lengths = quality.get("displacement_mm", {"mean": 0.0, "max": 0.0})
    figures = {"folding": quality.get("folding_percent", 0.0), **lengths}
    information = quality.get("mutual_information")
    lines = [
        _("Displacement: {mean:.1f} mm on average, {max:.1f} mm at most.").format(**figures),
        _("Folding: {folding:.2f} % of the volume. Computed on: {device}.").format(**figures, device=device),
    ]
    if information:
        lines.append(_("Mutual information: {before:.3f} before, {after:.3f} after.").format(**information))
    lines.append(_("Look at the borders of the organs before you use it."))
    return "\n".join(lines)
