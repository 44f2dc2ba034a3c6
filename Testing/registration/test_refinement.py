"""Sampling, splines, and the refinement itself, against references and known warps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.interpolate
import scipy.stats
import torch

from GradientGuidedRegistrationLib.model import gradient_magnitude, jacobian_determinant, mind_ssc, shrunk, warp
from GradientGuidedRegistrationLib.registration import refinement, smoothness
from GradientGuidedRegistrationLib.registration.descriptors import GRADIENT_WEIGHT, Descriptors
from GradientGuidedRegistrationLib.registration.joint import JointHistogram
from GradientGuidedRegistrationLib.registration.refinement import (
    FURTHER_STAGES,
    STAGES,
    hold,
    refine,
    refine_from_two,
)
from GradientGuidedRegistrationLib.registration.sampling import Sampler
from GradientGuidedRegistrationLib.registration.velocity import Lattice, interpolate, smoothing_matrix, spline_matrix


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_sampler_agrees_with_the_spatial_transformer():
    volume, displacement = random(1, 5, 7, 8, 9), random(1, 3, 7, 8, 9, seed=1) * 12 - 6  # well past the border
    axes = [torch.arange(n) for n in (7, 8, 9)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1).T + displacement[0].flatten(1).T
    expected = warp(volume, displacement)[0].flatten(1).T
    assert torch.allclose(Sampler(volume)(points), expected, atol=1e-5)


def test_sampler_derivative():
    sampler = Sampler(random(1, 3, 5, 6, 7).double())
    points = (random(40, 3, seed=2) * torch.tensor([5.0, 6.0, 7.0]) - 0.5).double().requires_grad_()
    assert torch.autograd.gradcheck(sampler, (points,))


def test_sampler_on_an_axis_of_one_voxel():
    values = Sampler(random(1, 2, 1, 4, 4))(torch.tensor([[0.4, 1.5, 2.0], [-3.0, 0.0, 9.0]]))
    assert torch.isfinite(values).all()


def test_splines_against_scipy():
    count, positions = 9, torch.linspace(1, 7, 50)
    coefficients = random(count, seed=3).double().numpy()
    spline = scipy.interpolate.BSpline(np.arange(-2, count + 2), coefficients, 3)  # knots one step apart
    expected = spline(positions.numpy())
    assert np.allclose(spline_matrix(positions, count).numpy() @ coefficients, expected, atol=1e-5)


def test_splines_sum_to_one_and_repeat_the_border():
    matrix = spline_matrix(torch.linspace(0, 6, 40), 7)
    assert torch.allclose(matrix.sum(1), torch.ones(40))


def test_a_constant_velocity_moves_all_alike():
    lattice = Lattice((33, 29, 41), 6)
    displacement = lattice.displacement(torch.full((1, 3, *lattice.counts), 0.3))
    expected = torch.tensor(lattice.steps).view(1, 3, 1, 1, 1) * 0.3
    assert torch.allclose(displacement, expected.expand_as(displacement), atol=1e-4)


def test_roughness_leaves_out_rotations():
    """A rotation of the whole has none; a stretch, a bend and what a rotation carries on top have all of it."""
    axes = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in (6, 7, 8)], indexing="ij"))
    rotation = torch.tensor([[0.0, 0.3, -0.1], [-0.3, 0.0, 0.2], [0.1, -0.2, 0.0]])
    turned = torch.einsum("ca,azyx->czyx", rotation, axes)[None]
    assert smoothness.roughness(turned).abs() < 1e-6
    bent = torch.stack([0.5 * axes[1] ** 2, 0 * axes[0], 0 * axes[0]])[None]
    slopes = axes[1][:, :-1] + 0.5
    expected = (slopes.square().mean() - slopes.mean() ** 2 / 2 + smoothness.BENDING) / 3
    assert torch.allclose(smoothness.roughness(bent), expected)
    stretched = torch.stack([0.2 * axes[0], 0 * axes[0], 0 * axes[0]])[None]
    assert torch.allclose(smoothness.roughness(stretched), torch.tensor(0.2**2 / 3))
    flat = turned[:, :, :2]
    assert smoothness.roughness(flat).abs() < 1e-6  # two control points have no second difference
    wave = smooth_warp((6, 7, 8), 1.0)
    assert torch.allclose(smoothness.roughness(wave + turned), smoothness.roughness(wave), atol=1e-6)


def test_much_roughness_counts_less_and_less():
    """Up to a point all of it counts; past it the slope falls from 1 with one over the roughness, without a step."""
    rough = torch.tensor([0.0, 0.5, 1.0, 2.0, 8.0], dtype=torch.float64, requires_grad=True)
    counted = smoothness.eased(rough * smoothness.ROUGH) / smoothness.ROUGH
    assert torch.allclose(counted, torch.tensor([0, 0.5, 1, 1 + math.log(2), 1 + math.log(8)], dtype=torch.float64))
    (slope,) = torch.autograd.grad(counted.sum(), rough)
    assert torch.allclose(slope[[0, 1, 3, 4]], torch.tensor([1, 1, 1 / 2, 1 / 8], dtype=torch.float64))
    for stages in (refinement.STAGES, refinement.FURTHER_STAGES):  # eased earlier, pairs 38 mm apart are lost
        assert [stage.is_eased for stage in stages] == [False] * (len(stages) - 1) + [True]


def test_roughness_is_eased_at_the_finest_stage_only(monkeypatch):
    """And is what is minimised there: without it the result is another."""
    fixed, moving = (structures((48, 48, 48), seed) for seed in (0, 1))
    asked = []

    def counted_as(rough: torch.Tensor) -> torch.Tensor:
        asked.append(float(rough.detach()))
        return rough * 0

    plain = refine(Descriptors.of(fixed, moving), 5)
    monkeypatch.setattr(refinement, "eased", counted_as)
    assert not torch.equal(refine(Descriptors.of(fixed, moving), 5), plain)
    assert len(asked) == 5, "once an iteration of the finest stage"


def structures(shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    """A smooth image (1, 1, D, H, W) with structure everywhere."""
    coarse = random(1, 1, *(n // 5 for n in shape), seed=seed)
    return torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)


def smooth_warp(shape: tuple[int, int, int], amplitude: float) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.linspace(0, torch.pi, n) for n in shape], indexing="ij")
    bump = torch.sin(axes[0]) * torch.sin(axes[1]) * torch.sin(axes[2])
    return amplitude * torch.stack([bump, -0.5 * bump, 0.8 * bump])[None]


@pytest.fixture(scope="module")
def warped_pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fixed and moving image of opposite contrast and the displacement between them."""
    shape = (33, 36, 39)
    moving, truth = structures(shape), smooth_warp(shape, 3.0)
    return 1 - warp(moving, truth), moving, truth


