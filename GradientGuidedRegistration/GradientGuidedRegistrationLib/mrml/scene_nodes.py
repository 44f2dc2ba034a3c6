"""The nodes of a scene."""

from __future__ import annotations

from typing import Any


def nodes_of_class(scene: Any, class_name: str) -> list[Any]:
    """Return the nodes of a class, and of those derived from it, in the order of the scene.

    `slicer.util.getNodesByClass` looks into the application's scene, whichever it is given.
    """
    return [scene.GetNthNodeByClass(index, class_name) for index in range(scene.GetNumberOfNodesByClass(class_name))]
