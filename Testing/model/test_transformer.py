"""The spatial transformer against SimpleITK and MONAI."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from GradientGuidedRegistrationLib.model import warp


def resample_with_itk(image, displacement, interpolator=sitk.sitkLinear):
    """Warp (D, H, W) by (3, D, H, W) in voxels with SimpleITK, whose vectors are (x, y, z)."""
    vectors = displacement[::-1].transpose(1, 2, 3, 0).astype(np.float64)
    transform = sitk.DisplacementFieldTransform(sitk.GetImageFromArray(np.ascontiguousarray(vectors), isVector=True))
    volume = sitk.GetImageFromArray(image)
    return sitk.GetArrayFromImage(sitk.Resample(volume, volume, transform, interpolator, -1.0))


@pytest.mark.parametrize("shape", [(9, 12, 11), (16, 5, 20)])
def test_agrees_with_simpleitk_where_the_points_are_inside(shape, smooth_field):
    image, displacement = torch.rand(1, 1, *shape), smooth_field(shape, 2.5)
    expected = resample_with_itk(image[0, 0].numpy(), displacement[0].numpy())
    found = warp(image, displacement)[0, 0].numpy()
    inside = expected >= 0
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-5)


def test_nearest_agrees_with_simpleitk_and_invents_no_label(smooth_field):
    shape = (10, 11, 12)
    labels, displacement = torch.randint(0, 5, (1, 1, *shape)).float() * 1000, smooth_field(shape, 2.0)
    found = warp(labels, displacement, mode="nearest")
    expected = resample_with_itk(labels[0, 0].numpy(), displacement[0].numpy(), sitk.sitkNearestNeighbor)
    inside = expected >= 0
    assert set(found.unique().tolist()) <= set(labels.unique().tolist())
    # Half-way points may be rounded either way.
    assert (found[0, 0].numpy()[inside] == expected[inside]).mean() > 0.999


def test_agrees_with_monai_outside_of_the_grid_too():
    blocks = pytest.importorskip("monai.networks.blocks")
    image, displacement = torch.rand(2, 3, 7, 8, 9), 6 * torch.randn(2, 3, 7, 8, 9)
    expected = blocks.Warp(mode="bilinear", padding_mode="border")(image, displacement)
    assert torch.allclose(warp(image, displacement), expected, atol=1e-5)


def test_samples_where_the_displacement_points():
    image = torch.arange(4 * 5 * 6.0).view(1, 1, 4, 5, 6)
    displacement = torch.zeros(1, 3, 4, 5, 6)
    displacement[:, 0], displacement[:, 2] = 1.0, 2.0
    found = warp(image, displacement)
    assert torch.allclose(found[0, 0, :3, :, :4], image[0, 0, 1:, :, 2:])
    assert torch.allclose(found[0, 0, 3, :, 5], image[0, 0, 3, :, 5])  # the border value goes on


def test_zero_displacement_changes_nothing_and_thin_volumes_work():
    for shape in ((1, 6, 7), (5, 1, 1), (17, 6, 5)):
        image = torch.rand(1, 2, *shape)
        assert torch.allclose(warp(image, torch.zeros(1, 3, *shape)), image, atol=1e-6)


def test_the_number_of_threads_does_not_change_the_result():
    image, displacement = torch.rand(1, 2, 12, 6, 7), torch.randn(1, 3, 12, 6, 7)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            leaf = displacement.clone().requires_grad_()
            warped = warp(image, leaf)
            warped.square().sum().backward()
            found.append((warped.detach(), leaf.grad))
    finally:
        torch.set_num_threads(before)
    for warped, gradient in found[1:]:
        assert torch.equal(warped, found[0][0]) and torch.equal(gradient, found[0][1])


def test_one_image_for_a_batch_of_displacements():
    image, displacement = torch.rand(1, 1, 5, 6, 7), torch.randn(3, 3, 5, 6, 7)
    expected = torch.cat([warp(image, field[None]) for field in displacement])
    assert torch.allclose(warp(image, displacement), expected)


def test_gradcheck():
    image = torch.rand(1, 2, 4, 3, 5, dtype=torch.double, requires_grad=True)
    displacement = (torch.rand(1, 3, 4, 3, 5, dtype=torch.double) * 0.8 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(warp, (image, displacement), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_images_keep_their_coordinates(dtype):
    shape = (3, 4, 2050)  # no half-precision number tells 2047 from 2048
    image = (torch.arange(2050) % 2).to(dtype).expand(1, 1, *shape).contiguous()
    displacement = torch.zeros(1, 3, *shape)
    displacement[:, 2] = 1.0
    found = warp(image, displacement)
    assert found.dtype == dtype
    assert torch.allclose(found[..., :-1].float(), image[..., 1:].float(), atol=1e-3)


def test_a_gpu_agrees_with_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    image, displacement = torch.rand(2, 1, 9, 8, 7), torch.randn(2, 3, 9, 8, 7)
    assert torch.allclose(warp(image.cuda(), displacement.cuda()).cpu(), warp(image, displacement), atol=1e-5)


@pytest.mark.parametrize(
    ("image", "displacement", "words"),
    [
        (torch.rand(1, 1, 4, 4), torch.rand(1, 3, 4, 4, 4), r"image.*\(1, 1, 4, 4\)"),
        (torch.rand(1, 1, 4, 4, 4), torch.rand(1, 2, 4, 4, 4), r"displacement.*\(1, 2, 4, 4, 4\)"),
        (torch.rand(1, 1, 4, 4, 5), torch.rand(1, 3, 4, 4, 4), r"same grid.*\(1, 1, 4, 4, 5\).*\(1, 3, 4, 4, 4\)"),
        (torch.rand(2, 1, 4, 4, 4), torch.rand(3, 3, 4, 4, 4), "same grid"),
        (torch.rand(1, 1, 0, 4, 4), torch.rand(1, 3, 0, 4, 4), "empty"),
        (torch.ones(1, 1, 4, 4, 4).long(), torch.rand(1, 3, 4, 4, 4), "int64"),
        (np.zeros((1, 1, 4, 4, 4)), torch.rand(1, 3, 4, 4, 4), "ndarray"),
    ],
)
def test_refuses_wrong_input_by_name_and_shape(image, displacement, words):
    with pytest.raises(ValueError, match=words):
        warp(image, displacement)


def test_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="cubic"):
        warp(torch.rand(1, 1, 4, 4, 4), torch.rand(1, 3, 4, 4, 4), mode="cubic")
