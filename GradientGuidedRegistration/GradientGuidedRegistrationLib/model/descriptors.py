"""Modality-independent neighbourhood descriptors: images of self-similarity that look alike in CT and in MR.

`mind` is eq. 4 of the paper (Heinrich et al. 2012); `mind_ssc` is the self-similarity context (Heinrich et al. 2013),
which compares the six neighbours with each other and not with the noisy centre. Both are differentiable in the image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from .box import box_mean, replicate
from .checks import check_same_grid, check_volume

Offset = tuple[int, int, int]

CENTRE: Offset = (0, 0, 0)
NEIGHBOURS: tuple[Offset, ...] = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))

# The pairs of patches that each channel compares, in units of the dilation, array order.
MIND_PAIRS: tuple[tuple[Offset, Offset], ...] = tuple((CENTRE, neighbour) for neighbour in NEIGHBOURS)
# The twelve pairs of neighbours that touch diagonally, in the channel order of Heinrich's own programs.
SSC_PAIRS: tuple[tuple[Offset, Offset], ...] = (
    ((1, 0, 0), (0, -1, 0)), ((0, 1, 0), (-1, 0, 0)), ((0, -1, 0), (-1, 0, 0)), ((0, 1, 0), (1, 0, 0)),
    ((0, -1, 0), (0, 0, -1)), ((0, 1, 0), (0, 0, 1)), ((0, 0, -1), (-1, 0, 0)), ((1, 0, 0), (0, 0, 1)),
    ((0, 1, 0), (0, 0, -1)), ((0, 0, 1), (0, -1, 0)), ((1, 0, 0), (0, 0, -1)), ((0, 0, 1), (-1, 0, 0)),
)  # fmt: skip

# The variance estimate is kept within these multiples of its mean over the volume, so that flat regions do not divide
# by zero.
VARIANCE_RANGE = (1e-3, 1e3)


def mind(image: Tensor, radius: int = 1, dilation: int = 1, mask: Tensor | None = None) -> Tensor:
    """Return MIND, eq. 4: exp(−D_p(I, x, x + r) / V(I, x)) for the six neighbours r at distance `dilation`.

    D_p is the mean squared difference of the patches of side 2·radius + 1, V the mean of D_p over the six neighbours.

    Args and errors: those of `mind_ssc`.

    Returns:
        (B, 6, D, H, W) in (0, 1], channels −D, +D, −H, +H, −W, +W.
    """
    return _descriptor(image, MIND_PAIRS, radius, dilation, mask, subtract_minimum=False)


def mind_ssc(image: Tensor, radius: int = 1, dilation: int = 2, mask: Tensor | None = None) -> Tensor:
    """Return MIND-SSC: exp(−(D_p − min D_p) / V) for the twelve pairs of neighbours at distance `dilation` that share
    a corner.

    Args:
        image: (B, 1, D, H, W).
        radius: patches are cubes of side 2·radius + 1 voxels.
        dilation: distance of the neighbours from the centre in voxels.
        mask: (B, 1, D, H, W), 1 where the image means something; differences with a voxel outside do not count, so
            that the rim of a field of view leaves no trace in the descriptors. Where nothing counts the descriptor is
            1.

    Returns:
        (B, 12, D, H, W) in (0, 1], channels in the order of Heinrich's programs.

    Raises:
        InputError: wrong shape or type, mask on another grid, radius below 0 or dilation below 1.
    """
    return _descriptor(image, SSC_PAIRS, radius, dilation, mask, subtract_minimum=True)


def _descriptor(image, pairs, radius, dilation, mask, subtract_minimum) -> Tensor:
    check_volume("image", image, channels=1)
    if radius < 0 or dilation < 1:
        raise InputError(f"radius must be at least 0 and dilation at least 1, but they are {radius} and {dilation}.")
    volume = image.to(torch.promote_types(image.dtype, torch.float32))
    if mask is None:
        distance = box_mean(_squared_differences(volume, pairs, dilation), radius)
        counts = None
    else:
        check_volume("mask", mask, channels=1)
        check_same_grid("image", image, "mask", mask)
        both = _products(mask.to(volume.dtype), pairs, dilation)
        distance = box_mean(_squared_differences(volume, pairs, dilation) * both, radius)
        counts = box_mean(both, radius)
        distance = distance / counts.clamp_min(1e-6)
    if subtract_minimum:
        distance = distance - distance.amin(dim=1, keepdim=True)
    variance = distance.mean(dim=1, keepdim=True)
    return torch.exp(-distance / _within_range(variance)).to(image.dtype)


def _within_range(variance: Tensor) -> Tensor:
    """Return the variance kept within `VARIANCE_RANGE` of its mean, without reading that mean back from the device."""
    mean = variance.detach().mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(torch.finfo(variance.dtype).tiny * 1e4)
    low, high = VARIANCE_RANGE
    return torch.minimum(torch.maximum(variance, mean * low), mean * high)


def _squared_differences(volume: Tensor, pairs: tuple[tuple[Offset, Offset], ...], dilation: int) -> Tensor:
    """Return (I(x + a·dilation) − I(x + b·dilation))² for each pair (a, b), (B, len(pairs), D, H, W)."""
    shifted = _Shifted(volume, dilation)
    return torch.cat([shifted[a] - shifted[b] for a, b in pairs], dim=1).square()


def _products(volume: Tensor, pairs: tuple[tuple[Offset, Offset], ...], dilation: int) -> Tensor:
    """Return I(x + a·dilation) · I(x + b·dilation) for each pair (a, b), (B, len(pairs), D, H, W)."""
    shifted = _Shifted(volume, dilation)
    return torch.cat([shifted[a] * shifted[b] for a, b in pairs], dim=1)


class _Shifted:
    """The views I(x + offset·dilation) of one padded volume; the border value goes on outside."""

    def __init__(self, volume: Tensor, dilation: int) -> None:
        self.shape, self.dilation, self.padded = volume.shape[2:], dilation, volume
        for axis in (4, 3, 2):
            self.padded = replicate(self.padded, axis, dilation)

    def __getitem__(self, offset: Offset) -> Tensor:
        view = self.padded
        for axis, (step, size) in enumerate(zip(offset, self.shape)):
            view = view.narrow(axis + 2, (step + 1) * self.dilation, size)
        return view
