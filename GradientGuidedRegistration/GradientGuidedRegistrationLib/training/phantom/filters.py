"""Small separable filters for the two renderers. Volumes are (1, 1, D, H, W)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def along(volume: torch.Tensor, kernel: torch.Tensor, axis: int) -> torch.Tensor:
    """Convolve along one spatial axis (0, 1, 2 for D, H, W) with an odd kernel; the border value continues outside."""
    half = kernel.numel() // 2
    if half == 0:
        return volume * kernel
    shape = [1, 1, 1, 1, 1]
    shape[2 + axis] = kernel.numel()
    pads = [0] * 6
    pads[2 * (2 - axis)] = pads[2 * (2 - axis) + 1] = half
    return F.conv3d(F.pad(volume, pads, mode="replicate"), kernel.to(volume).view(shape))


def gaussian(volume: torch.Tensor, sigma: float | tuple[float, float, float]) -> torch.Tensor:
    """Gaussian blur with a standard deviation in voxels, one for all axes or one an axis."""
    sigmas = (sigma,) * 3 if isinstance(sigma, (int, float)) else sigma
    for axis, s in enumerate(sigmas):
        if s > 0.1:
            half = max(1, int(round(2.5 * s)))
            t = torch.arange(-half, half + 1, dtype=torch.float32)
            kernel = torch.exp(-0.5 * (t / s) ** 2)
            volume = along(volume, kernel / kernel.sum(), axis)
    return volume


def thick_slices(volume: torch.Tensor, axis: int, thickness: float) -> torch.Tensor:
    """What a scan with slices `thickness` voxels thick shows, brought back to the grid by linear interpolation."""
    size = list(volume.shape[2:])
    full = size[axis]
    size[axis] = max(4, int(round(full / thickness)))
    if size[axis] >= full:
        return volume
    # 'area' averages over the slice, linear interpolation is what every viewer and resampler does afterwards.
    sliced = F.interpolate(volume, size=size, mode="area")
    size[axis] = full
    return F.interpolate(sliced, size=size, mode="trilinear", align_corners=False)
