"""Blobs of every size with random contrast, from which a network learns edges and not anatomy.

After the idea of SynthMorph (Hoffmann et al., IEEE TMI 2022): the label at a point is the strongest of several smooth
noise fields.
"""

from __future__ import annotations

import torch

from .canvas import Canvas
from .draws import Draws
from .lattice import Lattice


class RandomShapes:
    """One set of shapes. `RandomShapes(draws).paint(points)` gives tissue = label = index of the shape."""

    def __init__(self, draws: Draws):
        self.count = draws.integer(8, 16)
        self.fields = []
        for _ in range(self.count):
            knots = draws.choice((6, 9, 14, 20))
            size = min(3 * knots, 64)
            self.fields.append(Lattice(draws.smooth(1, knots, (size, size, size)), (-1.3,) * 3, (1.3,) * 3))

    def paint(self, points: torch.Tensor) -> Canvas:
        """Tissue and label at `points` (3, D, H, W) in body units."""
        canvas = Canvas(points)
        best = torch.full_like(points[0], -1e9)
        for index, field in enumerate(self.fields):
            value = field(points)[0]
            better = value > best
            best = torch.where(better, value, best)
            canvas.tissue.masked_fill_(better, index)
        canvas.label.copy_(canvas.tissue)
        return canvas
