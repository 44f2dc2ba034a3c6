"""Modality-independent neighbourhood descriptors: images of self-similarity that look alike in CT and in MR.

`mind` is eq. 4 of the paper (Heinrich et al. 2012); `mind_ssc` is the self-similarity context (Heinrich et al. 2013),
which compares the six neighbours with each other and not with the noisy centre. Both are differentiable in the image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .box import box_mean, replicate
from .checks import check_same_grid, check_volume
from .patch_distances import LEAST_WEIGHT, Offset, Pairs
from .self_similarity import Descriptor, variance_within_range

CENTRE: Offset = (0, 0, 0)
NEIGHBOURS: tuple[Offset, ...] = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))

# The pairs of patches that each channel compares, in units of the dilation, array order.
MIND_PAIRS: Pairs = tuple((CENTRE, neighbour) for neighbour in NEIGHBOURS)
# The twelve pairs of neighbours that touch diagonally, in the channel order of Heinrich's own programs.
SSC_PAIRS: Pairs = (
    ((1, 0, 0), (0, -1, 0)), ((0, 1, 0), (-1, 0, 0)), ((0, -1, 0), (-1, 0, 0)), ((0, 1, 0), (1, 0, 0)),
    ((0, -1, 0), (0, 0, -1)), ((0, 1, 0), (0, 0, 1)), ((0, 0, -1), (-1, 0, 0)), ((1, 0, 0), (0, 0, 1)),
    ((0, 1, 0), (0, 0, -1)), ((0, 0, 1), (0, -1, 0)), ((1, 0, 0), (0, 0, -1)), ((0, 0, 1), (-1, 0, 0)),
)  # fmt: skip


def mind_descriptor(radius: int = 1, dilation: int = 1) -> Descriptor:
    """Return MIND as an object, whose `difference` is the paper's similarity."""
    return Descriptor(MIND_PAIRS, radius, dilation, subtract_minimum=False)


def mind_ssc_descriptor(radius: int = 1, dilation: int = 2) -> Descriptor:
    """Return MIND-SSC as an object, whose `difference` is the similarity that replaces the paper's by default."""
    return Descriptor(SSC_PAIRS, radius, dilation, subtract_minimum=True)


DESCRIPTORS: dict[str, Callable[..., Descriptor]] = {"mind": mind_descriptor, "mind-ssc": mind_ssc_descriptor}


def mind(image: Tensor, radius: int = 1, dilation: int = 1, mask: Tensor | None = None) -> Tensor:
    """Return MIND, eq. 4: exp(−D_p(I, x, x + r) / V(I, x)) for the six neighbours r at distance `dilation`.

    D_p is the mean squared difference of the patches of side 2·radius + 1, V the mean of D_p over the six neighbours.

    Args and errors: those of `mind_ssc`.

    Returns:
        (B, 6, D, H, W) in (0, 1], channels −D, +D, −H, +H, −W, +W.
    """
    return _describe(image, mind_descriptor(radius, dilation), mask)


def mind_ssc(image: Tensor, radius: int = 1, dilation: int = 2, mask: Tensor | None = None) -> Tensor:
    """Return MIND-SSC: exp(−(D_p − min D_p) / V) for the twelve pairs of neighbours that are not opposite.

    Args:
        image: (B, 1, D, H, W).
        radius: patches are cubes of side 2·radius + 1 voxels.
        dilation: distance of the neighbours from the centre in voxels.
        mask: (B, 1, D, H, W), 1 where the image means something. Differences with a voxel outside do not count, so
            the rim of a field of view leaves no trace in the descriptors; where nothing counts they are 1.

    Returns:
        (B, 12, D, H, W) in (0, 1], channels in the order of Heinrich's programs.

    Raises:
        InputError: wrong shape or type, mask on another grid, radius below 0 or dilation below 1.
    """
    return _describe(image, mind_ssc_descriptor(radius, dilation), mask)


def _describe(image: Tensor, descriptor: Descriptor, mask: Tensor | None) -> Tensor:
    check_volume("image", image, channels=1)
    volume = image.to(torch.promote_types(image.dtype, torch.float32))
    if mask is None:
        return descriptor(volume).to(image.dtype)
    check_volume("mask", mask, channels=1)
    check_same_grid("image", image, "mask", mask)
    differentiable = torch.is_grad_enabled() and (volume.requires_grad or mask.requires_grad)
    describe = describe_step_by_step if differentiable else Descriptor.inside
    return describe(descriptor, volume, mask.to(volume.dtype)).to(image.dtype)


def describe_step_by_step(descriptor: Descriptor, volume: Tensor, mask: Tensor) -> Tensor:
    """`Descriptor.inside` as its formula, one step a line, which PyTorch differentiates."""
    pairs, dilation = descriptor.pairs, descriptor.dilation
    weight = _products(mask, pairs, dilation)
    distance = box_mean(_squared_differences(volume, pairs, dilation) * weight, descriptor.radius)
    distance = distance / box_mean(weight, descriptor.radius).clamp_min(LEAST_WEIGHT)
    if descriptor.subtract_minimum:
        distance = distance - distance.amin(dim=1, keepdim=True)
    return torch.exp(-distance / variance_within_range(distance.mean(dim=1, keepdim=True)))


def _squared_differences(volume: Tensor, pairs: Pairs, dilation: int) -> Tensor:
    """Return (I(x + a·dilation) − I(x + b·dilation))² for each pair (a, b), (B, len(pairs), D, H, W)."""
    shifted = _Shifted(volume, dilation)
    return torch.cat([shifted[a] - shifted[b] for a, b in pairs], dim=1).square()


def _products(volume: Tensor, pairs: Pairs, dilation: int) -> Tensor:
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
