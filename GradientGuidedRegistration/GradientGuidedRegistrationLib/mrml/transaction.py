"""Changes of the scene that happen whole or not at all, and nodes that go without leaving anything behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def all_or_nothing(scene: Any) -> Iterator[None]:
    """On an error, whatever it is, every node that the block added to the scene is taken out again.

    For code on the main thread that only adds nodes; changes to nodes that were there before are the caller's to undo.
    """
    before = set(_nodes(scene))
    try:
        yield
    except BaseException:
        added = [node for node in _nodes(scene) if node not in before]
        for node in reversed(added):
            if scene.IsNodePresent(node):  # removing one may have taken its display or storage node along
                scene.RemoveNode(node)
        raise


def remove_node(node: Any, scene: Any) -> None:
    """Take a displayable node out of the scene with its display nodes, which the scene itself would keep.

    The colour nodes that transforms make for their display go as well.
    """
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    colours = [display.GetColorNode() for display in displays if display is not None]
    scene.RemoveNode(node)
    for other in [*displays, *(colour for colour in colours if colour is not None and _is_own(colour))]:
        if other is not None and scene.IsNodePresent(other):
            scene.RemoveNode(other)


def _is_own(colour: Any) -> bool:
    return colour.IsA("vtkMRMLProceduralColorNode") and colour.GetSingletonTag() is None


def _nodes(scene: Any) -> list[Any]:
    return [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
