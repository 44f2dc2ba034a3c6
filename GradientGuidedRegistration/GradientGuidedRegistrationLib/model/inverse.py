"""The inverse of a displacement field: a fixed point for most voxels, least squares for the few where that fails."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_displacement
from .fields import compose, derivative
from .passes import enlarged, shrunk

FEW = 0.01  # the share of voxels that is faster to solve singly than by another pass over all
REFINEMENTS = 30
LARGE = 32  # voxels; from there on half the resolution is worth a look
EASY, HARD = 0.25, 8.0  # by how much a step of least squares is damped less after it helped, and more after it did not


@torch.no_grad()
def invert(displacement: Tensor, iterations: int = 20, tolerance: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Return the inverse field ψ, for which x + ψ(x) + φ(x + ψ(x)) = x, and how far it is from being one.

    Fixed-point iteration ψ ← −φ(x + ψ) (Chen et al. 2008), from the inverse at half the resolution, which converges
    where φ changes by less than a voxel from one voxel to the next; what is left over is solved by damped least squares
    (Levenberg-Marquardt), a voxel at a time. Where φ folds there may be no inverse: the residual stays large. Not
    differentiable.

    Args:
        displacement: φ, (B, 3, D, H, W) in voxels. Outside the grid its border value goes on.
        iterations: upper bound on those of the fixed point.
        tolerance: residual in voxels that is good enough.

    Returns:
        (ψ, residual): (B, 3, D, H, W) and (B, 1, D, H, W) = ‖ψ(x) + φ(x + ψ(x))‖, both in voxels.

    Raises:
        InputError: not a field.
    """
    check_displacement("displacement", displacement)
    field = displacement.to(torch.promote_types(displacement.dtype, torch.float32))
    current, inverse, residual = -field, torch.zeros_like(field), _length(field)
    if min(field.shape[2:]) >= LARGE:
        current = enlarged(invert(shrunk(field, 2) / 2, iterations, tolerance)[0], field.shape[2:], 2)
    is_close = False
    for _ in range(iterations):
        error = compose(field, current)
        size = _length(error)
        inverse = torch.where(size < residual, current, inverse)
        residual = torch.minimum(size, residual)
        if is_close:  # one pass more than needed: it costs little and leaves the voxels well below the tolerance
            break
        is_close = bool((residual > tolerance).sum() <= FEW * residual.numel())
        current = current - error
    for item in range(len(field)):
        _solve_where_needed(field[item : item + 1], inverse[item], residual[item, 0], tolerance)
    return inverse.to(displacement.dtype), residual.to(displacement.dtype)


def _length(vectors: Tensor) -> Tensor:
    """Return the lengths (B, 1, D, H, W) of (B, 3, D, H, W); torch.linalg.vector_norm takes forty times as long."""
    x, y, z = vectors.split(1, dim=1)
    return x.square().addcmul_(y, y).addcmul_(z, z).sqrt_()


def _solve_where_needed(field: Tensor, inverse: Tensor, residual: Tensor, tolerance: float) -> None:
    """Improve, in place, ψ (3, D, H, W) and its residual (D, H, W) at the voxels where the residual is too large."""
    d, h, w = (residual > tolerance).nonzero(as_tuple=True)
    if len(d) == 0:
        return
    points = torch.stack([d, h, w], dim=1).to(field.dtype)
    volume = torch.cat([field, *(derivative(field, axis) for axis in range(3))], dim=1)
    identity = torch.eye(3, dtype=field.dtype, device=field.device)

    guess = inverse[:, d, h, w].T
    error, slope = _evaluate(volume, points, guess, identity)
    size = error.norm(dim=1)
    damping = torch.full_like(size, 1e-2)
    for _ in range(REFINEMENTS):
        normal = slope.mT @ slope + damping[:, None, None] * identity
        candidate = guess - torch.linalg.solve(normal, slope.mT @ error[:, :, None])[:, :, 0]
        new_error, new_slope = _evaluate(volume, points, candidate, identity)
        new_size = new_error.norm(dim=1)
        better = new_size < size
        guess = torch.where(better[:, None], candidate, guess)
        error = torch.where(better[:, None], new_error, error)
        slope = torch.where(better[:, None, None], new_slope, slope)
        size = torch.minimum(new_size, size)
        damping = (damping * torch.where(better, EASY, HARD)).clamp(1e-6, 1e6)
        if size.max() <= tolerance:
            break
    inverse[:, d, h, w] = guess.T
    residual[d, h, w] = size


def _evaluate(volume: Tensor, points: Tensor, guess: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
    """Return ψ + φ(x + ψ), (N, 3), and its derivative with respect to ψ, (N, 3, 3), at N points x."""
    extent = torch.tensor([max(size - 1, 1) for size in volume.shape[2:]], dtype=points.dtype, device=points.device)
    grid = ((points + guess) * (2 / extent) - 1).flip(-1)[None, None, None]
    sampled = F.grid_sample(volume, grid, mode="bilinear", padding_mode="border", align_corners=True)[0, :, 0, 0].T
    return guess + sampled[:, :3], identity + sampled[:, 3:].reshape(-1, 3, 3).mT