def error(found: torch.Tensor, truth: torch.Tensor) -> float:
    inner = (..., slice(5, -5), slice(5, -5), slice(5, -5))
    return float(torch.linalg.vector_norm(found - truth, dim=1)[inner].mean())


def test_refinement_recovers_a_known_warp_across_contrast(warped_pair):
    fixed, moving, truth = warped_pair
    found = refine(Descriptors.of(fixed, moving), 60)
    assert error(found, truth) < 0.25 * error(torch.zeros_like(truth), truth)
    assert jacobian_determinant(found).min() > 0


def test_refinement_of_an_identical_pair_stays_put(warped_pair):
    fixed = warped_pair[0]
    assert refine(Descriptors.of(fixed, fixed), 30).abs().max() < 1e-6


def test_refinement_is_repeatable_and_carries_nothing_over(warped_pair):
    fixed, moving, _ = warped_pair
    first = refine(Descriptors.of(fixed, moving), 5)
    refine(Descriptors.of(moving, fixed), 5)
    assert torch.equal(first, refine(Descriptors.of(fixed, moving), 5))


def test_zero_iterations_move_nothing(warped_pair):
    fixed, moving, _ = warped_pair
    assert refine(Descriptors.of(fixed, moving), 0).abs().max() == 0


def test_a_good_start_is_built_upon(warped_pair):
    fixed, moving, truth = warped_pair
    start = 0.6 * truth
    cold, warm = refine(Descriptors.of(fixed, moving), 4), refine(Descriptors.of(fixed, moving), 4, start=start)
    assert error(warm, truth) < min(error(cold, truth), error(start, truth))


@pytest.mark.parametrize("share", [1.0, 0.8])
def test_a_start_changes_the_way_and_not_the_end(warped_pair, share):
    fixed, moving, truth = warped_pair
    cold, warm = (refine(Descriptors.of(fixed, moving), 30, start=start) for start in (None, share * truth))
    assert error(warm, cold) < 0.05 * error(torch.zeros_like(truth), truth)


def test_velocity_of_a_displacement_generates_it():
    """Of one that a velocity on the lattice has generated, odd sizes and several voxels long."""
    lattice = Lattice((41, 50, 38), 4)
    noise = torch.randn(1, 3, *lattice.counts, generator=torch.Generator().manual_seed(1))
    velocity = interpolate(noise, [smoothing_matrix(count, 6, noise) for count in lattice.counts]) * 3
    displacement = lattice.displacement(velocity)
    assert displacement.norm(dim=1).max() > 3
    back = lattice.displacement(lattice.velocity_of(displacement))
    assert (back - displacement).norm(dim=1).mean() < 0.005 * displacement.norm(dim=1).mean()


