"""How rough a velocity field is, and how much that counts."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

BENDING = 0.67  # of second differences of the velocity against first ones
BOUND = 0.01  # of a squared difference; what is far above it is a jump, and a longer jump counts no more
ROUGH = 0.018  # of the roughness; a pair that asks for more is held back less and less


def roughness(velocity: Tensor, bound: float = inf) -> Tensor:
    """Return the mean squared first and second differences of a velocity (1, 3, D, H, W) between control points.

    All axes of the first differences are added, and `BENDING` times all pairs of axes of the second. A rotation of the
    whole does not count: it is what a rigid alignment has left, and in no way rough. In the spline steps of the
    lattice, which are almost as long along all axes, it is the antisymmetric part of the mean gradient.

    Args:
        velocity: in control steps.
        bound: a squared difference s of two control points counts s / (1 + s / bound), which never is more than it.
            Geman and McClure, Bulletin of the International Statistical Institute 52 (1987).
    """

    def counted(difference: Tensor) -> Tensor:
        square = difference.square().sum(1)
        return (square / (1 + square / bound)).mean() / 3

    differences = [velocity.diff(dim=axis) for axis in (2, 3, 4)]
    gradient = torch.stack([difference.mean((0, 2, 3, 4)) for difference in differences])
    rotation = (gradient - gradient.T) / 2
    first = [counted(difference - turn.view(1, 3, 1, 1, 1)) for difference, turn in zip(differences, rotation)]
    second = [
        (1.0 if axis == other else 2.0) * counted(difference.diff(dim=other))
        for axis, difference in zip((2, 3, 4), differences)
        for other in range(axis, 5)
        if axis != other or velocity.shape[axis] > 2  # two control points have no second difference
    ]
    return torch.stack(first).sum() + BENDING * torch.stack(second).sum()


def bounded(velocity: Tensor) -> Tensor:
    """Return the `roughness` up to `BOUND`: what glides along a wall may jump there without dragging the wall along.

    Not where a pair lies far apart: what may jump follows what lies near instead of looking for what belongs to it.
    """
    return roughness(velocity, BOUND)


def eased(velocity: Tensor) -> Tensor:
    """Return how much the `roughness` of the whole counts: all of it up to `ROUGH`, and past that its logarithm.

    The weight of smoothness is right for how much most pairs deform. Where much more is asked for, as a prior whose own
    variance is not known would say, it is the weight that is wrong.
    """
    rough = roughness(velocity)
    past = (rough / ROUGH).clamp_min(1.0)
    return rough.clamp_max(ROUGH) + ROUGH * past.log()
