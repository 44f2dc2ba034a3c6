"""MIND and MIND-SSC against convexAdam, scipy and automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from GradientGuidedRegistrationLib.model import mind, mind_ssc, patch_distances
from GradientGuidedRegistrationLib.model.descriptors import DESCRIPTORS

SHAPES = [(11, 9, 13), (1, 6, 7), (3, 2, 5)]


@pytest.fixture(params=["whole volumes", "slabs of a plane or two", "groups of channels, as on a GPU"])
def work_in(request, monkeypatch):
    """Run a test for each way in which the engine divides the work."""
    if request.param.startswith("slabs"):
        monkeypatch.setattr(patch_distances, "CPU_BUFFER", 500)
    elif request.param.startswith("groups"):
        create = patch_distances.PatchDistances.__init__

        def create_grouped(self, volume, pairs, radius, dilation, mask=None):
            create(self, volume, pairs, radius, dilation, mask)
            self.channels, self.planes = 5, self.depth
            self.buffers = self.image.new_zeros(
                3 if mask is not None else 2, 5, self.planes + 2 * radius, *self._plane_shape()
            )

        monkeypatch.setattr(patch_distances.PatchDistances, "__init__", create_grouped)


def mind_by_scipy(image, radius, dilation):
    """Eq. 4 in numpy and scipy, from the formula."""
    padded = np.pad(image, dilation, mode="edge")
    distances = []
    for axis in range(3):
        for step in (-dilation, dilation):
            inner = [slice(dilation, dilation + size) for size in image.shape]
            inner[axis] = slice(dilation + step, dilation + step + image.shape[axis])
            difference = (image - padded[tuple(inner)]) ** 2
            distances.append(uniform_filter(difference, 2 * radius + 1, mode="nearest"))
    distances = np.stack(distances)
    variance = distances.mean(axis=0)
    variance = np.clip(variance, 1e-3 * variance.mean(), 1e3 * variance.mean())
    return np.exp(-distances / variance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("radius", "dilation"), [(1, 1), (2, 2), (0, 1)])
def test_mind_is_eq_4(shape, radius, dilation, work_in):
    image = torch.rand(2, 1, *shape, dtype=torch.double)
    found = mind(image, radius, dilation)
    assert found.shape == (2, 6, *shape)
    for item in range(2):
        expected = mind_by_scipy(image[item, 0].numpy(), radius, dilation)
        np.testing.assert_allclose(found[item].numpy(), expected, atol=1e-10)


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (2, 2), (2, 3), (1, 1)])
def test_mind_ssc_agrees_with_convexadam_to_the_border(radius, dilation, work_in):
    reference = pytest.importorskip("convexAdam.convex_adam_utils").MINDSSC
    image = torch.rand(1, 1, 12, 9, 13)
    assert torch.allclose(mind_ssc(image, radius, dilation), reference(image, radius, dilation, "cpu"), atol=1e-4)


def test_defaults_and_channels():
    image = torch.rand(1, 1, 9, 9, 9)
    assert mind_ssc(image).shape == (1, 12, 9, 9, 9)
    assert torch.equal(mind_ssc(image), mind_ssc(image, radius=1, dilation=2))
    assert mind(image).shape == (1, 6, 9, 9, 9)
    # V is the mean of the distances, so those of a voxel, −log M, have the mean 1: eq. 4 subtracts no minimum.
    assert torch.allclose(-mind(image).log().mean(dim=1), torch.ones(1, 9, 9, 9), atol=1e-4)
    assert torch.equal(mind_ssc(image).amax(dim=1), torch.ones(1, 9, 9, 9))


@pytest.mark.parametrize("describe", [mind, mind_ssc])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (2, 1), (0, 1)])
def test_derivative_is_that_of_the_formula(describe, shape, radius, dilation, work_in):
    # With a mask the formula is written step by step, and PyTorch differentiates it.
    image = torch.rand(2, 1, *shape, dtype=torch.double, requires_grad=True)
    formula = describe(image, radius, dilation, mask=torch.ones_like(image).detach())
    upstream = torch.randn_like(formula)
    (expected,) = torch.autograd.grad(formula, image, upstream)
    features = describe(image, radius, dilation)
    (found,) = torch.autograd.grad(features, image, upstream)
    assert torch.allclose(features, formula, atol=1e-9)
    assert torch.allclose(found, expected, atol=1e-8 * expected.abs().max())


def test_derivative_agrees_with_convexadam_under_autograd():
    reference = pytest.importorskip("convexAdam.convex_adam_utils").MINDSSC
    image = torch.rand(1, 1, 12, 9, 13, requires_grad=True)
    upstream = torch.randn(1, 12, 12, 9, 13)
    (expected,) = torch.autograd.grad(reference(image, 1, 2, "cpu"), image, upstream)
    (found,) = torch.autograd.grad(mind_ssc(image), image, upstream)
    assert torch.allclose(found, expected, atol=2e-4 * expected.abs().max())


@pytest.mark.parametrize("describe", [mind, mind_ssc])
def test_gradcheck(describe):
    image = torch.rand(1, 1, 4, 5, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(describe, image, fast_mode=True)


@pytest.mark.parametrize("name", list(DESCRIPTORS))
@pytest.mark.parametrize("weighted", [False, True])
def test_difference_is_the_mean_absolute_difference(name, weighted, work_in):
    descriptor = DESCRIPTORS[name]()
    image = torch.rand(2, 1, 9, 8, 7, dtype=torch.double, requires_grad=True)
    target = descriptor(torch.rand(2, 1, 9, 8, 7, dtype=torch.double))
    weight = torch.rand(2, 1, 9, 8, 7, dtype=torch.double) if weighted else torch.ones(2, 1, 9, 8, 7).double()
    error = (descriptor(image) - target).abs().mean(dim=1, keepdim=True)
    expected = (error * weight).sum() / weight.sum()
    found = descriptor.difference(image, target, weight if weighted else None)
    assert torch.allclose(found, expected)
    (expected_gradient,) = torch.autograd.grad(3 * expected, image)
    (gradient,) = torch.autograd.grad(3 * found, image)
    assert torch.allclose(gradient, expected_gradient, atol=1e-12)


def test_looks_alike_in_both_modalities_but_not_elsewhere(texture):
    image = texture((16, 16, 16))
    same, other = mind_ssc(1 - 3 * image), mind_ssc(image.roll(3, dims=2))
    assert torch.allclose(mind_ssc(image), same, atol=1e-3)
    assert (mind_ssc(image) - other).abs().mean() > 0.05


def test_flat_images_and_regions_give_finite_descriptors_and_derivatives():
    for describe in (mind, mind_ssc):
        image = torch.full((1, 1, 8, 8, 8), 0.5, requires_grad=True)
        features = describe(image)
        features.sum().backward()
        assert torch.equal(features, torch.ones_like(features)) and torch.equal(image.grad, torch.zeros_like(image))
        partly = torch.rand(1, 1, 16, 8, 8)
        partly[:, :, :10] = 0
        partly.requires_grad_()
        describe(partly).square().sum().backward()
        assert torch.isfinite(partly.grad).all()


@pytest.mark.parametrize("describe", [mind, mind_ssc])
def test_a_mask_hides_what_is_outside(describe):
    inside = torch.zeros(1, 1, 14, 12, 12)
    inside[:, :, :8] = 1
    image = torch.rand(1, 1, 14, 12, 12)
    changed = torch.where(inside > 0, image, torch.rand_like(image) * 100)
    found, expected = describe(changed, mask=inside), describe(image, mask=inside)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(describe(changed)[:, :, :8], describe(image)[:, :, :8], atol=1e-2)
    assert torch.equal(found[:, :, 12:], torch.ones_like(found[:, :, 12:]))


@pytest.mark.parametrize("describe", [mind, mind_ssc])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (2, 1), (0, 1)])
def test_masked_descriptors_are_those_of_the_formula(describe, shape, radius, dilation, work_in):
    image = torch.rand(2, 1, *shape, dtype=torch.double)
    mask = (torch.rand(1, 1, *shape) > 0.3).double()
    # An image that may be differentiated is described step by step.
    formula = describe(image.clone().requires_grad_(), radius, dilation, mask=mask.expand(2, -1, -1, -1, -1))
    assert torch.allclose(describe(image, radius, dilation, mask=mask), formula, atol=1e-9)


def test_each_image_of_a_batch_is_described_by_itself():
    images = torch.rand(3, 1, 8, 9, 7) * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1, 1, 1)
    expected = torch.cat([mind_ssc(image[None]) for image in images])
    assert torch.allclose(mind_ssc(images), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("describe", [mind, mind_ssc])
def test_half_precision_agrees_with_float32(dtype, describe):
    image = torch.rand(1, 1, 9, 9, 9).to(dtype)
    found = describe(image)
    assert found.dtype == dtype
    assert torch.allclose(found.float(), describe(image.float()), atol=5e-3)


def test_a_gpu_agrees_with_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    image = torch.rand(2, 1, 20, 18, 16)
    upstream = torch.randn(2, 12, 20, 18, 16)
    results = []
    for device in ("cpu", "cuda"):
        leaf = image.to(device, copy=True).requires_grad_()
        features = mind_ssc(leaf)
        features.backward(upstream.to(device))
        results.append((features.detach().cpu(), leaf.grad.cpu()))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-4)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-3 * results[0][1].abs().max())


@pytest.mark.parametrize("describe", [mind, mind_ssc])
def test_refuses_wrong_input(describe):
    image = torch.rand(1, 1, 8, 8, 8)
    with pytest.raises(ValueError, match=r"\(1, 2, 8, 8, 8\)"):
        describe(torch.rand(1, 2, 8, 8, 8))
    with pytest.raises(ValueError, match=r"\(8, 8, 8\)"):
        describe(image[0, 0])
    with pytest.raises(ValueError, match="radius"):
        describe(image, radius=-1)
    with pytest.raises(ValueError, match="dilation"):
        describe(image, dilation=0)
    with pytest.raises(ValueError, match="mask"):
        describe(image, mask=torch.ones(1, 1, 8, 8, 9))
