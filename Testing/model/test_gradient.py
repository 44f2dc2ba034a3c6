"""Eq. 1 against volumes worked out by hand and against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from GradientGuidedRegistrationLib.model import gradient_magnitude


def test_a_single_bright_voxel_by_hand():
    image = torch.zeros(1, 1, 3, 3, 3)
    image[0, 0, 1, 1, 1] = 5.0
    expected = torch.zeros(3, 3, 3)
    for neighbour in ((0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2)):
        expected[neighbour] = 5.0  # V(x+1) − V(x−1), no factor ½
    assert torch.equal(gradient_magnitude(image, scale=False)[0, 0], expected)
    assert torch.equal(gradient_magnitude(image)[0, 0], expected / 5)


def test_a_ramp_is_halved_at_the_border_where_the_value_goes_on():
    d, h, w = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), torch.arange(6.0), indexing="ij")
    found = gradient_magnitude((1 * d + 2 * h + 3 * w)[None, None], scale=False)[0, 0]
    assert torch.allclose(found[1:-1, 1:-1, 1:-1], torch.tensor((2.0**2 + 4.0**2 + 6.0**2) ** 0.5))
    assert torch.allclose(found[0, 0, 0], torch.tensor((1.0**2 + 2.0**2 + 3.0**2) ** 0.5))


def test_agrees_with_numpy_and_divides_by_the_voxel_size():
    image = torch.rand(2, 2, 6, 7, 8, dtype=torch.double)
    spacing = (3.0, 0.5, 1.5)
    found = gradient_magnitude(image, spacing, scale=False).numpy()
    inner = (slice(1, -1),) * 3
    for item in range(2):
        for channel in range(2):
            parts = np.gradient(image[item, channel].numpy(), *spacing)
            expected = 2 * np.sqrt(sum(part**2 for part in parts))  # numpy has the factor ½
            np.testing.assert_allclose(found[item, channel][inner], expected[inner], rtol=1e-12)


def test_scaled_to_one_for_each_image_and_flat_stays_zero():
    image = torch.rand(2, 1, 6, 6, 6)
    image[1] = 0.25
    found = gradient_magnitude(image)
    assert found[0].max() == 1 and found[0].min() >= 0
    assert torch.equal(found[1], torch.zeros_like(found[1]))


def test_is_differentiable_also_where_the_image_is_flat():
    image = torch.zeros(1, 1, 4, 4, 4, requires_grad=True)
    gradient_magnitude(image, scale=False).sum().backward()
    assert torch.isfinite(image.grad).all()
    textured = torch.rand(1, 1, 4, 3, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda image: gradient_magnitude(image, (1, 2, 3)), textured, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_agrees_with_float32(dtype):
    image = torch.rand(1, 1, 8, 8, 8).to(dtype)
    found = gradient_magnitude(image)
    assert found.dtype == dtype
    assert torch.allclose(found.float(), gradient_magnitude(image.float()), atol=5e-3)


@pytest.mark.parametrize("spacing", [0.0, -1.0, (1.0, 2.0), (1.0, float("nan"), 1.0)])
def test_refuses_a_spacing_that_is_none(spacing):
    with pytest.raises(ValueError, match="spacing"):
        gradient_magnitude(torch.rand(1, 1, 4, 4, 4), spacing)


@pytest.mark.parametrize("image", [torch.rand(4, 4, 4), torch.rand(1, 1, 4, 4), torch.ones(1, 1, 4, 4, 4).int()])
def test_refuses_what_is_not_a_volume(image):
    with pytest.raises(ValueError, match="image"):
        gradient_magnitude(image)
