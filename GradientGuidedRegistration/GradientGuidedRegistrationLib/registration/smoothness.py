"""How rough a velocity field is, and how much that counts."""

from __future__ import annotations

import torch
from torch import Tensor

BENDING = 0.67  # of second differences of the velocity against first ones
ROUGH = 0.018  # of the roughness; a pair that asks for more is held back less and less


def roughness(velocity: Tensor) -> Tensor:
    """Return the mean squared first and second differences of a velocity (1, 3, D, H, W) between control points.

    All axes of the first differences are added, and `BENDING` times all pairs of axes of the second. A rotation of the
    whole does not count: it is what a rigid alignment has left, and in no way rough. In the spline steps of the
    lattice, which are almost as long along all axes, it is the antisymmetric part of the mean gradient.
    """
    differences = [velocity.diff(dim=axis) for axis in (2, 3, 4)]
    gradient = torch.stack([difference.mean((0, 2, 3, 4)) for difference in differences])
    rotation = (gradient - gradient.T) / 2
    squares = torch.stack([difference.square().mean() for difference in differences])
    second = [
        (1.0 if axis == other else 2.0) * difference.diff(dim=other).square().mean()
        for axis, difference in zip((2, 3, 4), differences)
        for other in range(axis, 5)
        if axis != other or velocity.shape[axis] > 2  # two control points have no second difference
    ]
    return squares.sum() - rotation.square().sum() / 3 + BENDING * torch.stack(second).sum()


def eased(rough: Tensor) -> Tensor:
    """Return how much a `roughness` counts: all of it up to `ROUGH`, and past that its logarithm.

    The weight of smoothness is right for how much most pairs deform. Where much more is asked for, as a prior whose own
    variance is not known would say, it is the weight that is wrong.
    """
    past = (rough / ROUGH).clamp_min(1.0)
    return rough.clamp_max(ROUGH) + ROUGH * past.log()
