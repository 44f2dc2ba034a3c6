"""Small separable filters for the two renderers. Volumes are (1, 1, D, H, W)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def along(volume: torch.Tensor, kernel: list[float], axis: int) -> torch.Tensor:
    """Correlate along one spatial axis (0, 1, 2 for D, H, W) with an odd kernel; the border value continues outside."""
    half = len(kernel) // 2
    pads = [0] * 6
    pads[2 * (2 - axis)] = pads[2 * (2 - axis) + 1] = half
    padded = F.pad(volume, pads, mode="replicate") if half else volume
    total = torch.zeros_like(volume)
    for start, weight in enumerate(kernel):
        if weight:
            total.add_(padded.narrow(axis + 2, start, volume.shape[axis + 2]), alpha=weight)
    return total


def gaussian(volume: torch.Tensor, sigma: float | tuple[float, float, float]) -> torch.Tensor:
    """Gaussian blur with a standard deviation in voxels, one for all axes or one an axis."""
    sigmas = (sigma,) * 3 if isinstance(sigma, (int, float)) else sigma
    for axis, s in enumerate(sigmas):
        if s > 0.1:
            half = max(1, int(round(2.5 * s)))
            kernel = [math.exp(-0.5 * (t / s) ** 2) for t in range(-half, half + 1)]
            volume = along(volume, [k / sum(kernel) for k in kernel], axis)
    return volume


def shifted(volume: torch.Tensor, voxels: float, axis: int) -> torch.Tensor:
    """Move the content by a fraction of a voxel toward higher indices along one axis; the border value continues."""
    whole = math.floor(voxels)
    part = voxels - whole
    reach = abs(whole) + 1
    kernel = [0.0] * (2 * reach + 1)
    kernel[reach - whole] += 1.0 - part
    kernel[reach - whole - 1] += part
    return along(volume, kernel, axis)


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
