"""The spatial transformer (Jaderberg et al. 2015): sample an image where a displacement points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .checks import check_displacement, check_same_grid, check_volume

MODES = ("bilinear", "nearest")


def warp(image: Tensor, displacement: Tensor, mode: str = "bilinear") -> Tensor:
    """Return `warped(x) = image(x + displacement(x))`.

    Voxel centres are the sampling points (align_corners=True) and outside the grid the border value goes on.
    Coordinates are float32 or wider, whatever the type of the image and under autocast too: bfloat16 cannot tell
    voxel 256 from voxel 257.

    Args:
        image: (B, C, D, H, W), any floating-point type.
        displacement: (B, 3, D, H, W) in voxels, components in array order (D, H, W). B may be 1 for either.
        mode: "bilinear" (trilinear, differentiable in both arguments) or "nearest" (for labels).

    Returns:
        (B, C, D, H, W) of the image's type.

    Raises:
        InputError: wrong shape, type or mode; image and displacement on different grids or devices.
    """
    if mode not in MODES:
        raise InputError(f"mode must be one of {MODES}, but is {mode!r}.")
    check_volume("image", image)
    check_displacement("displacement", displacement)
    check_same_grid("image", image, "displacement", displacement)
    batch = max(image.shape[0], displacement.shape[0])
    kind = torch.promote_types(torch.promote_types(image.dtype, displacement.dtype), torch.float32)
    grid = _sampling_grid(displacement.to(kind)).expand(batch, -1, -1, -1, -1)
    source = image.to(kind).expand(batch, -1, -1, -1, -1)
    with torch.autocast(image.device.type, enabled=False):
        return _sample(source, grid, mode).to(image.dtype)


def _sampling_grid(displacement: Tensor) -> Tensor:
    """Return the points x + displacement(x) for `grid_sample`: (B, D, H, W, 3), order (x, y, z), in [-1, 1]."""
    axes = []
    for axis, size in enumerate(displacement.shape[2:]):
        scale = 2.0 / max(size - 1, 1)  # one voxel; an axis of a single voxel has nowhere else to go
        start = torch.arange(size, dtype=displacement.dtype, device=displacement.device) * scale - 1.0
        shape = [1, 1, 1]
        shape[axis] = size
        axes.append(torch.add(start.view(shape), displacement[:, axis], alpha=scale))
    return torch.stack(axes[::-1], dim=-1)


def _sample(source: Tensor, grid: Tensor, mode: str) -> Tensor:
    """`grid_sample` over (B, C, D, H, W) and (B, D, H, W, 3), with all CPU threads at work even for a batch of one."""
    batch, depth, height, width = grid.shape[:4]
    # On the CPU PyTorch divides the work of a 5-D grid_sample over the batch only. Slabs of the output are
    # independent, so they can stand in for a batch: the source is shared by a stride of zero, not copied.
    slabs = _slabs(depth) if batch == 1 and grid.device.type == "cpu" else 1
    if slabs > 1:
        grid = grid.reshape(slabs, depth // slabs, height, width, 3)
        source = source.expand(slabs, -1, -1, -1, -1)
    sampled = F.grid_sample(source, grid, mode=mode, padding_mode="border", align_corners=True)
    if slabs > 1:
        sampled = sampled.transpose(0, 1).reshape(1, -1, depth, height, width)
    return sampled


def _slabs(depth: int) -> int:
    """Return into how many slabs to cut the depth to occupy the CPU's threads: the most that divide it evenly."""
    return next(slabs for slabs in range(min(torch.get_num_threads(), depth), 0, -1) if depth % slabs == 0)
