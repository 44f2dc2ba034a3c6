"""The refinement, its starts, rounds and measures, against references and known warps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import SimpleITK as sitk
import torch
from known_pairs import error, random, smooth_warp, structures

from GradientGuidedRegistrationLib.evaluation import field_transform
from GradientGuidedRegistrationLib.model import gradient_magnitude, jacobian_determinant, mind_ssc, shrunk, warp
from GradientGuidedRegistrationLib.registration import Settings, problem, refinement, register, smoothness
from GradientGuidedRegistrationLib.registration.descriptors import GRADIENT_WEIGHT, Descriptors
from GradientGuidedRegistrationLib.registration.joint import JointHistogram
from GradientGuidedRegistrationLib.registration.problem import hold
from GradientGuidedRegistrationLib.registration.refinement import FAR_STAGES, FURTHER_STAGES, STAGES, refine
from GradientGuidedRegistrationLib.training.phantom import phantom_images


def test_what_is_minimised_is_the_roughness_of_the_stage(monkeypatch):
    fixed, moving = (structures((48, 48, 48), seed) for seed in (0, 1))
    asked = []

    def counted_as(velocity: torch.Tensor) -> torch.Tensor:
        asked.append(velocity.detach())
        return smoothness.roughness(velocity) * 0

    plain = refine(Descriptors.of(fixed, moving), iterations=5)[0]
    monkeypatch.setattr(refinement, "STAGES", (*STAGES[:2], replace(STAGES[2], rough=counted_as)))
    assert not torch.equal(refine(Descriptors.of(fixed, moving), iterations=5)[0], plain)
    assert len(asked) == 5, "once an iteration of the finest stage"


def test_a_pair_may_jump_but_not_while_it_is_far_apart():
    """What may jump early follows what lies near: pairs 38 mm apart are then lost."""
    assert {stage.rough for stage in STAGES} == {smoothness.bounded}
    assert smoothness.bounded not in {stage.rough for stage in (*FAR_STAGES, *FURTHER_STAGES)}


@pytest.fixture(scope="module")
def warped_pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fixed and moving image of opposite contrast and the displacement between them."""
    shape = (33, 36, 39)
    moving, truth = structures(shape), smooth_warp(shape, 3.0)
    return 1 - warp(moving, truth), moving, truth


def test_refinement_recovers_a_known_warp_across_contrast(warped_pair):
    fixed, moving, truth = warped_pair
    found, _ = refine(Descriptors.of(fixed, moving), iterations=60)
    assert error(found, truth) < 0.25 * error(torch.zeros_like(truth), truth)
    assert jacobian_determinant(found).min() > 0


def test_refinement_of_an_identical_pair_stays_put(warped_pair):
    fixed = warped_pair[0]
    assert refine(Descriptors.of(fixed, fixed))[0].abs().max() < 1e-6


def test_refinement_is_repeatable_and_carries_nothing_over(warped_pair):
    fixed, moving, _ = warped_pair
    first, _ = refine(Descriptors.of(fixed, moving), iterations=5)
    refine(Descriptors.of(moving, fixed), iterations=5)
    assert torch.equal(first, refine(Descriptors.of(fixed, moving), iterations=5)[0])


def test_a_good_prediction_is_built_upon(warped_pair):
    fixed, moving, truth = warped_pair
    predicted = 0.6 * truth
    cold, _ = refine(Descriptors.of(fixed, moving), iterations=4)
    warm, is_used = refine(Descriptors.of(fixed, moving), predicted, iterations=4)
    assert is_used and error(warm, truth) < min(error(cold, truth), error(predicted, truth))


@pytest.mark.parametrize("share", [1.0, 0.8])
def test_a_prediction_changes_the_way_and_not_the_end(warped_pair, share):
    fixed, moving, truth = warped_pair
    cold, warm = (refine(Descriptors.of(fixed, moving), predicted)[0] for predicted in (None, share * truth))
    assert error(warm, cold) < 0.05 * error(torch.zeros_like(truth), truth)


