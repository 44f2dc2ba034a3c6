"""The undo of a result, and «Apply to…»: putting other nodes under its transform."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..errors import InputError
from .shown_result import ShownResult


class ApplySection:
    """Nothing is hardened: nodes are put under the transform or taken out of it."""

    def __init__(self, ui: Any, logic: Any) -> None:
        self.ui, self._logic = ui, logic
        self._shown: ShownResult | None = None
        self._updating = False
        self._undo_hint = ui.registeredCheckBox.toolTip
        ui.sideComboBox.addItems([_("The moving volume (CT)"), _("The fixed volume (MR)")])
        ui.registeredCheckBox.toggled.connect(self._toggle)
        ui.applyButton.clicked.connect(self._apply)
        ui.applySelector.currentNodeChanged.connect(self.update)
        ui.sideComboBox.currentIndexChanged.connect(self.update)

    def show(self, shown: ShownResult | None) -> None:
        """Use another result from now on, or none."""
        self._shown = shown
        self.update()

    def update(self, *_args: Any) -> None:
        """Enable what can be done with the nodes that are still there."""
        ui, moving, transform = self.ui, self._node("moving"), self._node("transform")
        self._updating = True
        there = moving is not None and transform is not None
        registered = there and self._logic.isRegistered(moving, transform)
        changed = self._shown.changed if self._shown is not None else ""
        ui.registeredCheckBox.checked = registered
        ui.registeredCheckBox.enabled = there and (registered or not changed)
        ui.registeredCheckBox.toolTip = changed or self._undo_hint
        self._updating = False
        ui.applyButton.enabled = not self._missing()
        ui.applyButton.toolTip = self._missing() or _("Put it under the transform; nothing is hardened.")

    def _missing(self) -> str:
        if self._node("transform") is None:
            return _("Register first.")
        if self._shown is not None and self._shown.other_transform:
            return self._shown.other_transform
        if self.ui.sideComboBox.currentIndex == 1 and self._node("inverse") is None:
            return _("Tick «Inverse transform» under Output and register again.")
        return "" if self.ui.applySelector.currentNode() is not None else _("Choose what to apply the transform to.")

    def _node(self, role: str) -> Any:
        return self._shown.node(role) if self._shown is not None else None

    def _toggle(self, checked: bool) -> None:
        moving, transform = self._node("moving"), self._node("transform")
        if self._updating or moving is None or transform is None:
            return
        try:
            self._logic.setRegistered(moving, transform, checked)
        except InputError as error:
            self.ui.applyLabel.text = str(error)
        self.update()

    def _apply(self, *_args: Any) -> None:
        if self._missing():
            return
        role = "inverse" if self.ui.sideComboBox.currentIndex == 1 else "transform"
        node, transform = self.ui.applySelector.currentNode(), self._node(role)
        try:
            self._logic.applyTo(node, transform)
        except InputError as error:
            self.ui.applyLabel.text = str(error)
            return
        text = _("'{node}' is under '{transform}'. Take it out in the Data module to undo.")
        self.ui.applyLabel.text = text.format(node=node.GetName(), transform=transform.GetName())
        self.update()