@pytest.mark.parametrize(("of_network", "is_used", "goes_on"), [(0.98, True, 1.0), (0.995, False, 0.0)])
def test_the_mean_of_both_starts_goes_on_if_the_networks_is_better(monkeypatch, of_network, is_used, goes_on):
    begun = []

    def through(descent, stages, velocity, progress):
        begun.append((stages, float(descent.lattice.displacement(velocity).mean())))
        return velocity

    def dissimilarity(descent, velocity):
        return of_network if float(velocity.mean()) > 0 else 1.0

    monkeypatch.setattr(refinement._Descent, "through", through)
    monkeypatch.setattr(refinement._Descent, "dissimilarity", dissimilarity)
    descriptors = Descriptors.of(*torch.rand(2, 1, 1, 32, 28, 36))
    _, used = refine_from_two(descriptors, torch.full((1, 3, 32, 28, 36), 2.0), 8)
    assert used is is_used
    assert [stages for stages, _ in begun] == [STAGES[:1]] * 2 + [STAGES[1:2], STAGES[2:]]
    assert [moved for _, moved in begun] == pytest.approx([0.0, 2.0, goes_on, goes_on], abs=1e-3)


@pytest.mark.parametrize(
    ("iterations", "moves", "rounds"),
    [
        (30, [0.9], 0),  # by the finest stage, then by each further round; voxels
        (30, [1.1, 0.4], 1),
        (30, [1.1, 0.6, 0.4], 2),
        (30, [5.0, 2.0, 1.0, 0.6], 3),
        (120, [1.1, 0.4], 1),
        (29, [5.0], 0),
    ],
)
def test_a_pair_that_still_moves_goes_through_further_rounds(monkeypatch, iterations, moves, rounds):
    ahead, begun, fractions = list(moves), [], []

    def through(descent, stages, velocity, progress):
        begun.append(stages)
        progress(1.0)
        is_coarse = stages == STAGES[:2]
        steps = torch.tensor(descent.lattice.steps).view(1, 3, 1, 1, 1)
        return velocity if is_coarse else velocity + ahead.pop(0) / 3**0.5 / steps

    monkeypatch.setattr(refinement._Descent, "through", through)
    refine(Descriptors.of(*torch.rand(2, 1, 1, 50, 52, 56)), iterations, progress=fractions.append)
    assert begun == [STAGES[:2], STAGES[2:], *[FURTHER_STAGES] * rounds] and not ahead
    assert fractions == sorted(fractions) and fractions[-1] == 1


def test_further_rounds_bring_a_pair_that_is_still_on_its_way_closer(monkeypatch):
    """After so few iterations as never to be asked for by default, on a pair that needs more of them."""
    shape = (64, 60, 68)
    moving, truth = structures(shape), smooth_warp(shape, 11.0)
    descriptors = Descriptors.of(1 - warp(moving, truth), moving)
    once = refine(descriptors, 4)
    monkeypatch.setattr(refinement, "DEFAULT_ITERATIONS", 4)
    found = refine(descriptors, 4)
    assert error(found, truth) < 0.6 * error(once, truth)
    assert jacobian_determinant(found).min() > 0


def test_a_folding_start_may_help_and_leaves_no_fold():
    """The truth with noise that folds it, on a pair too far apart for the iterations from no displacement."""
    shape = (40, 44, 48)
    moving, truth = structures(shape), smooth_warp(shape, 8.0)
    descriptors = Descriptors.of(1 - warp(moving, truth), moving)
    start = truth + torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    assert jacobian_determinant(start).min() < 0
    found, is_used = refine_from_two(descriptors, start, 4)
    assert is_used and jacobian_determinant(found).min() > 0
    assert error(found, truth) < 0.9 * error(refine(descriptors, 4), truth)


@pytest.mark.parametrize("masked", [False, True])
def test_descriptors_are_those_of_the_image_and_root_alpha_times_those_of_its_gradient_map(masked):
    image, mask = random(1, 1, 28, 35, 30), (random(1, 1, 28, 35, 30, seed=1) > 0.2).float() if masked else None
    described = Descriptors.of(image, image, mask)
    assert torch.equal(described.fixed.features, mind_ssc(image, mask=mask))
    coarse, coarse_mask = described.shrunk(2), None if mask is None else shrunk(mask, 2)
    assert torch.equal(coarse.fixed.features[:, :12], shrunk(described.fixed.features, 2))
    edges = mind_ssc(shrunk(gradient_magnitude(image), 2), mask=coarse_mask)
    assert torch.equal(coarse.fixed.features[:, 12:], GRADIENT_WEIGHT**0.5 * edges)
    assert coarse is described.shrunk(2)


