"""Seeded random draws: the same seed gives the same patient on every device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F

T = TypeVar("T")

# PyTorch's generator looks at the last 32 bits of a seed. Those with the first of them set are a training's, so that no
# run, whatever its seed, draws what a phantom with a number below 2^31 was or will be drawn from.
_TRAINING = 2**31
_PURPOSES = ("phantom", "kind", "mixture", "order", "pair", "place")
_SEEDS = 2**28


def training_seed(purpose: str, run: int, number: int) -> int:
    """The seed of the draws number `number` (0, 1, …) of a training with the seed `run`, for one purpose.

    Draws of two purposes never have the same seed, nor two of the first 2^28 of one purpose in one run.
    """
    return _TRAINING + _PURPOSES.index(purpose) * _SEEDS + (run * 10_000_019 + number) % _SEEDS


class Draws:
    """A seeded source of random numbers, fields and voxel noise.

    Everything that shapes the anatomy and the deformation is drawn on the CPU, so that it does not depend on the
    device; only `voxel_noise`, which is as large as the volume, is drawn where it is used.
    """

    def __init__(self, seed: int, device: str | torch.device = "cpu"):
        self.device = torch.device(device)
        self._cpu = torch.Generator().manual_seed(int(seed))
        self._local = torch.Generator(device=self.device).manual_seed(int(seed) + 1)

    def uniform(self, low: float, high: float) -> float:
        """One number between `low` and `high`."""
        return low + (high - low) * float(torch.rand((), generator=self._cpu))

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> float:
        """One normally distributed number."""
        return mean + sd * float(torch.randn((), generator=self._cpu))

    def integer(self, low: int, high: int) -> int:
        """One integer, `low` and `high` included."""
        return int(torch.randint(low, high + 1, (), generator=self._cpu))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return float(torch.rand((), generator=self._cpu)) < probability

    def choice(self, options: Sequence[T]) -> T:
        """One of a sequence."""
        return options[self.integer(0, len(options) - 1)]

    def vector(self, low: float, high: float, count: int = 3) -> torch.Tensor:
        """`count` numbers between `low` and `high`, on the CPU."""
        return low + (high - low) * torch.rand(count, generator=self._cpu)

    def normals(self, *shape: int) -> torch.Tensor:
        """Normally distributed numbers of any shape, drawn on the CPU, returned on the device."""
        return torch.randn(shape, generator=self._cpu).to(self.device)

    def smooth(self, channels: int, knots: int | tuple[int, int, int], shape: tuple[int, ...]) -> torch.Tensor:
        """Smooth noise (1, channels, D, H, W) with unit variance at its `knots`, interpolated to `shape`."""
        if isinstance(knots, int):
            knots = (knots, knots, knots)
        coarse = self.normals(1, channels, *knots)
        # Two trilinear steps with a small blur between them: no visible facets of the coarse lattice.
        middle = tuple(max(2, min(2 * k, s)) for k, s in zip(knots, shape))
        field = F.interpolate(coarse, size=middle, mode="trilinear", align_corners=True)
        field = F.avg_pool3d(F.pad(field, (1,) * 6, mode="replicate"), 3, stride=1)
        return F.interpolate(field, size=shape, mode="trilinear", align_corners=True)

    def voxel_noise(self, *shape: int) -> torch.Tensor:
        """Independent normal noise drawn on the device itself."""
        return torch.randn(shape, generator=self._local, device=self.device)
