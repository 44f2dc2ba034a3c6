"""A first displacement by search: of many that are tried everywhere, the ones that fit and fit together.

Heinrich, Papież, Schnabel and Handels, Non-parametric discrete registration with convex optimisation, WBIR 2014. Unlike
a descent it is not held up by what lies in between, so that what glides is found beside what stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import enlarged, shrunk
from .descriptors import Described, Descriptors

SHRINK = 4  # the images are averaged over cubes of this many working voxels
REACH = 4  # of these averages, that displacements go along each axis
CELL = 2  # averages along each axis that move as one
# How much it counts to lie off the smoothed displacement, by the squared distance in averages, from look to look.
COUPLINGS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
_CHANNELS = 12  # of the image; what the gradient map adds makes no difference here
_SMALLEST = 5  # averages along an axis
_LEAST_SEEN = 0.1  # of a cell and its neighbours; what sees less fits as well as the mean


@torch.no_grad()
def searched(descriptors: Descriptors) -> Tensor:
    """Return the displacement φ of up to 16 voxels along each axis that aligns ``moving(x + φ(x))`` with ``fixed(x)``.

    Returns:
        (1, 3, D, H, W) in voxels, smooth but not always invertible; zero where the images are too small to tell.
    """
    shape = descriptors.shape
    if min(shape) < SHRINK * _SMALLEST:
        return descriptors.fixed.image.new_zeros((1, 3, *shape))
    coarse = descriptors.shrunk(SHRINK)
    steps = list(product(range(-REACH, REACH + 1), repeat=3))
    unlike = _unlike(coarse.fixed, coarse.moving, steps)
    cells = unlike.shape[1:]
    unlike = unlike.flatten(1)
    tried = torch.tensor(steps, dtype=unlike.dtype, device=unlike.device)
    found = unlike.new_zeros((1, 3, *cells))
    for coupling in COUPLINGS:
        # |tried - found|² without what is the same for all that are tried
        apart = tried.square().sum(1, keepdim=True) - 2 * tried @ found[0].flatten(1)
        found = tried[(unlike + coupling * apart).argmin(0)].T.reshape(found.shape)
        found = _around(_around(found))
    return enlarged(found / CELL, shape, SHRINK * CELL)


def _unlike(fixed: Described, moving: Described, steps: list[tuple[int, ...]]) -> Tensor:
    """Return the mean squared difference of the descriptors around each cell for each step, (steps, d, h, w)."""
    seen = torch.cat(list(_seen(fixed, moving, steps)))
    difference, weight = _around(seen).unbind(1)
    mean = difference.sum() / weight.sum().clamp_min(1e-6)
    return torch.where(weight > _LEAST_SEEN, difference / weight.clamp_min(1e-6), mean)


def _seen(fixed: Described, moving: Described, steps: list[tuple[int, ...]]) -> Iterator[Tensor]:
    """Yield the weighted difference and the weight in each cell (1, 2, d, h, w), step by step."""
    features = fixed.features[:, :_CHANNELS].contiguous()
    there = F.pad(moving.features[:, :_CHANNELS], (REACH,) * 6, mode="replicate")
    counts = F.pad(moving.weight(), (REACH,) * 6)
    here = fixed.weight() * fixed.tissue
    difference = torch.empty_like(features)
    for step in steps:
        moved: Any = (..., *(slice(REACH + by, REACH + by + n) for by, n in zip(step, features.shape[2:])))
        weight = here * counts[moved]
        torch.sub(there[moved], features, out=difference)
        unlike = difference.square_().sum(1, keepdim=True) / _CHANNELS
        yield shrunk(torch.cat([unlike * weight, weight], dim=1), CELL)


def _around(values: Tensor) -> Tensor:
    """Return the means (B, C, D, H, W) over each cell and its neighbours."""
    return F.avg_pool3d(values, 3, stride=1, padding=1, count_include_pad=False)