@pytest.mark.parametrize(
    ("left", "is_used", "goes_on"),
    [
        ((1.0, 1.05, 1.05), True, (0.0 + 1.0 + 2.0) / 3),  # of no displacement, the search, the prediction
        ((1.2, 1.0, 1.04), True, (1.0 + 2.0) / 2),
        ((1.2, 1.0, 1.1), False, 1.0),
        ((1.0, 1.1, 1.1), False, 0.0),
        ((1.2, 1.1, 1.0), True, 2.0),
    ],
)
def test_the_mean_of_the_starts_that_fit_best_goes_on(monkeypatch, left, is_used, goes_on):
    begun, shape = [], (32, 28, 36)

    def through(descent, stages, velocity, progress):
        begun.append((stages, float(descent.lattice.displacement(velocity).mean())))
        return velocity

    def dissimilarity(descent, velocity):
        return left[round(float(descent.lattice.displacement(velocity).mean()))]

    monkeypatch.setattr(refinement, "searched", lambda descriptors: torch.ones(1, 3, *shape))
    monkeypatch.setattr(refinement._Descent, "through", through)
    monkeypatch.setattr(refinement._Descent, "dissimilarity", dissimilarity)
    _, used = refine(Descriptors.of(*torch.rand(2, 1, 1, *shape)), torch.full((1, 3, *shape), 2.0), 8)
    assert used is is_used
    assert [stages for stages, _ in begun] == [STAGES[:1]] * 3 + [STAGES[1:2], STAGES[2:]]
    assert [moved for _, moved in begun] == pytest.approx([0.0, 1.0, 2.0, goes_on, goes_on], abs=1e-3)


@pytest.mark.parametrize(
    ("iterations", "moves", "rounds"),
    [
        (30, [0.9], None),  # by the finest stage, then by that of a new beginning and by each further round; voxels
        (30, [1.1, 0.4], 0),
        (30, [1.1, 0.6, 0.4], 1),
        (30, [5.0, 3.0, 2.0, 2.0, 1.0, 0.6, 0.6], 5),
        (120, [1.1, 0.6, 0.4], 1),
        (29, [5.0], None),
    ],
)
def test_a_pair_that_still_moves_begins_anew_and_goes_through_further_rounds(monkeypatch, iterations, moves, rounds):
    ahead, begun, fractions = list(moves), [], []
    moving = {STAGES[2:], FAR_STAGES[1:], FURTHER_STAGES}

    def through(descent, stages, velocity, progress):
        begun.append(stages)
        progress(1.0)
        steps = torch.tensor(descent.lattice.steps).view(1, 3, 1, 1, 1)
        return velocity + ahead.pop(0) / 3**0.5 / steps if stages in moving else velocity

    monkeypatch.setattr(refinement._Descent, "through", through)
    refine(Descriptors.of(*torch.rand(2, 1, 1, 50, 52, 56)), iterations=iterations, progress=fractions.append)
    anew = [] if rounds is None else [FAR_STAGES[:1], FAR_STAGES[1:], *[FURTHER_STAGES] * rounds, STAGES[1:]]
    assert begun == [STAGES[:1], STAGES[:1], STAGES[1:2], STAGES[2:], *anew] and not ahead
    assert fractions == sorted(fractions) and fractions[-1] == 1


@pytest.mark.parametrize("is_nearer", [True, False])
def test_what_is_more_similar_is_kept_where_a_pair_begins_anew(monkeypatch, warped_pair, is_nearer):
    """Of no displacement, where the stages move nothing, and what is found anew, which knows of no prediction."""
    fixed, moving, truth = warped_pair
    descriptors = Descriptors.of(fixed, moving)
    anew = refinement._Descent(descriptors, 30, 0).velocity_of(truth if is_nearer else torch.full_like(truth, 30.0))
    monkeypatch.setattr(refinement, "_FAR", -1.0)
    monkeypatch.setattr(refinement, "searched", lambda descriptors: torch.zeros_like(truth))
    monkeypatch.setattr(refinement, "STAGES", tuple(replace(stage, rate=0.0) for stage in STAGES))
    monkeypatch.setattr(refinement._Descent, "from_afar", lambda descent, progress: anew)
    found, is_used = refine(descriptors, torch.zeros_like(truth))
    assert is_used is not is_nearer
    assert error(found, truth if is_nearer else torch.zeros_like(truth)) < 0.3


@pytest.mark.parametrize("begins_anew", [True, False])
def test_a_pair_that_lies_far_apart_is_found_anew(monkeypatch, begins_anew):
    """Farther than a search looks; without a new beginning it is not."""
    away = (44.0, 0.0, 0.0)
    images = phantom_images(331, shape=(56, 72, 72), spacing=2.0)
    moving = sitk.Image(images["moving"])
    moving.SetOrigin(np.add(moving.GetOrigin(), away).tolist())
    if not begins_anew:
        monkeypatch.setattr(refinement, "_FAR", 1e6)
    result = register(images["fixed"], moving, Settings(initialization="none", use_network=False))
    labels = images["fixed_labels"]
    voxels = np.argwhere(sitk.GetArrayFromImage(labels) > 0)[::97, ::-1]
    places = [labels.TransformIndexToPhysicalPoint(voxel.tolist()) for voxel in voxels]
    found, truth = (field_transform(field) for field in (result.field, images["field"]))
    apart = np.array([np.subtract(found.TransformPoint(p), truth.TransformPoint(p)) for p in places]) - away
    off = np.linalg.norm(apart, axis=1).mean()
    assert off < 3 if begins_anew else off > 10


