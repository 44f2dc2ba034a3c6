"""Lets the keyboard reach what Slicer's widgets keep from it."""

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
