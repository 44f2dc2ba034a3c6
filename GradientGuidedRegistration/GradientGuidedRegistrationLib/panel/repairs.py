"""Small repairs of how Slicer treats the widgets of a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import vtk


def node_selectors(ui: Any) -> list[Any]:
    """Every `qMRMLNodeComboBox` of the panel."""
    return [widget for widget in vars(ui).values() if hasattr(widget, "currentNode")]


def hide_from_selectors(ui: Any, node_ids: Sequence[str]) -> None:
    """Leave nodes out of the panel's lists that the slice views have to list: volumes that are made for looking."""
    for selector in node_selectors(ui):
        model = selector.sortFilterProxyModel()
        if list(model.hiddenNodeIDs) != list(node_ids):
            model.hiddenNodeIDs = list(node_ids)


def letting_go(ui: Any) -> Callable[..., None]:
    """An observer of nodes that are about to leave the scene: where one of them is chosen, nothing is from then on.

    Slicer's lists would choose its neighbour: a volume of the user's might then be registered, or overwritten.
    """

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def let_go(caller: Any, event: Any, node: Any) -> None:
        for selector in node_selectors(ui):
            if selector.noneEnabled and selector.currentNode() is node:
                selector.setCurrentNode(None)

    return let_go


def reach_node_selectors(ui: Any) -> None:
    """Let Tab and the keys of labels lead into node selectors.

    A `qMRMLNodeComboBox` takes the focus from the list inside of it and refuses it itself.
    """
    for selector in node_selectors(ui):
        for inner in [child for child in selector.children() if child.inherits("QComboBox")]:
            inner.setFocusProxy(None)
            selector.setFocusProxy(inner)
            selector.setFocusPolicy(qt.Qt.StrongFocus)


def tell_every_path(edit: Any, action: Callable[[str], None]) -> None:
    """Call `action` with each path of a `ctkPathLineEdit`, also with none, of which the widget itself says nothing."""
    inner = [child for box in (edit, *edit.children()) for child in box.children()]
    for line in [child for child in inner if child.inherits("QLineEdit")]:
        line.textChanged.connect(lambda *_args: action(edit.currentPath))


def leave_layout(panel: Any) -> None:
    """Let go of the place in Slicer's module panel, just before Slicer takes the panel out of it.

    Slicer takes the place out and never deletes it. Qt then goes on with the heights that the panel had once, and texts
    that wrap are drawn over each other when the module is shown again. Slicer takes out an empty widget instead.
    """
    parent = panel.parentWidget() if panel is not None else None
    layout = parent.layout() if parent is not None else None
    if layout is None or not hasattr(layout, "insertWidget") or layout.indexOf(panel) < 0:
        return
    index, empty = layout.indexOf(panel), qt.QWidget(parent)
    layout.removeWidget(panel)
    layout.insertWidget(index, empty)
    qt.QTimer.singleShot(0, empty.deleteLater)
