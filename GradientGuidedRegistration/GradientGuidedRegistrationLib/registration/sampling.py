"""Trilinear sampling of many-channel volumes at scattered points, differentiable in the points only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 2048  # points at a time: their corners stay in the cache


class Sampler:
    """Volumes (1, C, D, H, W) of one grid that can be read between their voxels; outside, the border value goes on.

    On the CPU the channels of a voxel lie side by side, and the eight corners of a point are gathered once for its
    values and their derivatives; elsewhere `grid_sample` does it.
    """

    def __init__(self, *volumes: Tensor) -> None:
        self.shape = tuple(volumes[0].shape[2:])
        self.on_cpu = volumes[0].device.type == "cpu"
        if self.on_cpu:
            self.volume = torch.cat([volume[0].flatten(1).T for volume in volumes], dim=1)
        else:
            self.volume = torch.cat(volumes, dim=1)
        self.last = torch.tensor([n - 1.0 for n in self.shape], device=self.volume.device)

    def __call__(self, points: Tensor) -> Tensor:
        """Return the values (P, C) at ``points`` (P, 3), voxels in array order; differentiable in ``points``."""
        if self.on_cpu:
            return _Gather.apply(points, self.volume, self.shape)
        grid = (2 * points / self.last.clamp_min(1) - 1).flip(-1)[None, None, None]
        values = F.grid_sample(self.volume, grid, mode="bilinear", padding_mode="border", align_corners=True)
        return values[0, :, 0, 0].T


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points, table, shape):
        corners, weights, inside = _corners(points, shape, ctx.needs_input_grad[0])
        sampled = table.new_empty(*weights.shape[:2], table.shape[1])
        for out, part, rows in zip(*(whole.split(_CHUNK) for whole in (sampled, weights, corners))):
            torch.bmm(part, table.index_select(0, rows.flatten()).view(-1, 8, table.shape[1]), out=out)
        ctx.save_for_backward(sampled[:, 1:], inside)
        return sampled[:, 0]

    @staticmethod
    def backward(ctx, gradient):
        slopes, inside = ctx.saved_tensors
        return torch.bmm(slopes, gradient[:, :, None])[..., 0] * inside, None, None


def _corners(points: Tensor, shape: tuple[int, ...], with_derivatives: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return table rows (P, 8), weights (see `_weights`), and whether a point is inside (P, 3)."""
    rows = None
    sides, inside = [], []
    for axis, size in enumerate(shape):
        coordinate = points[:, axis]
        clamped = coordinate.clamp(0, size - 1)
        low = clamped.floor().clamp_max(max(size - 2, 0))
        sides.append(torch.stack([low + 1 - clamped, clamped - low]))
        inside.append(clamped == coordinate)
        low = low.int()
        rows = low if rows is None else rows * size + low
    strides = (shape[1] * shape[2], shape[2], 1)
    steps = [stride if size > 1 else 0 for stride, size in zip(strides, shape)]
    offsets = [i * steps[0] + j * steps[1] + k * steps[2] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    assert rows is not None
    z, y, x = sides
    corners = rows[:, None] + torch.tensor(offsets, dtype=torch.int32)
    return corners, _weights(z, y, x, with_derivatives), torch.stack(inside, dim=1)


def _weights(z: Tensor, y: Tensor, x: Tensor, with_derivatives: bool) -> Tensor:
    """Return the trilinear weights of the corners (P, 1, 8), or those and their derivatives (P, 4, 8).

    Args:
        z, y, x: the weights of the two sides along each axis (2, P).
        with_derivatives: whether the derivatives are wanted.
    """
    zy, zx, yx = z[:, None] * y, z[:, None] * x, y[:, None] * x
    weights = z.new_empty(4 if with_derivatives else 1, 2, 2, 2, z.shape[1])
    torch.mul(z[:, None, None], yx, out=weights[0])
    for side, sign in ((0, -1.0), (1, 1.0)) if with_derivatives else ():
        torch.mul(yx, sign, out=weights[1, side])
        torch.mul(zx, sign, out=weights[2, :, side])
        torch.mul(zy, sign, out=weights[3, :, :, side])
    return weights.flatten(1, 3).permute(2, 0, 1).contiguous()
