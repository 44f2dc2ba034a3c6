"""Refinement of a displacement on the pair at hand by the paper's own objective (eq. 2), coarse to fine.

What is minimised over a stationary velocity field v with φ = exp(v): the squared difference of the MIND-SSC
descriptors of the images, α times that of their gradient maps, and a smoothness term on v. Descriptors are computed
once for a level and sampled where φ points; each iteration looks at another regular subset of the voxels, so that its
cost does not grow with the image. Every run starts afresh: nothing is kept from pair to pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil, cos, pi

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import gradient_magnitude, mind_ssc
from .sampling import Sampler
from .velocity import Lattice, smoothed

GRADIENT_WEIGHT = 0.5  # α of eq. 2
POINTS_PER_ITERATION = 50_000
SQUARINGS = 5
SMOOTHINGS = 2
_MINIMUM_SIZE = 12


@dataclass(frozen=True)
class Stage:
    """One resolution of the refinement.

    Attributes:
        shrink: the images are averaged over cubes of this many working voxels.
        spacing: distance of the control points in working voxels.
        share: its iterations as a multiple of those of the finest stage.
        rate: step of Adam in control steps.
        smoothness: weight of the squared differences of v between control points.
    """

    shrink: int
    spacing: float
    share: float
    rate: float
    smoothness: float


STAGES = (
    Stage(shrink=2, spacing=4, share=0.7, rate=0.2, smoothness=1.0),
    Stage(shrink=1, spacing=3, share=1.0, rate=0.2, smoothness=1.0),
)
DEFAULT_ITERATIONS = 40


def refine(
    fixed: Tensor,
    moving: Tensor,
    iterations: int = DEFAULT_ITERATIONS,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    seed: int = 0,
    stages: tuple[Stage, ...] = STAGES,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Tensor:
    """Return the displacement φ that best aligns ``moving(x + φ(x))`` with ``fixed(x)``.

    Args:
        fixed, moving: (1, 1, D, H, W) in [0, 1] on one isotropic grid.
        iterations: of the finest stage; the others take their share. 0 returns zero displacement.
        fixed_mask, moving_mask: (1, 1, D, H, W), 1 where the image counts.
        seed: order in which the subsets of voxels are visited.
        progress: called with the fraction done; may raise to stop.

    Returns:
        (1, 3, D, H, W) in voxels, invertible up to discretisation.
    """
    shape = tuple(fixed.shape[2:])
    if iterations <= 0:
        return fixed.new_zeros((1, 3, *shape))
    stages = tuple(stage for stage in stages if min(shape) // stage.shrink >= _MINIMUM_SIZE) or stages[-1:]
    counts = [max(round(iterations * stage.share), 1) for stage in stages]
    lattice = Lattice(shape, stages[0].spacing)
    velocity = fixed.new_zeros((1, 3, *lattice.counts))
    for number, (stage, count) in enumerate(zip(stages, counts)):
        coarser, lattice = lattice, Lattice(shape, stage.spacing)
        velocity = coarser.resampled(velocity, lattice)
        problem = _Problem(fixed, moving, fixed_mask, moving_mask, stage.shrink, seed)
        done = partial(_report, progress, sum(counts[:number]), sum(counts))
        velocity = _descend(problem, lattice, velocity, stage, count, done)
    with torch.no_grad():
        return lattice.displacement(velocity, squarings=SQUARINGS)


@torch.no_grad()
def dissimilarity(
    fixed: Tensor,
    moving: Tensor,
    displacement: Tensor,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
) -> float:
    """Return the similarity part of the objective for a displacement (1, 3, D, H, W): 0 is a perfect match.

    Arguments as for `refine`; it is measured at the coarsest stage, where noise counts least.
    """
    shrink = STAGES[0].shrink if min(fixed.shape[2:]) >= _MINIMUM_SIZE * STAGES[0].shrink else 1
    problem = _Problem(fixed, moving, fixed_mask, moving_mask, shrink, seed=0)
    coarse = _shrunk(displacement, shrink)
    return float(sum(problem.dissimilarity(problem.of(coarse, subset), subset) for subset in problem.order))


def _report(progress: Callable[[float], None], before: int, total: int, iteration: int) -> None:
    progress((before + iteration) / total)


def _descend(problem, lattice, velocity, stage, count, progress) -> Tensor:
    """Return the velocity after ``count`` steps of Adam.

    Adam steps as far where nothing is to be seen as at an edge; that the velocity is a smoothed version of what it
    steps on lets the edges decide.
    """
    parameters = velocity.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=stage.rate)
    for iteration in range(count):
        optimizer.param_groups[0]["lr"] = stage.rate * (0.55 + 0.45 * cos(pi * iteration / count))
        subset = problem.subset(iteration)
        weights = lattice.weights(problem.positions(subset))
        velocity = smoothed(parameters, SMOOTHINGS)
        loss = problem.dissimilarity(lattice.displacement(velocity, weights, SQUARINGS), subset)
        loss = loss + stage.smoothness * sum((velocity.diff(dim=axis) ** 2).mean() for axis in (2, 3, 4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress(iteration + 1)
    return smoothed(parameters.detach(), SMOOTHINGS)


class _Problem:
    """The similarity terms of eq. 2 on images shrunk by a factor, evaluated on regular subsets of their voxels."""

    def __init__(self, fixed, moving, fixed_mask, moving_mask, shrink: int, seed: int) -> None:
        fixed, moving, fixed_mask, moving_mask = (
            _shrunk(volume, shrink) for volume in (fixed, moving, fixed_mask, moving_mask)
        )
        self.shrink = shrink
        self.shape = tuple(fixed.shape[2:])
        self.fixed = _descriptors(fixed, fixed_mask)[0].permute(1, 2, 3, 0).contiguous()
        self.weight = fixed_mask[0, 0] if fixed_mask is not None else fixed.new_ones(self.shape)
        measured = moving_mask if moving_mask is not None else torch.ones_like(moving)
        self.moving = Sampler(torch.cat([_descriptors(moving, moving_mask), measured], dim=1))
        self.stride = max(1, ceil((fixed.numel() / POINTS_PER_ITERATION) ** (1 / 3) - 0.1))
        order = torch.randperm(self.stride**3, generator=torch.Generator().manual_seed(seed))
        self.order = [(n // self.stride**2, n // self.stride % self.stride, n % self.stride) for n in order.tolist()]

    def subset(self, iteration: int) -> tuple[int, int, int]:
        """Return the first voxel of the regular subset that this iteration looks at."""
        return self.order[iteration % len(self.order)]

    def indices(self, subset: tuple[int, int, int]) -> list[Tensor]:
        """Return the voxels of a subset along each axis."""
        device = self.fixed.device
        return [torch.arange(start, n, self.stride, device=device) for start, n in zip(subset, self.shape)]

    def of(self, volume: Tensor, subset: tuple[int, int, int]) -> Tensor:
        """Return the voxels of a subset of a volume (1, C, D, H, W)."""
        return volume[(..., *(slice(start, None, self.stride) for start in subset))]

    def positions(self, subset: tuple[int, int, int]) -> list[Tensor]:
        """Return where the voxels of a subset lie along each axis, in working voxels."""
        return [index * float(self.shrink) + (self.shrink - 1) / 2 for index in self.indices(subset)]

    def dissimilarity(self, displacement: Tensor, subset: tuple[int, int, int]) -> Tensor:
        """Return the mean squared difference of the descriptors; the displacement (1, 3, d, h, w) is the subset's."""
        chosen = tuple(slice(start, None, self.stride) for start in subset)
        origin = torch.stack(torch.meshgrid(*self.indices(subset), indexing="ij")).flatten(1)
        sampled = self.moving((origin + displacement[0].flatten(1) / self.shrink).T.contiguous())
        weight = self.weight[chosen].flatten() * sampled[:, -1].detach()
        difference = sampled[:, :-1] - self.fixed[chosen].flatten(0, 2)
        return ((difference**2).sum(1) * weight).sum() / (weight.sum().clamp_min(1e-6) * 12)


def _descriptors(image: Tensor, mask: Tensor | None) -> Tensor:
    """Return MIND-SSC of the image and of its gradient map (1, 24, D, H, W), the latter weighted by √α."""
    gradient = gradient_magnitude(image)
    return torch.cat([mind_ssc(image, mask=mask), mind_ssc(gradient, mask=mask) * GRADIENT_WEIGHT**0.5], dim=1)


def _shrunk(volume: Tensor | None, factor: int) -> Tensor | None:
    """Average over cubes of ``factor`` voxels; the border value goes on where the last cubes are incomplete."""
    if volume is None or factor == 1:
        return volume
    missing = [-n % factor for n in volume.shape[2:]]
    padding = [0, missing[2], 0, missing[1], 0, missing[0]]
    return F.avg_pool3d(F.pad(volume, padding, mode="replicate"), factor)
