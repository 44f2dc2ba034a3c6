"""How well a displacement aligns a pair, seen at regular subsets of the voxels, and how firmly the pair holds it."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..model import shrunk
from .descriptors import Descriptors
from .joint import JointHistogram

INFORMATION_WEIGHT = 0.04  # of mutual information
COARSE = 2  # shrunk by this factor, images are compared as a whole: noise counts little there
_SMALLEST = 12  # voxels along an axis
_SUBSETS_COMPARED = 4  # where displacements are compared
_POINTS_COMPARED = 30_000  # about, in each of them
_POINTS_PUSHED = 40_000  # where it is asked how firmly they hold
_AIR_SHARE = 0.1  # of its voxels that count: noise fits everywhere alike
_SMALL = 1e-3  # squared differences that count by themselves and not by their root
Subset = tuple[int, int, int]  # the first voxel of a regular subset


@torch.no_grad()
def dissimilarity(descriptors: Descriptors, displacements: list[Tensor]) -> list[float]:
    """Return the similarity part of the objective for displacements (1, 3, D, H, W) in voxels: 0 is a perfect match.

    It is measured at the coarsest stage, where noise counts least.
    """
    problem = coarsest(descriptors)

    def of(displacement: Tensor) -> float:
        coarse = shrunk(displacement, problem.shrink)
        return problem.dissimilarity(lambda subset: coarse[problem.chosen(subset)])

    return [of(displacement) for displacement in displacements]


class Hold(NamedTuple):
    """How firmly the pair holds a displacement, at a regular subset of the voxels of a stage.

    rise: of the mean squared difference of the descriptors when the displacement is pushed off along D, H and W, the
        mean of both ways (3, d, h, w); near 0, or below it, where the pair does not tell.
    weight: the product of the masks (d, h, w).
    shrink: of the stage.
    taken: which of its voxels along each axis.
    """

    rise: Tensor
    weight: Tensor
    shrink: int
    taken: slice


@torch.no_grad()
def hold(descriptors: Descriptors, displacement: Tensor, push: float) -> Hold:
    """Return how firmly the pair holds a displacement (1, 3, D, H, W) in voxels against a push of so many voxels."""
    problem = coarsest(descriptors, _POINTS_PUSHED)
    taken = slice(problem.stride // 2, None, problem.stride)
    subset = (taken.start,) * 3
    coarse = shrunk(displacement, problem.shrink)[problem.chosen(subset)]
    still = problem.seen(coarse, subset)

    def risen(axis: int) -> Tensor:
        off = coarse.new_zeros(1, 3, 1, 1, 1)
        off[0, axis] = push
        there, back = (problem.seen(coarse + pushed, subset).difference for pushed in (off, -off))
        return (there + back) / 2 - still.difference

    shape = coarse.shape[2:]
    rise = torch.stack([risen(axis).view(shape) for axis in range(3)])
    return Hold(rise, still.weight.view(shape), problem.shrink, taken)


def fits(descriptors: Descriptors, shrink: int) -> bool:
    """Say whether images that are shrunk by this factor are still large enough to tell something."""
    return min(descriptors.shape) // shrink >= _SMALLEST


def coarsest(descriptors: Descriptors, points: int = _POINTS_COMPARED) -> Problem:
    """Return the pair as it is compared as a whole: shrunk by `COARSE`, or as it is where that leaves too little."""
    shrink = COARSE if fits(descriptors, COARSE) else 1
    return Problem(descriptors.shrunk(shrink), shrink, points)


class Seen(NamedTuple):
    """What is to be seen at P voxels, (P) each.

    difference: of the descriptors, squared.
    weight: the product of the masks.
    fixed, moving: the grey values.
    """

    difference: Tensor
    weight: Tensor
    fixed: Tensor
    moving: Tensor


class Problem:
    """The similarity terms on descriptors shrunk by a factor, evaluated on regular subsets of their voxels.

    Args:
        descriptors: shrunk already.
        shrink: by this factor.
        points: about how many voxels a subset has.
        seed: order of the subsets.

    Attributes:
        positions: where its voxels lie along each axis, in working voxels.
    """

    def __init__(self, descriptors: Descriptors, shrink: int, points: int, seed: int = 0) -> None:
        fixed, moving = descriptors.fixed, descriptors.moving
        self.shrink = shrink
        self.shape = tuple(descriptors.shape)
        indices = [torch.arange(n, device=fixed.features.device) for n in self.shape]
        self.positions = [index * float(shrink) + (shrink - 1) / 2 for index in indices]
        self.rows = [index * count for index, count in zip(indices, (self.shape[1] * self.shape[2], self.shape[2], 1))]
        self.fixed, self.fixed_image = fixed.features[0].flatten(1), fixed.image.clamp(0, 1).flatten()
        self.weight = fixed.weight().flatten()
        generator = torch.Generator().manual_seed(seed)
        some = torch.rand(self.shape, generator=generator).to(self.weight.device) < _AIR_SHARE
        told = some | (fixed.tissue[0, 0] > 0)
        self.counts = told & (self.weight > 0).view(self.shape)
        self.whole = max(int(told.sum()), 1)
        self.moving = moving.sampler
        self.histogram = JointHistogram()
        self.stride = max(1, ceil((self.weight.numel() / points) ** (1 / 3) - 0.1))
        order = torch.randperm(self.stride**3, generator=generator)
        self.order = [(n // self.stride**2, n // self.stride % self.stride, n % self.stride) for n in order.tolist()]

    def subset(self, iteration: int) -> Subset:
        """Return the first voxel of the regular subset that this iteration looks at."""
        return self.order[iteration % len(self.order)]

    def chosen(self, subset: Subset) -> Any:
        """Return the index that takes the voxels of a subset out of volumes (…, D, H, W)."""
        return (..., *(slice(start, None, self.stride) for start in subset))

    def along(self, axes: list[Tensor], subset: Subset) -> list[Tensor]:
        """Return what belongs to a subset of what is given for all voxels along each axis, such as `positions`."""
        return [axis[start :: self.stride] for axis, start in zip(axes, subset)]

    def objective(self, displacement: Tensor, subset: Subset) -> Tensor:
        """Return what is to be minimised at those voxels of a subset that count; arguments as of `seen`."""
        seen = self.seen(displacement, subset, self.counting(subset))
        information = self.histogram.score(seen.fixed, seen.moving, seen.weight)
        unlike = (seen.difference + _SMALL).sqrt() - INFORMATION_WEIGHT * information
        # A voxel pulls as hard where masks leave few as where all count.
        return mean(unlike, seen.weight) * self.share(seen.weight)

    def share(self, weight: Tensor) -> Tensor:
        """Return how much of what tells something the masks leave, from the weights at the voxels of a subset."""
        return (weight.sum() * self.stride**3 / self.whole).clamp_max(1)

    def counting(self, subset: Subset) -> Tensor:
        """Return which voxels of a subset count, as indices into all of them: what is tissue, and some of the air."""
        return self.counts[self.chosen(subset)].flatten().nonzero()[:, 0]

    def seen(self, displacement: Tensor, subset: Subset, which: Tensor | None = None) -> Seen:
        """Return the squared differences of the descriptors at the voxels of a subset, and what else they show.

        Args:
            displacement: (1, 3, d, h, w) at these voxels, in working voxels.
            subset: see `subset`.
            which: of these voxels, as indices; all by default.
        """
        z, y, x = self.along(self.rows, subset)
        numbers = (z[:, None, None] + y[:, None] + x).flatten()
        points = torch.stack(torch.meshgrid(*self.along(self.positions, subset), indexing="ij")) + displacement[0]
        points = points.flatten(1)
        if which is not None:
            numbers, points = numbers[which], points.index_select(1, which)
        sampled = self.moving(((points.T - (self.shrink - 1) / 2) / self.shrink).contiguous())
        # Taken by number, which is much faster than in steps along each axis.
        weight = self.weight[numbers] * sampled[:, -1].detach()
        difference = sampled[:, :-2] - self.fixed.index_select(1, numbers).T
        return Seen((difference**2).sum(1) / 12, weight, self.fixed_image[numbers], sampled[:, -2])

    def dissimilarity(self, displacement_at: Callable[[Subset], Tensor]) -> float:
        """Return the mean squared difference over a few subsets, from the displacement at the voxels of each."""
        subsets = self.order[:_SUBSETS_COMPARED]
        seen = [self.seen(displacement_at(subset), subset, self.counting(subset)) for subset in subsets]
        return float(sum(mean(part.difference, part.weight) for part in seen)) / len(seen)


def mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean, 0 where nothing counts."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)
