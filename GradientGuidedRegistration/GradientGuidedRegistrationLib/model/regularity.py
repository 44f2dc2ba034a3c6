"""How rough a displacement is: eq. 3 of the paper, and the mean of squares that VoxelMorph's programs use for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .checks import check_displacement


def mean_squared_gradient(displacement: Tensor) -> Tensor:
    """Return the mean of squared forward differences over the voxels, components and axes of (B, 3, D, H, W).

    A scalar that does not depend on the size of the volume. An axis of one voxel counts as smooth.
    """
    check_displacement("displacement", displacement)
    differences = [displacement.diff(dim=axis) for axis in (2, 3, 4) if displacement.shape[axis] > 1]
    return sum((difference.square().mean() for difference in differences), displacement.new_zeros(())) / 3


def sum_of_gradient_norms(displacement: Tensor) -> Tensor:
    """Return eq. 3 to the letter, Σ_x ‖∇φ(x)‖₂, averaged over the batch of (B, 3, D, H, W).

    Forward differences, zero beyond the far border. It grows with the number of voxels: 2.65 million of them drown a
    similarity that is below 1.
    """
    check_displacement("displacement", displacement)
    differences = [
        displacement.diff(dim=axis, append=displacement.narrow(axis, displacement.shape[axis] - 1, 1))
        for axis in (2, 3, 4)
    ]
    return torch.linalg.vector_norm(torch.cat(differences, dim=1), dim=1).sum() / displacement.shape[0]


REGULARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean-squared": mean_squared_gradient,
    "sum-of-norms": sum_of_gradient_norms,
}
