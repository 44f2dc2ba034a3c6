"""A stationary velocity field on a coarse lattice, and the displacement it generates anywhere in between."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..model import exponentiate


@dataclass(frozen=True)
class Lattice:
    """Control points over a volume of ``shape`` voxels, about ``spacing`` voxels apart.

    The outermost control points lie on the corner voxels. Between control points the displacement is a uniform cubic
    B-spline, so that it is twice differentiable. On them the displacement is found from the velocity by ``squarings``
    steps of scaling and squaring.
    """

    shape: tuple[int, int, int]
    spacing: float
    squarings: int = 2  # more change no result that one could measure, and take the most of an iteration's time

    @property
    def counts(self) -> tuple[int, int, int]:
        """The number of control points along D, H, W."""
        d, h, w = (max(int(round((n - 1) / self.spacing)) + 1, 2) for n in self.shape)
        return d, h, w

    @property
    def steps(self) -> tuple[float, float, float]:
        """The exact distances of control points in voxels along D, H, W."""
        d, h, w = (max(n - 1, 1) / (c - 1) for n, c in zip(self.shape, self.counts))
        return d, h, w

    def weights(self, positions: list[Tensor]) -> list[Tensor]:
        """Return, for each axis, the spline matrix (positions, control points) at positions in voxels."""
        return [spline_matrix(p / step, n) for p, step, n in zip(positions, self.steps, self.counts)]

    def displacement(self, velocity: Tensor, weights: list[Tensor] | None = None) -> Tensor:
        """Return the displacement (1, 3, D, H, W) in voxels that a velocity field generates in one unit of time.

        Args:
            velocity: (1, 3, *counts), in control steps.
            weights: spline matrices of the points wanted; all voxels by default.
        """
        if weights is None:
            weights = self.weights([torch.arange(n, dtype=torch.float32, device=velocity.device) for n in self.shape])
        return interpolate(exponentiate(velocity, self.squarings) * _scale(self.steps, velocity), weights)

    def velocity_of(self, displacement: Tensor, iterations: int = 8) -> Tensor:
        """Return the velocity (1, 3, *counts) that generates a displacement (1, 3, D, H, W) in voxels most nearly.

        The displacement is fitted by the spline in the least-squares sense; the logarithm of the control points'
        displacement is found by fixed-point iteration.
        """
        axes = [torch.arange(n, dtype=torch.float32, device=displacement.device) for n in self.shape]
        fitted = interpolate(displacement, [torch.linalg.pinv(weights) for weights in self.weights(axes)])
        wanted = fitted / _scale(self.steps, fitted)
        velocity = wanted
        for _ in range(iterations):
            velocity = velocity + wanted - exponentiate(velocity, self.squarings)
        return velocity


def interpolate(control: Tensor, weights: list[Tensor]) -> Tensor:
    """Apply one matrix (n, c) to each spatial axis of (1, C, c, c, c)."""
    result = torch.einsum("dz,bczyx->bcdyx", weights[0], control)
    result = torch.einsum("hy,bcdyx->bcdhx", weights[1], result)
    return torch.einsum("wx,bcdhx->bcdhw", weights[2], result)


def smoothing_matrix(count: int, times: int, like: Tensor) -> Tensor:
    """Return the matrix (count, count) of ``times`` rounds of (¼, ½, ¼) along an axis; the border value goes on."""
    index = torch.arange(count, device=like.device)
    once = torch.eye(count, dtype=like.dtype, device=like.device) / 2
    once[index, (index + 1).clamp_max(count - 1)] += 0.25
    once[index, (index - 1).clamp_min(0)] += 0.25
    return torch.linalg.matrix_power(once, times)


def spline_matrix(positions: Tensor, count: int) -> Tensor:
    """Return cubic B-spline weights (positions, count) at positions in control steps; the border value goes on."""
    low = positions.floor().clamp(0, max(count - 2, 0))
    t = (positions - low).clamp(0, 1)
    basis = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    matrix = torch.zeros(len(positions), count, device=positions.device)
    for shift, values in enumerate(basis, start=-1):
        index = (low + shift).clamp(0, count - 1).long()
        matrix.scatter_add_(1, index[:, None], values[:, None].float())
    return matrix


def _scale(values: tuple[float, ...] | list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1, 1)
