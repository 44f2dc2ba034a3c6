"""One result that the panel can show: its nodes, by ID since they may be gone at any time, and how to look at it."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import InputError


class ShownResult:
    """A registration that has ended.

    Args:
        nodes: `RegisteredNodes`.
        logic: makes the review.
    """

    def __init__(self, nodes: Any, logic: Any) -> None:
        from .. import mrml

        self.result = nodes.result
        self._watch = mrml.PairWatch.of(nodes.transform)
        self._title = nodes.transform.GetName()
        self._logic = logic
        self._review: Any = None
        fixedNode, movingNode = mrml.registered_pair(nodes.transform)
        roles = {"fixed": fixedNode, "moving": movingNode, "transform": nodes.transform,
                 "inverse": nodes.inverseTransform}  # fmt: skip
        self._ids = {role: node.GetID() for role, node in roles.items() if node is not None}

    def node(self, role: str) -> Any:
        """The node "fixed", "moving", "transform" or "inverse"; None if it is not there, or not any more."""
        return slicer.mrmlScene.GetNodeByID(self._ids[role]) if role in self._ids else None

    @property
    def title(self) -> str:
        """The name of the transform, its last one if it is gone."""
        transform = self.node("transform")
        if transform is not None:
            self._title = transform.GetName()
        return self._title

    @property
    def transform_id(self) -> str:
        """The ID of the transform node that the result is in."""
        return self._ids["transform"]

    @property
    def is_shown(self) -> bool:
        """Whether there is something for `close` to take away."""
        return self._review is not None

    @property
    def can_be_looked_at(self) -> bool:
        """Whether both volumes are still in the scene, and as they were when they were registered."""
        return not self.obstacle

    @property
    def obstacle(self) -> str:
        """Why this result cannot be looked at any more, as a sentence; empty if it can."""
        if self.node("fixed") is None or self.node("moving") is None:
            return _("A volume of this result is not in the scene any more.")
        return self.changed

    @property
    def changed(self) -> str:
        """What was changed since the registration, and what to do; empty if nothing was."""
        if self.other_transform:
            return self.other_transform
        try:
            self._watch.check(self.node("fixed"), self.node("moving"))
        except InputError as error:
            return str(error)
        return ""

    @property
    def other_transform(self) -> str:
        """That the transform is not that of the registration any more, and what to do; empty if it is, or is gone."""
        from .. import mrml

        transform = self.node("transform")
        if transform is None or mrml.holds_field(transform):
            return ""
        text = _(
            "The transform '{name}' was inverted or changed: it is no result any more. Undo that, or register again."
        )
        return text.format(name=transform.GetName())

    @property
    def review(self) -> Any:
        """The `mrml.Review` of this result, begun when it is first asked for."""
        if self._review is None:
            self._review = self._logic.review(self.result, self.node("fixed"), self.node("moving"))
        return self._review

    @property
    def made(self) -> list[str]:
        """The IDs of the nodes that were made for looking."""
        return self._review.made if self._review is not None else []

    def close(self) -> None:
        """Take what was made for looking out of the scene, and show what was shown before."""
        review, self._review = self._review, None
        if review is not None:
            review.close()
