"""Several passes of one network, coarse to fine: motion that is too large for one look at the full resolution."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from .fields import compose, resize
from .network import Prediction, RegistrationNetwork
from .transformer import warp

_SMALLEST = 16  # voxels along the shortest axis of a coarse pass; a smaller volume is looked at as it is


def register_in_passes(network: RegistrationNetwork, moving: Tensor, fixed: Tensor) -> Prediction:
    """Predict at each coarse resolution of `network.coarse_passes` and then at the full one.

    Each pass sees what those before it have left of the difference.

    Args:
        moving, fixed: (B, C, D, H, W) in [0, 1], as for the network itself.

    Returns:
        The prediction of the last pass: its displacements, in voxels of the images, contain the passes before; its
        gates and gradient maps are those of what it saw.
    """
    before: Tensor | None = None
    for factor in network.coarse_passes:
        if min(fixed.shape[2:]) // factor < _SMALLEST:
            continue
        moved = moving if before is None else warp(moving, before)
        coarse = network(shrunk(moved, factor), shrunk(fixed, factor)).displacement
        before = _after(before, enlarged(coarse, fixed.shape[2:], factor))
    if before is None:
        return network(moving, fixed)
    last = network(warp(moving, before), fixed)
    branches = {
        name: _after(before, displacement)
        for name in ("displacement", "image_displacement", "gradient_displacement")
        if (displacement := getattr(last, name)) is not None
    }
    return replace(last, **branches)


def _after(before: Tensor | None, displacement: Tensor) -> Tensor:
    return displacement if before is None else compose(before, displacement)


def shrunk(volume: Tensor, factor: int) -> Tensor:
    """Average (B, C, D, H, W) over cubes of `factor` voxels; the border value goes on where the last are incomplete."""
    if factor == 1:
        return volume
    missing = [-n % factor for n in volume.shape[2:]]
    padding = [0, missing[2], 0, missing[1], 0, missing[0]]
    return F.avg_pool3d(F.pad(volume, padding, mode="replicate"), factor)


def enlarged(displacement: Tensor, shape: tuple[int, ...], factor: int) -> Tensor:
    """Bring a displacement between volumes that were `shrunk` onto their own grid of `shape` voxels, in its voxels."""
    whole = resize(displacement, [size * factor for size in displacement.shape[2:]], align_corners=False)
    return whole[:, :, : shape[0], : shape[1], : shape[2]]
