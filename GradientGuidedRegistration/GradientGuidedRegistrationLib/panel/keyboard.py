"""Small repairs of how Slicer treats the widgets of a module."""

from __future__ import annotations

from typing import Any

import qt


def reach_node_selectors(ui: Any) -> None:
    """Let Tab and the keys of labels lead into node selectors.

    A `qMRMLNodeComboBox` takes the focus from the list inside of it and refuses it itself.
    """
    for selector in [widget for widget in vars(ui).values() if hasattr(widget, "currentNode")]:
        for inner in [child for child in selector.children() if child.inherits("QComboBox")]:
            inner.setFocusProxy(None)
            selector.setFocusProxy(inner)
            selector.setFocusPolicy(qt.Qt.StrongFocus)


def leave_layout(panel: Any) -> None:
    """Let go of the place in Slicer's module panel, just before Slicer takes the panel out of it.

    Slicer takes the place out and never deletes it. Qt then goes on with the heights that the panel had once, and texts
    that wrap are drawn over each other when the module is shown again. Slicer takes out an empty widget instead.
    """
    parent = panel.parentWidget() if panel is not None else None
    layout = parent.layout() if parent is not None else None
    index = layout.indexOf(panel) if layout is not None and hasattr(layout, "insertWidget") else -1
    if index < 0:
        return
    empty = qt.QWidget(parent)
    layout.removeWidget(panel)
    layout.insertWidget(index, empty)
    qt.QTimer.singleShot(0, empty.deleteLater)
