"""Algebra of displacement fields: a field φ stands for the map x → x + φ(x) of its own grid.

Fields are (B, 3, D, H, W) in voxels, components in array order (D, H, W), unless a docstring says millimetres. All
sampling is that of `warp`: trilinear, voxel centres, the border value goes on outside. A tensor that is no field, or
fields on different grids, raise `InputError`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .checks import check_displacement, check_same_grid, triple
from .transformer import warp


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Return the one field that does both: warp(warp(I, first), second) = warp(I, compose(first, second)).

    As maps of points it is (id + first) ∘ (id + second):
    compose(first, second)(x) = second(x) + first(x + second(x)).

    Args:
        first, second: (B, 3, D, H, W) in voxels on one grid; B may be 1 for either.

    Returns:
        (B, 3, D, H, W) in voxels.
    """
    check_displacement("first", first)
    check_displacement("second", second)
    check_same_grid("first", first, "second", second)
    return second + warp(first, second)


def exponentiate(velocity: Tensor, steps: int = 7) -> Tensor:
    """Return the displacement at time 1 of a stationary velocity, by scaling and squaring (Arsigny et al. 2006).

    Args:
        velocity: (B, 3, D, H, W) in voxels per unit of time.
        steps: number of squarings, 0 or more; the flow starts as velocity / 2**steps, which should stay below half a
            voxel.

    Returns:
        (B, 3, D, H, W) in voxels. `exponentiate(-velocity)` is its inverse.
    """
    check_displacement("velocity", velocity)
    if steps < 0:
        raise InputError(f"steps must not be negative, but is {steps}.")
    displacement = velocity / 2**steps
    for _ in range(steps):
        displacement = displacement + warp(displacement, displacement)
    return displacement


def jacobian_determinant(displacement: Tensor, spacing: float | Sequence[float] | None = None) -> Tensor:
    """Return det(∂(x + φ(x)) / ∂x), (B, 1, D, H, W): 1 keeps volume, below 0 the map folds.

    Central differences, one-sided at the border; an axis of one voxel has derivative zero.

    Args:
        displacement: (B, 3, D, H, W) in voxels, or in mm if `spacing` is given.
        spacing: voxel size in mm, one number or three in array order (D, H, W).
    """
    check_displacement("displacement", displacement)
    sizes = triple("spacing", spacing) or (1.0, 1.0, 1.0)
    components = displacement.split(1, dim=1)
    (a, b, c), (d, e, f), (g, h, i) = (
        [derivative(component, axis, sizes[axis]) + float(row == axis) for axis in range(3)]
        for row, component in enumerate(components)
    )
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def derivative(volume: Tensor, axis: int, size: float = 1.0) -> Tensor:
    """Return the derivative of (B, C, D, H, W) along spatial axis 0, 1 or 2: central, one-sided at the rim."""
    dim, count = axis + 2, volume.shape[axis + 2]
    if count == 1:
        return torch.zeros_like(volume)
    step = volume.diff(dim=dim) / size
    inner = (step.narrow(dim, 1, count - 2) + step.narrow(dim, 0, count - 2)) / 2
    return torch.cat([step.narrow(dim, 0, 1), inner, step.narrow(dim, count - 2, 1)], dim=dim)


def resize(displacement: Tensor, shape: Sequence[int], align_corners: bool = True) -> Tensor:
    """Resample a field onto a grid of another size over the same region, and rescale its values to the new voxels.

    Args:
        displacement: (B, 3, D, H, W) in voxels of its own grid.
        shape: the new (D, H, W).
        align_corners: True: the centres of the corner voxels of both grids coincide, values scale by
            (new − 1) / (old − 1); False: the outer faces of both grids coincide, values scale by new / old.

    Returns:
        (B, 3, *shape) in voxels of the new grid.
    """
    check_displacement("displacement", displacement)
    new, old = tuple(int(size) for size in shape), tuple(displacement.shape[2:])
    if len(new) != 3 or min(new) < 1:
        raise InputError(f"shape must be three positive sizes (D, H, W), but is {tuple(shape)}.")
    if new == old:
        return displacement
    resampled = F.interpolate(displacement, size=new, mode="trilinear", align_corners=align_corners)
    if align_corners:
        factors = [(n - 1) / (o - 1) if o > 1 else 1.0 for n, o in zip(new, old)]
    else:
        factors = [n / o for n, o in zip(new, old)]
    return resampled * _per_component(factors, displacement)


def voxel_to_mm(displacement: Tensor, spacing: float | Sequence[float]) -> Tensor:
    """Return a field in mm along the grid's own axes, from voxels: components times the voxel size (D, H, W)."""
    check_displacement("displacement", displacement)
    return displacement * _per_component(_spacing(spacing), displacement)


def mm_to_voxel(displacement: Tensor, spacing: float | Sequence[float]) -> Tensor:
    """Return a field in voxels, from mm along the grid's own axes: components over the voxel size (D, H, W)."""
    check_displacement("displacement", displacement)
    return displacement / _per_component(_spacing(spacing), displacement)


def _spacing(spacing: float | Sequence[float]) -> tuple[float, float, float]:
    sizes = triple("spacing", spacing)
    if sizes is None:
        raise InputError("spacing must be given: one number or three, in array order (D, H, W), in mm.")
    return sizes


def _per_component(values: Sequence[float], like: Tensor) -> Tensor:
    """Return three numbers as (1, 3, 1, 1, 1), to multiply a field with."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True).view(1, 3, 1, 1, 1)
