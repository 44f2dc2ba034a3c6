"""Algebra of displacement fields against analytic fields and SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from GradientGuidedRegistrationLib.model import (
    compose,
    exponentiate,
    invert,
    jacobian_determinant,
    mm_to_voxel,
    resize,
    voxel_to_mm,
    warp,
)

SHAPE = (24, 26, 28)


def coordinates(shape, dtype=torch.double):
    return torch.stack(torch.meshgrid(*(torch.arange(size, dtype=dtype) for size in shape), indexing="ij"))[None]


def inner(volume, margin=3):
    return volume[..., margin:-margin, margin:-margin, margin:-margin]


def test_compose_is_warping_twice():
    # Trilinear sampling is exact for an affine image, so that both sides agree to rounding.
    shape = (12, 13, 14)
    image = (coordinates(shape) * torch.tensor([1.0, -2.0, 0.5]).view(1, 3, 1, 1, 1)).sum(dim=1, keepdim=True)
    first, second = (torch.rand(1, 3, *shape, dtype=torch.double) - 0.5 for _ in range(2))
    twice, once = warp(warp(image, first), second), warp(image, compose(first, second))
    assert torch.allclose(inner(twice), inner(once), atol=1e-9)
    assert not torch.allclose(inner(twice), inner(warp(image, compose(second, first))), atol=1e-2)


def test_compose_adds_translations_and_has_a_neutral_element(smooth_field):
    field, zero = smooth_field(SHAPE, 2.0), torch.zeros(1, 3, *SHAPE)
    assert torch.allclose(compose(field, zero), field, atol=1e-5)
    assert torch.allclose(compose(zero, field), field)
    one, two = torch.full_like(zero, 1.0), torch.full_like(zero, -2.5)
    assert torch.allclose(compose(one, two), one + two)


def test_exponential_of_a_linear_velocity_is_the_matrix_exponential():
    shape = (21, 21, 21)
    generator = 0.1 * torch.tensor([[0.2, -1.0, 0.0], [1.0, 0.1, 0.3], [0.0, -0.3, -0.2]], dtype=torch.double)
    points = coordinates(shape) - 10
    velocity = torch.einsum("ij,bjdhw->bidhw", generator, points)
    flow = torch.einsum("ij,bjdhw->bidhw", torch.matrix_exp(generator) - torch.eye(3, dtype=torch.double), points)
    # Near the border the flow leaves the grid, where the velocity does not go on linearly.
    assert (inner(exponentiate(velocity, steps=10) - flow, 5)).abs().max() < 2e-3


def test_exponential_of_the_opposite_is_the_inverse(smooth_field):
    velocity = smooth_field((40, 42, 44), 2.0, nodes=2)
    back_and_forth = compose(exponentiate(velocity), exponentiate(-velocity))
    assert back_and_forth.abs().max() < 0.06  # what linear sampling of a curved field leaves
    assert jacobian_determinant(exponentiate(velocity)).min() > 0.3


def test_inverse_of_a_smooth_diffeomorphic_field(smooth_field):
    shape = (40, 42, 44)
    field = exponentiate(smooth_field(shape, 3.0, nodes=2))
    assert field.abs().max() > 2
    inverse, residual = invert(field)
    assert residual.shape == (1, 1, *shape)
    assert residual.max() < 0.05
    assert compose(field, inverse).norm(dim=1).max() < 0.05
    assert compose(inverse, field).norm(dim=1).max() < 0.25  # the other way round, up to the sampling of the inverse


def test_inverse_of_a_field_that_stretches_fourfold(smooth_field):
    field = exponentiate(smooth_field(SHAPE, 4.0))
    determinant = jacobian_determinant(field)
    assert 0 < determinant.min() < 0.2 and determinant.max() > 4
    inverse, residual = invert(field)
    assert residual.max() < 0.05
    assert torch.allclose(compose(field, inverse).norm(dim=1, keepdim=True), residual, atol=1e-4)


def test_inverse_where_the_plain_fixed_point_diverges():
    # Stretching by 2.5 has a Lipschitz constant of 1.5: ψ ← −φ(x + ψ) alone moves away from the solution.
    shape = (25, 9, 9)
    field = torch.zeros(1, 3, *shape)
    ramp = torch.arange(25.0) - 12
    field[:, 0] = (1.5 * ramp * torch.exp(-((ramp / 4) ** 2))).view(25, 1, 1)
    assert jacobian_determinant(field).min() > 0.2
    inverse, residual = invert(field)
    assert residual.max() < 0.05
    assert inverse[0, 0, 16, 4, 4] < -1


def test_inverse_says_where_there_is_none():
    field = torch.zeros(1, 3, 20, 8, 8)
    field[:, 0] = 5 * torch.sin(torch.arange(20.0)).view(20, 1, 1)  # folds
    assert jacobian_determinant(field).min() < 0
    assert invert(field)[1].isfinite().all()
    shift = torch.full((1, 3, 8, 8, 8), 2.0)
    inverse, residual = invert(shift)
    assert torch.allclose(inverse, -shift, atol=1e-3) and residual.max() < 1e-3


def test_jacobian_of_a_periodic_field_is_the_one_written_down():
    size = 48
    x = 2 * np.pi * coordinates((size,) * 3) / size
    amplitude, k = 0.8, 2 * np.pi / size
    d, h, w = x[:, 0], x[:, 1], x[:, 2]
    field = amplitude * torch.stack([torch.sin(h), torch.sin(w) * torch.cos(d), torch.cos(w)], dim=1)
    a = amplitude * k
    zero, one = torch.zeros_like(d), torch.ones_like(d)
    matrix = torch.stack(
        [
            torch.stack([one, a * torch.cos(h), zero], dim=-1),
            torch.stack([-a * torch.sin(w) * torch.sin(d), one, a * torch.cos(w) * torch.cos(d)], dim=-1),
            torch.stack([zero, zero, 1 - a * torch.sin(w)], dim=-1),
        ],
        dim=-2,
    )
    found, expected = jacobian_determinant(field)[:, 0], torch.linalg.det(matrix)
    # Central differences shrink a derivative by sin(k)/k.
    assert (inner(found - expected, 1)).abs().max() < 1e-3
    assert expected.std() > 0.05


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 1.2)])
def test_jacobian_agrees_with_simpleitk(spacing, smooth_field):
    field = smooth_field((12, 14, 16), 2.0, dtype=torch.double)
    vectors = np.ascontiguousarray(field[0].numpy()[::-1].transpose(1, 2, 3, 0))
    image = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing(spacing[::-1])
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))
    found = jacobian_determinant(field, spacing)[0, 0]
    np.testing.assert_allclose(inner(found, 1).numpy(), expected[1:-1, 1:-1, 1:-1], atol=1e-5)


def test_jacobian_does_not_depend_on_the_unit(smooth_field):
    field, spacing = smooth_field(SHAPE, 2.0), (3.0, 0.5, 1.5)
    in_mm = voxel_to_mm(field, spacing)
    assert torch.allclose(in_mm[:, 0], 3 * field[:, 0]) and torch.allclose(in_mm[:, 2], 1.5 * field[:, 2])
    assert torch.allclose(jacobian_determinant(in_mm, spacing), jacobian_determinant(field), atol=1e-5)
    assert torch.allclose(mm_to_voxel(in_mm, spacing), field)


def test_jacobian_of_a_scaling_and_of_a_flip():
    points = coordinates((5, 6, 7))
    assert torch.allclose(jacobian_determinant(points), torch.tensor(8.0, dtype=torch.double))
    flip = torch.zeros_like(points)
    flip[:, 1] = -2 * points[:, 1]
    assert torch.allclose(jacobian_determinant(flip), torch.tensor(-1.0, dtype=torch.double))
    assert jacobian_determinant(torch.rand(1, 3, 1, 4, 4)).shape == (1, 1, 1, 4, 4)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("shape", [(15, 9, 21), (4, 12, 6)])
def test_resized_field_moves_points_of_space_as_before(shape, align_corners):
    # x → M x + t of the old grid; resampling is exact for it, and its values change unit with the voxels.
    old = (8, 10, 12)
    if align_corners:
        scale = [(n - 1) / (o - 1) for n, o in zip(shape, old)]
        place = [torch.arange(n, dtype=torch.double) / s for n, s in zip(shape, scale)]
    else:
        scale = [n / o for n, o in zip(shape, old)]
        place = [(torch.arange(n, dtype=torch.double) + 0.5) / s - 0.5 for n, s in zip(shape, scale)]
    matrix = torch.tensor([[0.1, 0.0, -0.2], [0.0, 0.3, 0.1], [0.2, 0.0, 0.0]], dtype=torch.double)

    def field(points):
        return torch.einsum("ij,bjdhw->bidhw", matrix, points) + 0.5

    expected = field(torch.stack(torch.meshgrid(*place, indexing="ij"))[None])
    expected = expected * torch.tensor(scale, dtype=torch.double).view(1, 3, 1, 1, 1)
    found = resize(field(coordinates(old)), shape, align_corners)
    margin = 0 if align_corners else 1
    window = (..., *(slice(margin, size - margin) for size in shape))
    assert torch.allclose(found[window], expected[window], atol=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: compose(bad, torch.zeros(1, 3, 4, 4, 4)),
        lambda bad: compose(torch.zeros(1, 3, 4, 4, 4), bad),
        exponentiate,
        invert,
        jacobian_determinant,
        lambda bad: resize(bad, (2, 2, 2)),
        lambda bad: voxel_to_mm(bad, 1.0),
    ],
)
def test_refuses_what_is_not_a_field(call):
    with pytest.raises(ValueError, match=r"\(1, 2, 4, 4, 4\)"):
        call(torch.zeros(1, 2, 4, 4, 4))


def test_refuses_wrong_numbers():
    field = torch.zeros(1, 3, 4, 4, 4)
    with pytest.raises(ValueError, match="steps"):
        exponentiate(field, steps=-1)
    with pytest.raises(ValueError, match="shape"):
        resize(field, (4, 0, 4))
    with pytest.raises(ValueError, match="spacing"):
        voxel_to_mm(field, None)
    with pytest.raises(ValueError, match="same grid"):
        compose(field, torch.zeros(1, 3, 4, 4, 5))
