"""Several passes of one network, coarse to fine: motion that is too large for one look at the full resolution."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from .fields import compose, resize
from .network import Prediction, RegistrationNetwork
from .transformer import warp

_BRANCHES = ("image_displacement", "gradient_displacement")
_SMALLEST = 16  # voxels along the shortest axis of a coarse pass; a smaller volume is looked at as it is


def register_in_passes(
    network: RegistrationNetwork, moving: Tensor, fixed: Tensor, to_full_resolution: bool = True
) -> Prediction:
    """Predict at each coarse resolution of `network.coarse_passes` and then at the full one.

    Each pass sees what those before it have left of the difference.

    Args:
        moving, fixed: (B, C, D, H, W) in [0, 1], as for the network itself.
        to_full_resolution: False leaves out the last pass, by far the longest, where there is a coarse one.

    Returns:
        The prediction of the last pass. Its displacement is on the grid of the images, in their voxels; those of its
        branches, and its gates and gradient maps, are on the grid that it looked at. All displacements contain the
        passes before; gates and gradient maps are those of what it saw.
    """
    size = fixed.shape[2:]
    factors = [factor for factor in network.coarse_passes if min(size) // factor >= _SMALLEST]
    if to_full_resolution or not factors:
        factors.append(1)
    before: Tensor | None = None
    for factor in factors[:-1]:
        coarse = network(shrunk(_moved(moving, before), factor), shrunk(fixed, factor)).displacement
        before = _after(before, enlarged(coarse, size, factor))
    last = factors[-1]
    seen = network(shrunk(_moved(moving, before), last), shrunk(fixed, last))
    there = None if before is None else shrunk(before, last) / last
    branches = {name: _after(there, value) for name in _BRANCHES if (value := getattr(seen, name)) is not None}
    return replace(seen, displacement=_after(before, enlarged(seen.displacement, size, last)), **branches)


def _moved(moving: Tensor, before: Tensor | None) -> Tensor:
    return moving if before is None else warp(moving, before)


def _after(before: Tensor | None, displacement: Tensor) -> Tensor:
    return displacement if before is None else compose(before, displacement)


def shrunk(volume: Tensor, factor: int) -> Tensor:
    """Average (B, C, D, H, W) over cubes of `factor` voxels; the border value goes on where the last are incomplete."""
    if factor == 1:
        return volume
    missing = [-n % factor for n in volume.shape[2:]]
    if any(missing):
        volume = F.pad(volume, [0, missing[2], 0, missing[1], 0, missing[0]], mode="replicate")
    return F.avg_pool3d(volume, factor)


def enlarged(displacement: Tensor, shape: tuple[int, ...], factor: int) -> Tensor:
    """Bring a displacement between volumes that were `shrunk` onto their own grid of `shape` voxels, in its voxels."""
    if factor == 1:
        return displacement
    whole = resize(displacement, [size * factor for size in displacement.shape[2:]], align_corners=False)
    return whole[:, :, : shape[0], : shape[1], : shape[2]]
