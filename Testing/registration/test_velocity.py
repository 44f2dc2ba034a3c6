"""Sampling, splines, velocities and their roughness, against references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.interpolate
import torch
from known_pairs import random, smooth_warp

from GradientGuidedRegistrationLib.model import warp
from GradientGuidedRegistrationLib.registration import smoothness
from GradientGuidedRegistrationLib.registration.sampling import Sampler
from GradientGuidedRegistrationLib.registration.velocity import Lattice, interpolate, smoothing_matrix, spline_matrix


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


def test_a_jump_counts_no_more_than_its_bound():
    """Small differences count as they do without a bound; a jump of any length across a plane counts the same."""
    wave = smooth_warp((6, 7, 8), 1e-3)
    assert torch.allclose(smoothness.bounded(wave), smoothness.roughness(wave), rtol=1e-3)

    def jumping(length: float) -> float:
        """The roughness where a slab glides."""
        velocity = torch.zeros(1, 3, 9, 8, 8)
        velocity[:, 0, :, :, 2:5] = length
        return float(smoothness.bounded(velocity))

    planes = 2 / 7 + smoothness.BENDING * 4 / 6  # of differences along the last axis: two of first ones, four of second
    assert jumping(3.0) == pytest.approx(jumping(30.0), rel=0.02)
    assert jumping(30.0) == pytest.approx(smoothness.BOUND / 3 * planes, rel=0.05)
    assert jumping(0.01) < 0.03 * jumping(3.0)


def test_much_roughness_counts_less_and_less():
    """Up to a point all of it counts; past it the slope falls from 1 with one over the roughness, without a step."""
    wave = smooth_warp((6, 7, 8), 1.0).double()
    one = (smoothness.ROUGH / smoothness.roughness(wave)).sqrt()
    rough = torch.tensor([0.0, 0.5, 1.0, 2.0, 8.0], dtype=torch.float64, requires_grad=True)
    counted = torch.stack([smoothness.eased(wave * one * (part + 1e-12).sqrt()) for part in rough]) / smoothness.ROUGH
    assert torch.allclose(counted, torch.tensor([0, 0.5, 1, 1 + math.log(2), 1 + math.log(8)], dtype=torch.float64))
    (slope,) = torch.autograd.grad(counted.sum(), rough)
    assert torch.allclose(slope[[1, 3, 4]], torch.tensor([1, 1 / 2, 1 / 8], dtype=torch.float64))


def test_velocity_of_a_displacement_generates_it():
    """Of one that a velocity on the lattice has generated, odd sizes and several voxels long."""
    lattice = Lattice((41, 50, 38), 4)
    noise = torch.randn(1, 3, *lattice.counts, generator=torch.Generator().manual_seed(1))
    velocity = interpolate(noise, [smoothing_matrix(count, 6, noise) for count in lattice.counts]) * 3
    displacement = lattice.displacement(velocity)
    assert displacement.norm(dim=1).max() > 3
    back = lattice.displacement(lattice.velocity_of(displacement))
    assert (back - displacement).norm(dim=1).mean() < 0.005 * displacement.norm(dim=1).mean()
