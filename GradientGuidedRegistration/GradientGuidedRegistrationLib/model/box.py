"""Mean over a cube of voxels, one axis after the other, and the transpose of it."""

from __future__ import annotations

import torch
from torch import Tensor


def box_mean(volume: Tensor, radius: int) -> Tensor:
    """Return the mean over the cube of side 2·radius + 1 around each voxel of (B, C, D, H, W).

    The border value goes on outside. Three sums along an axis cost 6·radius additions, one over the cube
    (2·radius + 1)³.
    """
    for axis in (4, 3, 2):
        volume = box_sum_along(volume, axis, radius)
    return volume / (2 * radius + 1) ** 3


def box_sum_along(volume: Tensor, axis: int, radius: int) -> Tensor:
    """Return the sum over 2·radius + 1 neighbours along `axis`; the border value goes on outside."""
    size = volume.shape[axis]
    padded = replicate(volume, axis, radius)
    total = padded.narrow(axis, 0, size) + padded.narrow(axis, 1, size) if radius else padded
    for offset in range(2, 2 * radius + 1):
        total = total + padded.narrow(axis, offset, size)
    return total


def replicate(volume: Tensor, axis: int, width: int) -> Tensor:
    """Return `volume` with its first and last slice along `axis` repeated `width` times."""
    if width == 0:
        return volume
    size = volume.shape[axis]
    sides = list(volume.shape)
    sides[axis] = width
    first = volume.narrow(axis, 0, 1).expand(sides)
    last = volume.narrow(axis, size - 1, 1).expand(sides)
    return torch.cat([first, volume, last], dim=axis)
