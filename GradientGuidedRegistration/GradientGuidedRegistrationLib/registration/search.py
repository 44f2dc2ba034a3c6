"""A first displacement by search: of many that are tried everywhere, the ones that fit and fit together.

Heinrich, Papież, Schnabel and Handels, Non-parametric discrete registration with convex optimisation, WBIR 2014. Unlike
a descent it is not held up by what lies in between, so that what glides is found beside what stays.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import enlarged, shrunk
from .descriptors import Described, Descriptors
from .problem import COARSE

SHRINK = 2 * COARSE  # the images are averaged over cubes of this many working voxels
REACH = 4  # of these averages, that displacements go along each axis, and not much farther in between
CELL = 2  # averages along each axis that move as one
# How much it counts to lie off the smoothed displacement, by the squared distance in averages, from look to look.
COUPLINGS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
_CHANNELS = 12  # of the image; what the gradient map adds makes no difference here
_SMALLEST = 5  # averages along an axis
_LEAST_SEEN = 0.1  # of a cell and its neighbours; what sees less fits as well as the mean


@torch.no_grad()
def searched(descriptors: Descriptors) -> Tensor:
    """Return the displacement φ of up to 18 voxels that aligns ``moving(x + φ(x))`` with ``fixed(x)``.

    Returns:
        (1, 3, D, H, W) in voxels, smooth but not always invertible; zero where the images are too small to tell.
    """
    shape = descriptors.shape
    if min(shape) < SHRINK * _SMALLEST:
        return descriptors.fixed.image.new_zeros((1, 3, *shape))
    half = descriptors.shrunk(COARSE)
    reach = range(-REACH, REACH + 1)
    steps = [step for step in product(reach, repeat=3) if sum(n**2 for n in step) <= (REACH + 0.5) ** 2]
    unlike = _unlike(_averaged(half.fixed), _averaged(half.moving), steps)
    cells = unlike.shape[1:]
    unlike = unlike.flatten(1)
    tried = torch.tensor(steps, dtype=unlike.dtype, device=unlike.device)
    far = tried.square().sum(1, keepdim=True)
    found = unlike.new_zeros((1, 3, *cells))
    for coupling in COUPLINGS:
        # |tried - found|² without what is the same for all that are tried
        together = torch.addmm(unlike + coupling * far, tried, found[0].flatten(1), alpha=-2 * coupling)
        found = tried[together.argmin(0)].T.reshape(found.shape)
        found = _around(_around(found))
    return enlarged(found / CELL, shape, SHRINK * CELL)


def _averaged(half: Described) -> Described:
    """Return it averaged further, to `SHRINK`, without what it has of the gradient map, and in whole cells."""

    def even(volume: Tensor) -> Tensor:
        coarse = shrunk(volume, SHRINK // COARSE)
        odd = [-n % CELL for n in coarse.shape[2:]]
        return F.pad(coarse, [0, odd[2], 0, odd[1], 0, odd[0]])

    return Described(even(half.features[:, :_CHANNELS]), even(half.image), even(half.weight()))


def _unlike(fixed: Described, moving: Described, steps: list[tuple[int, ...]]) -> Tensor:
    """Return the mean squared difference of the descriptors around each cell for each step, (steps, d, h, w)."""
    there = F.pad(moving.features, (REACH,) * 6, mode="replicate")
    counts = F.pad(moving.weight(), (REACH,) * 6)
    here = fixed.weight() * fixed.tissue
    difference = torch.empty_like(fixed.features)
    seen = here.new_empty(len(steps), 2, *(n // CELL for n in here.shape[2:]))
    for step, cells in zip(steps, seen):
        moved: Any = (..., *(slice(REACH + by, REACH + by + n) for by, n in zip(step, here.shape[2:])))
        weight = (here * counts[moved])[0, 0]
        torch.sub(there[moved], fixed.features, out=difference)
        _into_cells(difference.square_().sum(1)[0] * weight, out=cells[0])
        _into_cells(weight, out=cells[1])
    unlike, weight = _around(seen).unbind(1)
    unlike = unlike / _CHANNELS
    mean = unlike.sum() / weight.sum().clamp_min(1e-6)
    return torch.where(weight > _LEAST_SEEN * CELL**3, unlike / weight.clamp_min(1e-6), mean)


def _into_cells(values: Tensor, out: Tensor) -> None:
    """Write the sums of (D, H, W) over cells, two along each axis; `avg_pool3d` takes much longer."""
    values = values[0::2] + values[1::2]
    values = values[:, 0::2] + values[:, 1::2]
    torch.add(values[..., 0::2], values[..., 1::2], out=out)


def _around(values: Tensor) -> Tensor:
    """Return the means (B, C, D, H, W) over each cell and its neighbours."""
    return F.avg_pool3d(values, 3, stride=1, padding=1, count_include_pad=False)
