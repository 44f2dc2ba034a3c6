"""Scalar fields kept on a lattice in body units and read at any point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Lattice:
    """Values (1, C, d, h, w) from `low` to `high` (z, y, x in body units); outside, the border value goes on."""

    values: torch.Tensor
    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """Trilinear values (C, D, H, W) at `points` (3, D, H, W)."""
        axes = [2.0 * (points[i] - self.low[i]) / (self.high[i] - self.low[i]) - 1.0 for i in (2, 1, 0)]
        grid = torch.stack(axes, dim=-1).unsqueeze(0)
        return F.grid_sample(self.values, grid, mode="bilinear", padding_mode="border", align_corners=True)[0]


def tabulate(
    function: Callable[[torch.Tensor], torch.Tensor],
    low: Sequence[float],
    high: Sequence[float],
    size: int,
    device: torch.device,
) -> Lattice:
    """Evaluate `function` once on a lattice of about `size` points along the longest side of the box."""
    longest = max(b - a for a, b in zip(low, high))
    counts = [max(4, int(round(size * (b - a) / longest))) for a, b in zip(low, high)]
    axes = [torch.linspace(a, b, n, device=device) for a, b, n in zip(low, high, counts)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return Lattice(function(points)[None, None], tuple(low), tuple(high))  # type: ignore[arg-type]