def grey_values(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Grey values of which the second follow from the first, but for some noise, and their weights."""
    generator = torch.Generator().manual_seed(2)
    fixed, noise, weight = torch.rand(3, count, generator=generator)
    return fixed, (0.2 + 0.6 * (1 - fixed) ** 2 + 0.1 * noise).clamp(0, 1), weight


def test_the_score_of_grey_values_is_their_mutual_information():
    """Against scipy's entropies of the same bins; the blur of the histogram loses a little of it."""
    fixed, moving, weight = grey_values(20_000)
    mean = float(JointHistogram().score(fixed, moving, torch.ones_like(weight)).mean())
    bins = [(values * 31).round().numpy() for values in (fixed, moving)]
    joint = np.histogram2d(*bins, bins=32)[0]
    entropies = [scipy.stats.entropy(counts) for counts in (joint.sum(0), joint.sum(1), joint.ravel())]
    expected = entropies[0] + entropies[1] - entropies[2]
    assert 0.8 * expected < mean < expected


def test_the_score_rises_where_grey_values_come_to_fit():
    """A few that are too bright by less than the spread of the others."""
    fixed, moving, weight = grey_values(20_000)
    spoiled = (moving + 0.1 * (torch.arange(20_000) < 500)).requires_grad_()
    (gradient,) = torch.autograd.grad(JointHistogram().score(fixed, spoiled, weight).mean(), spoiled)
    assert (gradient[:500] < 0).float().mean() > 0.8
    assert torch.isfinite(JointHistogram().score(fixed[:0], moving[:0], weight[:0])).all()


@pytest.mark.parametrize("size", [(32, 28, 36), (20, 21, 23)])
def test_a_start_that_is_not_used_leaves_no_trace(size):
    """The result is that of no start to the last bit, also where the image is too small for the coarse stage."""
    generator = torch.Generator().manual_seed(3)
    image, noise = (torch.rand(1, 1, *size, generator=generator) for _ in range(2))
    descriptors = Descriptors.of(image, image + 0.3 * noise)  # best where it is
    prediction = 8 * torch.rand(1, 3, *size, generator=generator)
    found, is_used = refine_from_two(descriptors, prediction, 3)
    assert not is_used and torch.equal(found, refine(descriptors, 3))


def test_without_iterations_a_start_is_the_result(warped_pair):
    fixed, moving, truth = warped_pair
    assert torch.equal(refine(Descriptors.of(fixed, moving), 0, start=truth), truth)


def test_what_is_masked_has_no_pull(warped_pair):
    fixed, moving, truth = warped_pair
    spoiled, mask = fixed.clone(), torch.ones_like(fixed)
    spoiled[..., :12] = random(*spoiled[..., :12].shape, seed=9)
    mask[..., :12] = 0
    free, masked = (refine(Descriptors.of(spoiled, moving, m), 40)[..., 16:] for m in (None, mask))
    assert error(masked, truth[..., 16:]) < error(free, truth[..., 16:])


def test_progress_rises_to_one_and_can_stop(warped_pair):
    fixed, moving, _ = warped_pair
    fractions: list[float] = []
    refine(Descriptors.of(fixed, moving), 4, progress=fractions.append)
    assert fractions == sorted(fractions) and fractions[-1] == 1

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(Descriptors.of(fixed, moving), 4, progress=stop)


@pytest.mark.parametrize("points", [100, 10**6])
def test_a_pair_holds_a_displacement_along_the_axes_that_it_tells(monkeypatch, points):
    """Of layers along one axis a push along the others changes nothing, at all voxels or at a subset of them."""
    monkeypatch.setattr(refinement, "_POINTS_PUSHED", points)
    layers = random(1, 1, 1, 31, 1).expand(1, 1, 28, 31, 34).contiguous()
    rise, weight, shrink, taken = hold(Descriptors.of(layers, 1 - layers), torch.zeros(1, 3, 28, 31, 34), push=3.0)
    there = [range(-(-n // shrink))[taken] for n in (28, 31, 34)]
    assert (taken.step > 1) == (points == 100) and weight.shape == rise.shape[1:] == tuple(map(len, there))
    inner = rise[:, 1:-1, 1:-1, 1:-1]
    assert inner[1].mean() > 0.01 and inner[[0, 2]].abs().max() < 1e-5


def test_a_wrong_displacement_is_not_held(warped_pair):
    fixed, moving, truth = warped_pair
    right, wrong = (
        hold(Descriptors.of(fixed, moving), displacement, push=2.0) for displacement in (truth, truth + 8.0)
    )
    assert right.rise.mean() > 2 * wrong.rise.mean()
