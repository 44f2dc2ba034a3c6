"""Refinement of a displacement on the pair at hand, coarse to fine, by the paper's own objective (eq. 2) and more.

What is minimised over a stationary velocity field v with φ = exp(v): how much the MIND-SSC descriptors of the images
and, at the coarse stage, of their gradient maps differ, less their mutual information, and a smoothness term on v. The
difference at a voxel counts by its root, so that places where nothing fits do not rule the others, and in air hardly at
all. Descriptors of the images are computed once, averaged for the coarse stage (which keeps more of them than
descriptors of averaged images do), and sampled where φ points; each iteration looks at another regular subset of the
voxels, so that its cost does not grow with the image. It goes out from a search and from what a network predicts; a
pair that is still on its way at the end begins anew, with a smoothness that brings far things together. Every run
starts afresh: nothing is kept from pair to pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, inf, pi

import torch
from torch import Tensor

from .descriptors import Descriptors
from .problem import COARSE, Problem, coarsest, fits, mean
from .search import searched
from .smoothness import bounded, eased, roughness
from .velocity import Lattice, interpolate, smoothing_matrix

CONTROL_SPACING = 7  # working voxels between control points
SMOOTHINGS = 1
TORN = 0.08  # roughness after the first stage; a start that leads to more fits noise, and no body moves like that
CLEARLY = 0.06  # of the dissimilarity; a start that leaves so much more of it than another is no help


@dataclass(frozen=True)
class Stage:
    """One resolution of the refinement.

    Attributes:
        shrink: the descriptors are averaged over cubes of this many working voxels.
        points: about how many voxels an iteration looks at.
        share: its iterations as a multiple of those of the finest stage.
        rate: longest step of a control point, in control steps.
        smoothness: weight of the roughness of v.
        rough: what counts as its roughness, see `smoothness`.
    """

    shrink: int
    points: int
    share: float
    rate: float
    smoothness: float
    rough: Callable[[Tensor], Tensor]


STAGES = (
    # After it a network's start has shown what it is worth.
    Stage(shrink=COARSE, points=8_000, share=0.8, rate=0.4, smoothness=4.0, rough=bounded),
    Stage(shrink=COARSE, points=8_000, share=0.6, rate=0.4, smoothness=4.0, rough=bounded),
    Stage(shrink=1, points=40_000, share=1.0, rate=0.2, smoothness=2.6, rough=bounded),
)
# Of a pair that lies far apart. What may jump early follows what lies near instead of looking for what belongs to it.
FAR_STAGES = (
    Stage(shrink=COARSE, points=8_000, share=1.4, rate=0.4, smoothness=1.0, rough=roughness),
    Stage(shrink=1, points=40_000, share=1.0, rate=0.2, smoothness=0.65, rough=eased),
)
FURTHER_STAGES = (
    Stage(shrink=2 * COARSE, points=4_000, share=0.6, rate=0.4, smoothness=1.0, rough=roughness),
    Stage(shrink=COARSE, points=8_000, share=0.6, rate=0.4, smoothness=1.0, rough=roughness),
    FAR_STAGES[-1],
)
FURTHER_ROUNDS = 5  # at most
_FAR = 1.0  # voxels that the finest stage moves on the mean where a pair lies far apart
_SETTLED = 0.5  # voxels that a round moves on the mean where no other need follow
_NEAR_SHARE = 0.7  # of the progress: most pairs are not far apart
DEFAULT_ITERATIONS = 30


def refine(
    descriptors: Descriptors,
    prediction: Tensor | None = None,
    iterations: int = DEFAULT_ITERATIONS,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> tuple[Tensor, bool]:
    """Return the displacement φ that best aligns ``moving(x + φ(x))`` with ``fixed(x)``, and if a prediction is in it.

    It goes out from no displacement, from what a search finds (`search.searched`) and from the prediction. Those that
    lead through the first stage to about the most similar pair, and are not torn, have a part in it: the mean of their
    velocities goes on. Where they differ, the pair does not say which is right, and their errors cancel in part.

    Args:
        descriptors: of the pair.
        prediction: a displacement (1, 3, D, H, W) in voxels, that of a network for example; it may fold. What is
            refined is the velocity that generates it, so that the result is as smooth and as invertible as without.
        iterations: of the finest stage, at least 1; the others take their share. With at least `DEFAULT_ITERATIONS`
            of them a pair that lies far apart is gone through again, in up to `FURTHER_ROUNDS` further rounds.
        seed: order in which the subsets of voxels are visited.
        progress: called with the fraction done; may raise to stop.

    Returns:
        φ (1, 3, D, H, W) in voxels, invertible up to discretisation, and whether the prediction has a part in it.
    """
    descent = _Descent(descriptors, iterations, seed)
    first, others = descent.stages[:1], descent.stages[1:]
    starts = [None, searched(descriptors), *([] if prediction is None else [prediction])]
    share = 0.15  # of the progress
    tried = [
        descent.through(first, descent.velocity_of(start), _between(share * done, share * (done + 1), progress))
        for done, start in enumerate(starts)
    ]
    still, *moved = tried
    left = [descent.dissimilarity(still)]
    left += [descent.dissimilarity(velocity) if float(roughness(velocity)) < TORN else inf for velocity in moved]
    is_used = [unlike <= (1 + CLEARLY) * min(left) for unlike in left]
    begun = torch.stack([velocity for velocity, used in zip(tried, is_used) if used]).mean(0)
    velocity, is_new = descent.to_the_end(others, begun, _between(share * len(starts), 1.0, progress))
    progress(1.0)
    return descent.result(velocity), prediction is not None and is_used[-1] and not is_new


def _fitting(stages: tuple[Stage, ...], descriptors: Descriptors) -> tuple[Stage, ...]:
    """Return the stages at which the images are not too small, at least the finest."""
    return tuple(stage for stage in stages if fits(descriptors, stage.shrink)) or stages[-1:]


class _Descent:
    """The way of one velocity through the stages."""

    def __init__(self, descriptors: Descriptors, iterations: int, seed: int) -> None:
        d, h, w = descriptors.shape
        self.descriptors, self.iterations, self.seed = descriptors, iterations, seed
        self.lattice = Lattice((d, h, w), CONTROL_SPACING)
        self.stages = _fitting(STAGES, descriptors)
        self.coarsest = coarsest(descriptors)
        self.weights = self.lattice.weights(self.coarsest.positions)

    def velocity_of(self, displacement: Tensor | None) -> Tensor:
        if displacement is None:
            return self.descriptors.fixed.image.new_zeros((1, 3, *self.lattice.counts))
        return self.lattice.velocity_of(displacement)

    @torch.no_grad()
    def dissimilarity(self, velocity: Tensor) -> float:
        """Return the `dissimilarity` of the displacement that a velocity generates."""
        lattice, problem = self.lattice, self.coarsest
        return problem.dissimilarity(lambda subset: lattice.displacement(velocity, problem.along(self.weights, subset)))

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
        weights = problem.along(self.weights, subset)
        between = lattice.displacement(one, weights) - lattice.displacement(other, weights)
        return float(mean(between.norm(dim=1)[0], problem.counts[problem.chosen(subset)].float()))

    def to_the_end(
        self, stages: tuple[Stage, ...], velocity: Tensor, progress: Callable[[float], None]
    ) -> tuple[Tensor, bool]:
        """Return the velocity after the last of the stages, and whether it was found `from_afar`.

        Where a pair lies far apart the finest stage, which is there for the details, still moves much. It then begins
        anew, and ends where the pair is more similar. Who asks for less than `DEFAULT_ITERATIONS` has no time for that.
        """
        may_begin_anew = self.iterations >= DEFAULT_ITERATIONS
        near = _NEAR_SHARE if may_begin_anew else 1.0
        before = self.through(stages[:-1], velocity, _between(0.0, 0.4 * near, progress))
        velocity = self.through(stages[-1:], before, _between(0.4 * near, near, progress))
        if may_begin_anew and self.apart(before, velocity) > _FAR:
            other = self.from_afar(_between(near, 1.0, progress))
            if self.dissimilarity(other) < self.dissimilarity(velocity):
                return other, True
        return velocity, False

    def from_afar(self, progress: Callable[[float], None]) -> Tensor:
        """Return the velocity of a pair that lies far apart.

        A smoothness that counts all of the roughness takes the whole along with what has been found, from round to
        round; then what is to jump may do so.
        """
        *coarse, fine = _fitting(FAR_STAGES, self.descriptors)
        further = _fitting(FURTHER_STAGES, self.descriptors)
        share = 1 / (FURTHER_ROUNDS + 2)
        before = self.through(tuple(coarse), self.velocity_of(None), _between(0.0, share / 2, progress))
        velocity = self.through((fine,), before, _between(share / 2, share, progress))
        for done in range(1, FURTHER_ROUNDS + 1):
            if self.apart(before, velocity) < _SETTLED:
                break
            part = _between(done * share, (done + 1) * share, progress)
            before, velocity = velocity, self.through(further, velocity, part)
        return self.through(self.stages[1:], velocity, _between(1 - share, 1.0, progress))

    def through(self, stages: tuple[Stage, ...], velocity: Tensor, progress: Callable[[float], None]) -> Tensor:
        """Return the velocity after some of the stages; ``progress`` is called with the fraction of these done."""
        counts = [max(round(self.iterations * stage.share), 1) for stage in stages]
        for number, (stage, count) in enumerate(zip(stages, counts)):
            problem = Problem(self.descriptors.shrunk(stage.shrink), stage.shrink, stage.points, self.seed)
            begin, end = (sum(counts[:done]) / sum(counts) for done in (number, number + 1))
            velocity = _descend(problem, self.lattice, velocity, stage, count, _between(begin, end, progress))
        return velocity


def _between(begin: float, end: float, progress: Callable[[float], None]) -> Callable[[float], None]:
    """Return what tells ``progress`` of a part of the work, from the fraction of that part that is done."""
    return lambda done: progress(begin + (end - begin) * done)


def _descend(
    problem: Problem, lattice: Lattice, velocity: Tensor, stage: Stage, count: int, progress: Callable[[float], None]
) -> Tensor:
    """Return the velocity after ``count`` steps; ``progress`` is called with the fraction of those done.

    Steps are Adam's but for one thing: the root mean square of all gradients is added to each one's own, so that a
    control point with nothing to see moves less than one at an edge. That the velocity is a smoothed version of what
    is stepped on takes the others along.
    """
    smoothing = [smoothing_matrix(count, SMOOTHINGS, velocity) for count in velocity.shape[2:]]
    weights = lattice.weights(problem.positions)
    parameters = velocity.detach().clone().requires_grad_()
    first, second = torch.zeros_like(velocity), torch.zeros_like(velocity)
    for iteration in range(count):
        subset = problem.subset(iteration)
        velocity = interpolate(parameters, smoothing)
        loss = problem.objective(lattice.displacement(velocity, problem.along(weights, subset)), subset)
        loss = loss + stage.smoothness * stage.rough(velocity)
        (gradient,) = torch.autograd.grad(loss, parameters)
        rate = stage.rate * (0.55 + 0.45 * cos(pi * iteration / count))
        with torch.no_grad():
            first.lerp_(gradient, 0.1)
            second.lerp_(gradient.square(), 0.01)
            direction = first / (1 - 0.9 ** (iteration + 1))
            size = (second / (1 - 0.99 ** (iteration + 1))).sqrt()
            parameters -= rate * direction / (size + size.square().mean().sqrt() + 1e-12)
        progress((iteration + 1) / count)
    return interpolate(parameters.detach(), smoothing)
