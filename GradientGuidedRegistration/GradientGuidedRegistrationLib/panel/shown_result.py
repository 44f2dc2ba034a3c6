"""One result that the panel can show: its nodes, by ID since they may be gone at any time, and how to look at it."""

from __future__ import annotations

from typing import Any

import slicer


class ShownResult:
    """A registration that has ended.

    Args:
        nodes: `RegisteredNodes`.
        fixedNode, movingNode: the volumes that were registered.
        logic: makes the review.
    """

    def __init__(self, nodes: Any, fixedNode: Any, movingNode: Any, logic: Any) -> None:
        self.result = nodes.result
        self.title = nodes.transform.GetName()
        self._logic = logic
        self._review: Any = None
        roles = {"fixed": fixedNode, "moving": movingNode, "transform": nodes.transform,
                 "inverse": nodes.inverseTransform}  # fmt: skip
        self._ids = {role: node.GetID() for role, node in roles.items() if node is not None}

    def node(self, role: str) -> Any:
        """The node "fixed", "moving", "transform" or "inverse"; None if it is not there, or not any more."""
        return slicer.mrmlScene.GetNodeByID(self._ids[role]) if role in self._ids else None

    @property
    def can_be_looked_at(self) -> bool:
        """Whether both volumes are still in the scene."""
        return self.node("fixed") is not None and self.node("moving") is not None

    @property
    def review(self) -> Any:
        """The `mrml.Review` of this result, begun when it is first asked for."""
        if self._review is None:
            self._review = self._logic.review(self.result, self.node("fixed"), self.node("moving"))
        return self._review

    def close(self) -> None:
        """Take what was made for looking out of the scene, and show what was shown before."""
        review, self._review = self._review, None
        if review is not None:
            review.close()
