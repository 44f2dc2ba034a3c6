"""Tissue and label maps, painted one shape over the other."""

from __future__ import annotations

import torch

from .tissues import INDEX, LABELS, TISSUES


class Canvas:
    """Two maps over the same points: `tissue` (index into TISSUES) and `label` (index into LABELS), both (D, H, W) uint8."""

    def __init__(self, points: torch.Tensor):
        self.tissue = torch.zeros(points.shape[1:], dtype=torch.uint8, device=points.device)
        self.label = torch.zeros_like(self.tissue)

    def paint(self, distance: torch.Tensor, tissue: str, label: str | None = None, where: torch.Tensor | None = None) -> None:
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