def test_a_start_that_tears_the_pair_apart_is_left_out(monkeypatch, warped_pair):
    """However similar it makes it: in noise, some displacement always fits."""
    fixed, moving, truth = warped_pair
    torn = truth + 9 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)).sign()
    descent = refinement._Descent(Descriptors.of(fixed, moving), 4, 0)
    monkeypatch.setattr(refinement, "searched", lambda descriptors: truth)
    monkeypatch.setattr(
        refinement._Descent, "dissimilarity", lambda descent, velocity: 1 / (1 + float(velocity.norm()))
    )
    monkeypatch.setattr(refinement, "STAGES", tuple(replace(stage, rate=0.0) for stage in STAGES))
    rough = [float(smoothness.roughness(descent.velocity_of(start))) for start in (truth, torn)]
    assert rough[0] < refinement.TORN < rough[1]
    assert not refine(descent.descriptors, torn, 4)[1]


def test_what_glides_along_a_wall_does_not_drag_the_wall_along():
    """Within four to eight voxels of it, against the smoothness that cannot jump."""
    shape, wall = (64, 48, 80), 40
    image = structures(shape)
    truth = torch.zeros(1, 3, *shape)
    truth[:, 0, ..., wall:] = 7.0
    descriptors = Descriptors.of(1 - warp(image, truth), image)
    found, _ = refine(descriptors)
    descent = refinement._Descent(descriptors, 30, 0)
    smooth = tuple(replace(stage, rough=smoothness.roughness, smoothness=1.0) for stage in STAGES)
    dragged = descent.result(descent.through(smooth, descent.velocity_of(None), lambda fraction: None))
    beside = (..., slice(wall - 8, wall - 4))
    assert error(found, truth, beside) < 0.75 * error(dragged, truth, beside)
    assert jacobian_determinant(found).min() > 0


def test_air_hardly_counts():
    """All of the body does, and a tenth of the air, whose noise some displacement always fits."""
    generator = torch.Generator().manual_seed(4)
    shape = (40, 44, 48)
    body = torch.zeros(1, 1, *shape)
    body[..., 6:-6, 6:-6, 6:-6] = 1
    noise = 0.02 * torch.rand(1, 1, *shape, generator=generator)
    described = Descriptors.of(body * (0.5 + structures(shape)) + noise, body)
    for shrink in (1, 2):
        looked = problem.Problem(described.shrunk(shrink), shrink, 10**6)
        is_body = shrunk(body, shrink)[0, 0]
        assert looked.counts[is_body == 1].all()
        assert 0.05 < looked.counts[is_body == 0].float().mean() < 0.15
        assert len(looked.counting((0, 0, 0))) == looked.counts.sum()


def test_a_folding_start_may_help_and_leaves_no_fold():
    """The truth with noise that folds it, on a pair too far apart for the iterations from no displacement."""
    shape = (40, 44, 48)
    moving, truth = structures(shape), smooth_warp(shape, 5.0)
    descriptors = Descriptors.of(1 - warp(moving, truth), moving)
    start = truth + torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    assert jacobian_determinant(start).min() < 0
    found, is_used = refine(descriptors, start, 4)
    assert is_used and jacobian_determinant(found).min() > 0
    assert error(found, truth) < 0.9 * error(refine(descriptors, iterations=4)[0], truth)


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
    found, is_used = refine(descriptors, prediction, 3)
    assert not is_used and torch.equal(found, refine(descriptors, iterations=3)[0])


def test_what_is_masked_has_no_pull(warped_pair):
    """Whatever is there, what is found beside it is the same."""
    fixed, moving, _ = warped_pair
    mask = torch.ones_like(fixed)
    mask[..., :12] = 0

    def found(seed: int, mask: torch.Tensor | None) -> torch.Tensor:
        spoiled = fixed.clone()
        spoiled[..., :12] = random(*spoiled[..., :12].shape, seed=seed)
        return refine(Descriptors.of(spoiled, moving, mask), iterations=20)[0][..., 12:]

    free, masked = (error(found(8, m), found(9, m)) for m in (None, mask))
    assert masked < 0.2 * free


def test_progress_rises_to_one_and_can_stop(warped_pair):
    fixed, moving, _ = warped_pair
    fractions: list[float] = []
    refine(Descriptors.of(fixed, moving), iterations=4, progress=fractions.append)
    assert fractions == sorted(fractions) and fractions[-1] == 1

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(Descriptors.of(fixed, moving), iterations=4, progress=stop)


@pytest.mark.parametrize("points", [100, 10**6])
def test_a_pair_holds_a_displacement_along_the_axes_that_it_tells(monkeypatch, points):
    """Of layers along one axis a push along the others changes nothing, at all voxels or at a subset of them."""
    monkeypatch.setattr(problem, "_POINTS_PUSHED", points)
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
