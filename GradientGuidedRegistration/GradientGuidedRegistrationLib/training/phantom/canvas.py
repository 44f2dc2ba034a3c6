"""Tissue and label maps, painted one shape over the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .tissues import INDEX, LABELS, TISSUES


class Canvas:
    """Two maps over the same points: `tissue` (index into TISSUES) and `label` (index into LABELS), both uint8.

    `points` (3, D, H, W) are the body coordinates that `window` goes by.
    """

    def __init__(self, points: torch.Tensor, tissue: torch.Tensor | None = None, label: torch.Tensor | None = None):
        self.points = points
        self.tissue = (
            torch.zeros(points.shape[1:], dtype=torch.uint8, device=points.device) if tissue is None else tissue
        )
        self.label = torch.zeros_like(self.tissue) if label is None else label
        self._reach: list[tuple[torch.Tensor, torch.Tensor]] | None = None

    def paint(
        self, distance: torch.Tensor, tissue: str, label: str | None = None, where: torch.Tensor | None = None
    ) -> None:
        """Fill the inside of a shape (negative `distance`) with a tissue; `label` defaults to the tissue's own."""
        inside = distance < 0
        if where is not None:
            inside &= where
        index = INDEX[tissue]
        self.tissue.masked_fill_(inside, index)
        self.label.masked_fill_(inside, LABELS.index(label or TISSUES[index].label))

    def is_tissue(self, *names: str) -> torch.Tensor:
        """Where one of the named tissues has been painted so far."""
        found = self.tissue == INDEX[names[0]]
        for name in names[1:]:
            found |= self.tissue == INDEX[name]
        return found

    def window(self, low: Sequence[float], high: Sequence[float], *fields: torch.Tensor) -> tuple[Any, ...]:
        """The part of the canvas that holds all points of a box (body units), its points, and that part of `fields`.

        Painting on the part paints on the whole. Small shapes need not be evaluated on the whole volume this way.
        """
        if self._reach is None:
            self._reach = [
                (
                    self.points[a].amin([b for b in range(3) if b != a]).cpu(),
                    self.points[a].amax([b for b in range(3) if b != a]).cpu(),
                )
                for a in range(3)
            ]
        ranges = []
        for (smallest, largest), start, end in zip(self._reach, low, high):
            found = ((largest >= start) & (smallest <= end)).nonzero()
            ranges.append(slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 1))
        part: Any = (..., *ranges)
        return (
            Canvas(self.points[part], self.tissue[part], self.label[part]),
            self.points[part],
            *(f[part] for f in fields),
        )
