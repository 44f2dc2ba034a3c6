"""The search that a refinement begins with, against loops and known displacements."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from GradientGuidedRegistrationLib.registration import search
from GradientGuidedRegistrationLib.registration.descriptors import Descriptors
from GradientGuidedRegistrationLib.registration.search import searched


def blobs(shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    """An image (1, 1, D, H, W) in [0, 1] with structure everywhere."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return torch.from_numpy((noise - noise.min()) / np.ptp(noise)).float()[None, None]


@pytest.mark.parametrize("by", [(0, 0, 0), (0, 8, -4), (12, 0, 0)])
def test_a_shift_is_found_across_contrast(by):
    shape = (48, 56, 52)
    image = blobs(shape)
    fixed = 1 - torch.roll(image, [-n for n in by], (2, 3, 4))  # moving(x + by) is fixed(x)
    found = searched(Descriptors.of(fixed, image))
    inner = found[..., 14:-14, 14:-14, 14:-14].flatten(2).mean(2)[0]
    assert found.shape == (1, 3, *shape)
    assert torch.allclose(inner, torch.tensor(by, dtype=torch.float32), atol=0.5)


def test_what_glides_is_found_beside_what_stays():
    image = blobs((64, 48, 64))
    moved = torch.roll(image, -12, 2)
    moved[..., :32] = image[..., :32]
    found = searched(Descriptors.of(moved, image))[0, 0, 16:-16, 10:-10]
    assert abs(float(found[..., 8:20].mean())) < 1.0 and abs(float(found[..., 42:56].mean()) - 12) < 1.5


@pytest.mark.parametrize("shape", [(19, 40, 40), (12, 12, 12), (1, 30, 30)])
def test_too_small_images_are_left_where_they_are(shape):
    assert searched(Descriptors.of(torch.rand(1, 1, *shape), torch.rand(1, 1, *shape))).abs().max() == 0


@pytest.mark.parametrize("shape", [(20, 41, 23), (33, 20, 50)])
def test_any_size_and_masks_that_leave_nothing(shape):
    fixed, moving = (blobs(shape, seed) for seed in (0, 1))
    assert searched(Descriptors.of(fixed, moving)).shape == (1, 3, *shape)
    nothing = torch.zeros_like(fixed)
    for masks in ((nothing, None), (None, nothing), (nothing, nothing)):
        found = searched(Descriptors.of(fixed, moving, *masks))
        assert torch.isfinite(found).all() and found.abs().max() == 0


def test_what_is_masked_out_is_not_looked_at():
    """What of the fixed image is of something else pulls at what lies beside it, unless it is masked."""
    image = blobs((48, 48, 64))
    fixed = torch.roll(image, -8, 2)
    fixed[..., 32:] = torch.roll(image, 8, 2)[..., 32:]
    mask = torch.ones_like(fixed)
    mask[..., 32:] = 0
    free, masked = (searched(Descriptors.of(fixed, image, m))[0, 0, 14:-14, 10:-10, 24:32] for m in (None, mask))
    assert float((masked - 8).abs().mean()) < 1 < 0.5 * float((free - 8).abs().mean())


def test_differences_are_those_of_loops():
    """Of the weighted descriptors of cells and their neighbours, where both images are seen."""
    fixed, moving = (blobs((24, 32, 36), seed) for seed in (0, 1))
    mask = (blobs((24, 32, 36), 2) > 0.4).float()
    whole = Descriptors.of(fixed, moving, mask, None)
    half, pair = whole.shrunk(search.COARSE), whole.shrunk(search.SHRINK)
    steps = [(0, 0, 0), (1, -2, 0), (-4, 4, 3)]
    got = search._unlike(search._averaged(half.fixed), search._averaged(half.moving), steps).numpy()
    here, there = (described.features[0, :12].double().numpy() for described in (pair.fixed, pair.moving))
    weight = (pair.fixed.weight() * pair.fixed.tissue)[0, 0].double().numpy()
    shape, cells = np.array(weight.shape), got.shape[1:]
    differences, weights = (np.zeros((len(steps), *cells)) for _ in range(2))
    for number, step in enumerate(steps):
        for voxel in np.ndindex(*shape):
            other = np.add(voxel, step)
            if ((other >= 0) & (other < shape)).all():
                cell = (number, *np.floor_divide(voxel, search.CELL))
                differences[cell] += (
                    weight[voxel] * ((there[(slice(None), *other)] - here[(slice(None), *voxel)]) ** 2).mean()
                )
                weights[cell] += weight[voxel]
    around = [ndimage.uniform_filter(a, (0, 3, 3, 3), mode="constant") for a in (differences, weights)]
    counted = ndimage.uniform_filter(np.ones(cells), 3, mode="constant")
    seen = around[1] / search.CELL**3 / counted > search._LEAST_SEEN
    assert seen.any() and not seen.all()
    assert np.allclose(got[seen], (around[0] / np.maximum(around[1], 1e-12))[seen], rtol=1e-4)
    assert np.ptp(got[~seen]) == 0


def test_the_smallest_displacement_is_taken_where_all_fit_alike():
    flat = torch.full((1, 1, 40, 40, 40), 0.5)
    assert searched(Descriptors.of(flat, flat)).abs().max() < 1e-4
