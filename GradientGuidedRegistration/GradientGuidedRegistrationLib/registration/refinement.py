"""Refinement of a displacement on the pair at hand, coarse to fine, by the paper's own objective (eq. 2) and more.

What is minimised over a stationary velocity field v with φ = exp(v): how much the MIND-SSC descriptors of the images
and, at the coarse stage, of their gradient maps differ, less their mutual information, and a smoothness term on v. The
difference at a voxel counts by its root, so that places where nothing fits do not rule the others. Descriptors of the
images are computed once, averaged for the coarse stage (which keeps more of them than descriptors of averaged images
do), and sampled where φ points; each iteration looks at another regular subset of the voxels, so that its cost does not
grow with the image. A pair that is still on its way at the end goes through further rounds. Every run starts afresh:
nothing is kept from pair to pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, cos, pi
from typing import NamedTuple

import torch
from torch import Tensor

from ..model import shrunk
from .descriptors import Descriptors
from .joint import JointHistogram
from .smoothness import eased, roughness
from .velocity import Lattice, interpolate, smoothing_matrix

INFORMATION_WEIGHT = 0.04  # of mutual information
CONTROL_SPACING = 7  # working voxels between control points
SMOOTHINGS = 1
CLEARLY = 0.01  # of the dissimilarity; what two starts differ by for no reason is less
_MINIMUM_SIZE = 12
_SUBSETS_COMPARED = 4  # where displacements are compared
_POINTS_COMPARED = 30_000  # about, in each of them
_POINTS_PUSHED = 40_000  # where it is asked how firmly they hold
_Subset = tuple[int, int, int]  # the first voxel of a regular subset
_SMALL = 1e-3  # squared differences that count by themselves and not by their root


@dataclass(frozen=True)
class Stage:
    """One resolution of the refinement.

    Attributes:
        shrink: the descriptors are averaged over cubes of this many working voxels.
        points: about how many voxels an iteration looks at.
        share: its iterations as a multiple of those of the finest stage.
        rate: longest step of a control point, in control steps.
        smoothness: weight of the `roughness` of v.
        is_eased: whether much roughness counts less and less (`smoothness.eased`). Only where nothing is far any more:
            before, what is free to bend follows what lies near instead of looking for what belongs to it.
    """

    shrink: int
    points: int
    share: float
    rate: float
    smoothness: float
    is_eased: bool = False


STAGES = (
    # After it a network's start has shown what it is worth.
    Stage(shrink=2, points=8_000, share=0.8, rate=0.4, smoothness=1.0),
    Stage(shrink=2, points=8_000, share=0.6, rate=0.4, smoothness=1.0),
    Stage(shrink=1, points=40_000, share=1.0, rate=0.2, smoothness=0.65, is_eased=True),
)
FURTHER_STAGES = (Stage(shrink=4, points=4_000, share=0.6, rate=0.4, smoothness=1.0), *STAGES[1:])
FURTHER_ROUNDS = 3  # at most
_FAR = 1.0  # voxels that the finest stage moves on the mean where a pair needs further rounds
_SETTLED = 0.5  # voxels that a round moves on the mean where no other need follow
_FIRST_ROUND = 0.7  # of the progress: most pairs need no other
DEFAULT_ITERATIONS = 30


def refine(
    descriptors: Descriptors,
    iterations: int = DEFAULT_ITERATIONS,
    seed: int = 0,
    start: Tensor | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Tensor:
    """Return the displacement φ that best aligns ``moving(x + φ(x))`` with ``fixed(x)``.

    Args:
        descriptors: of the pair.
        iterations: of the finest stage; the others take their share. 0 returns ``start``, or zero displacement. With
            at least `DEFAULT_ITERATIONS` as many again follow, up to `FURTHER_ROUNDS` times, where the pair needs them.
        seed: order in which the subsets of voxels are visited.
        start: a displacement (1, 3, D, H, W) in voxels to go out from, that of a network for example. What is refined
            is the velocity that generates it, so that the result is as smooth and as invertible as one without a start.
        progress: called with the fraction done; may raise to stop.

    Returns:
        (1, 3, D, H, W) in voxels, invertible up to discretisation.
    """
    if iterations <= 0:
        return descriptors.fixed.image.new_zeros((1, 3, *descriptors.shape)) if start is None else start
    descent = _Descent(descriptors, iterations, seed)
    return descent.result(descent.to_the_end(descent.stages, descent.velocity_of(start), progress))


def refine_from_two(
    descriptors: Descriptors,
    prediction: Tensor,
    iterations: int = DEFAULT_ITERATIONS,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> tuple[Tensor, bool]:
    """Return φ as `refine` does, from no displacement and from a predicted one, and whether the latter has a part.

    It has one where it leads through the first stage to a clearly more similar pair. The mean of both velocities then
    goes on: where they differ, the pair does not say which is right, and their errors cancel in part.

    Args:
        descriptors, iterations, seed, progress: as for `refine`, but at least one iteration.
        prediction: (1, 3, D, H, W) in voxels; it may fold.
    """
    descent = _Descent(descriptors, iterations, seed)
    first, others = descent.stages[:1], descent.stages[1:]
    own = descent.through(first, descent.velocity_of(None), _between(0.0, 0.2, progress))
    network = descent.through(first, descent.velocity_of(prediction), _between(0.2, 0.4, progress))
    is_used = descent.dissimilarity(network) < (1 - CLEARLY) * descent.dissimilarity(own)
    begun = (own + network) / 2 if is_used else own
    velocity = descent.to_the_end(others, begun, _between(0.4, 1.0, progress))
    return descent.result(velocity), is_used


@torch.no_grad()
def dissimilarity(descriptors: Descriptors, displacements: list[Tensor]) -> list[float]:
    """Return the similarity part of the objective for displacements (1, 3, D, H, W) in voxels: 0 is a perfect match.

    It is measured at the coarsest stage, where noise counts least.
    """
    problem = _coarsest(descriptors)

    def of(displacement: Tensor) -> float:
        coarse = shrunk(displacement, problem.shrink)
        return problem.dissimilarity(lambda subset: coarse[(..., *problem.chosen(subset))])

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
    problem = _coarsest(descriptors, _POINTS_PUSHED)
    taken = slice(problem.stride // 2, None, problem.stride)
    subset = (taken.start,) * 3
    coarse = shrunk(displacement, problem.shrink)[(..., *problem.chosen(subset))]
    still = problem.seen(coarse, subset)

    def risen(axis: int) -> Tensor:
        off = coarse.new_zeros(1, 3, 1, 1, 1)
        off[0, axis] = push
        there, back = (problem.seen(coarse + pushed, subset).difference for pushed in (off, -off))
        return (there + back) / 2 - still.difference

    shape = coarse.shape[2:]
    rise = torch.stack([risen(axis).view(shape) for axis in range(3)])
    return Hold(rise, still.weight.view(shape), problem.shrink, taken)


def _coarsest(descriptors: Descriptors, points: int = _POINTS_COMPARED) -> _Problem:
    shrink = _fitting_stages(descriptors)[0].shrink
    return _Problem(descriptors.shrunk(shrink), shrink, points)


def _fitting_stages(descriptors: Descriptors, stages: tuple[Stage, ...] = STAGES) -> tuple[Stage, ...]:
    """Return the stages at which the images are not too small, at least the finest."""
    smallest = min(descriptors.shape)
    return tuple(stage for stage in stages if smallest // stage.shrink >= _MINIMUM_SIZE) or stages[-1:]


class _Descent:
    """The way of one velocity through the stages."""

    def __init__(self, descriptors: Descriptors, iterations: int, seed: int) -> None:
        d, h, w = descriptors.shape
        self.descriptors, self.iterations, self.seed = descriptors, iterations, seed
        self.lattice = Lattice((d, h, w), CONTROL_SPACING)
        self.stages = _fitting_stages(descriptors)
        self.coarsest = _coarsest(descriptors)

    def velocity_of(self, displacement: Tensor | None) -> Tensor:
        if displacement is None:
            return self.descriptors.fixed.image.new_zeros((1, 3, *self.lattice.counts))
        return self.lattice.velocity_of(displacement)

    @torch.no_grad()
    def dissimilarity(self, velocity: Tensor) -> float:
        """Return the `dissimilarity` of the displacement that a velocity generates."""
        lattice, problem = self.lattice, self.coarsest
        return problem.dissimilarity(
            lambda subset: lattice.displacement(velocity, lattice.weights(problem.positions(subset)))
        )

    @torch.no_grad()
    def result(self, velocity: Tensor) -> Tensor:
        """Return the displacement, or none at all where the pair is more similar as it is.

        Identical images would otherwise be left a few hundredths of a voxel apart by the last steps.
        """
        still = self.velocity_of(None)
        is_better = self.dissimilarity(velocity) < self.dissimilarity(still)
        return self.lattice.displacement(velocity if is_better else still)

    @torch.no_grad()
    def apart(self, one: Tensor, other: Tensor) -> float:
        """Return how far apart in voxels two velocities displace, on the mean over where the fixed image counts."""
        problem, lattice = self.coarsest, self.lattice
        subset = problem.subset(0)
        weights = lattice.weights(problem.positions(subset))
        between = lattice.displacement(one, weights) - lattice.displacement(other, weights)
        return float(_mean(between.norm(dim=1)[0], problem.weight[problem.chosen(subset)]))

    def to_the_end(self, stages: tuple[Stage, ...], velocity: Tensor, progress: Callable[[float], None]) -> Tensor:
        """Return the velocity after the last of the stages and, where the pair needs them, further rounds.

        Where a pair lies far apart the finest stage, which is there for the details, still moves much, and a further
        round finds what the first did not. Who asks for less than `DEFAULT_ITERATIONS` has no time for that.
        """
        may_go_on = self.iterations >= DEFAULT_ITERATIONS
        first = _FIRST_ROUND if may_go_on else 1.0
        before = self.through(stages[:-1], velocity, _between(0.0, 0.4 * first, progress))
        velocity = self.through(stages[-1:], before, _between(0.4 * first, first, progress))
        further, share = _fitting_stages(self.descriptors, FURTHER_STAGES), (1 - first) / FURTHER_ROUNDS
        is_far = may_go_on and self.apart(before, velocity) > _FAR
        for done in range(FURTHER_ROUNDS if is_far else 0):
            begin = first + share * done
            before, velocity = velocity, self.through(further, velocity, _between(begin, begin + share, progress))
            if self.apart(before, velocity) < _SETTLED:
                break
        progress(1.0)
        return velocity

    def through(self, stages: tuple[Stage, ...], velocity: Tensor, progress: Callable[[float], None]) -> Tensor:
        """Return the velocity after some of the stages; ``progress`` is called with the fraction of these done."""
        counts = [max(round(self.iterations * stage.share), 1) for stage in stages]
        for number, (stage, count) in enumerate(zip(stages, counts)):
            problem = _Problem(self.descriptors.shrunk(stage.shrink), stage.shrink, stage.points, self.seed)
            begin, end = (sum(counts[:done]) / sum(counts) for done in (number, number + 1))
            velocity = _descend(problem, self.lattice, velocity, stage, count, _between(begin, end, progress))
        return velocity


def _between(begin: float, end: float, progress: Callable[[float], None]) -> Callable[[float], None]:
    """Return what tells ``progress`` of a part of the work, from the fraction of that part that is done."""
    return lambda done: progress(begin + (end - begin) * done)


def _descend(
    problem: _Problem, lattice: Lattice, velocity: Tensor, stage: Stage, count: int, progress: Callable[[float], None]
) -> Tensor:
    """Return the velocity after ``count`` steps; ``progress`` is called with the fraction of those done.

    Steps are Adam's but for one thing: the root mean square of all gradients is added to each one's own, so that a
    control point with nothing to see moves less than one at an edge. That the velocity is a smoothed version of what
    is stepped on takes the others along.
    """
    smoothing = [smoothing_matrix(count, SMOOTHINGS, velocity) for count in velocity.shape[2:]]
    parameters = velocity.detach().clone().requires_grad_()
    first, second = torch.zeros_like(velocity), torch.zeros_like(velocity)
    for iteration in range(count):
        subset = problem.subset(iteration)
        weights = lattice.weights(problem.positions(subset))
        velocity = interpolate(parameters, smoothing)
        loss = problem.objective(lattice.displacement(velocity, weights), subset)
        rough = roughness(velocity)
        loss = loss + stage.smoothness * (eased(rough) if stage.is_eased else rough)
        (gradient,) = torch.autograd.grad(loss, parameters)
        rate = stage.rate * (0.55 + 0.45 * cos(pi * iteration / count))
        with torch.no_grad():
            first.lerp_(gradient, 0.1)
            second.lerp_(gradient.square(), 0.01)
            mean = first / (1 - 0.9 ** (iteration + 1))
            size = (second / (1 - 0.99 ** (iteration + 1))).sqrt()
            parameters -= rate * mean / (size + size.square().mean().sqrt() + 1e-12)
        progress((iteration + 1) / count)
    return interpolate(parameters.detach(), smoothing)


class _Seen(NamedTuple):
    """What is to be seen at P voxels, (P) each: differences, how much they count, the grey values of both images."""

    difference: Tensor
    weight: Tensor
    fixed: Tensor
    moving: Tensor


class _Problem:
    """The similarity terms on descriptors shrunk by a factor, evaluated on regular subsets of their voxels.

    Args:
        descriptors: shrunk already.
        shrink: by this factor.
        points: about how many voxels a subset has.
        seed: order of the subsets.
    """

    def __init__(self, descriptors: Descriptors, shrink: int, points: int, seed: int = 0) -> None:
        fixed, moving = descriptors.fixed, descriptors.moving
        self.shrink = shrink
        self.shape = tuple(descriptors.shape)
        self.fixed, self.fixed_image = fixed.features, fixed.image.clamp(0, 1)[0, 0]
        self.weight = fixed.weight()[0, 0]
        self.moving = moving.sampler
        self.histogram = JointHistogram()
        self.stride = max(1, ceil((self.weight.numel() / points) ** (1 / 3) - 0.1))
        order = torch.randperm(self.stride**3, generator=torch.Generator().manual_seed(seed))
        self.order = [(n // self.stride**2, n // self.stride % self.stride, n % self.stride) for n in order.tolist()]

    def subset(self, iteration: int) -> _Subset:
        """Return the first voxel of the regular subset that this iteration looks at."""
        return self.order[iteration % len(self.order)]

    def chosen(self, subset: _Subset) -> tuple[slice, ...]:
        """Return the slices that take the voxels of a subset out of a volume."""
        return tuple(slice(start, None, self.stride) for start in subset)

    def indices(self, subset: _Subset) -> list[Tensor]:
        """Return the voxels of a subset along each axis."""
        device = self.fixed.device
        return [torch.arange(start, n, self.stride, device=device) for start, n in zip(subset, self.shape)]

    def positions(self, subset: _Subset) -> list[Tensor]:
        """Return where the voxels of a subset lie along each axis, in working voxels."""
        return [index * float(self.shrink) + (self.shrink - 1) / 2 for index in self.indices(subset)]

    def objective(self, displacement: Tensor, subset: _Subset) -> Tensor:
        """Return what is to be minimised at the voxels of a subset; arguments as of `seen`."""
        difference, weight, fixed, moving = self.seen(displacement, subset)
        unlike = (difference + _SMALL).sqrt() - INFORMATION_WEIGHT * self.histogram.score(fixed, moving, weight)
        return _mean(unlike, weight)

    def seen(self, displacement: Tensor, subset: _Subset) -> _Seen:
        """Return the squared differences of the descriptors at the voxels of a subset, and what else they show.

        Args:
            displacement: (1, 3, d, h, w) at these voxels, in working voxels.
        """
        chosen = self.chosen(subset)
        origin = torch.stack(torch.meshgrid(*self.positions(subset), indexing="ij")).flatten(1)
        points = (origin + displacement[0].flatten(1)).T
        sampled = self.moving(((points - (self.shrink - 1) / 2) / self.shrink).contiguous())
        weight = self.weight[chosen].flatten() * sampled[:, -1].detach()
        difference = sampled[:, :-2] - self.fixed[(0, slice(None), *chosen)].flatten(1).T
        return _Seen((difference**2).sum(1) / 12, weight, self.fixed_image[chosen].flatten(), sampled[:, -2])

    def dissimilarity(self, displacement_at: Callable[[_Subset], Tensor]) -> float:
        """Return the mean squared difference over a few subsets, from the displacement at the voxels of each."""
        seen = [self.seen(displacement_at(subset), subset) for subset in self.order[:_SUBSETS_COMPARED]]
        return float(sum(_mean(part.difference, part.weight) for part in seen)) / len(seen)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)
