"""Fields and images with known properties, small enough for seconds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F


@pytest.fixture(autouse=True)
def reproducible():
    """One seed, and one thread: volumes as small as these only wait for a second one."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def smooth_field():
    """Return a maker of smooth random displacements (1, 3, *shape) in voxels that vanish at the border."""

    def make(shape, amplitude, seed=0, nodes=4, dtype=torch.float32):
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.zeros(1, 3, *(nodes + 4,) * 3, dtype=dtype)
        inner = (slice(None), slice(None), *(slice(2, 2 + nodes),) * 3)
        coarse[inner] = torch.rand(1, 3, *(nodes,) * 3, generator=generator, dtype=dtype) * 2 - 1
        field = F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)
        for _ in range(2):
            field = F.avg_pool3d(F.pad(field, (1,) * 6, mode="replicate"), 3, stride=1)
        return amplitude * field / field.abs().max()

    return make


@pytest.fixture
def texture():
    """Return a maker of smooth random images (B, 1, *shape) in [0, 1]."""

    def make(shape, seed=0, batch=1, dtype=torch.float32):
        from scipy.ndimage import gaussian_filter

        noise = np.random.default_rng(seed).normal(size=(batch, 1, *shape))
        image = gaussian_filter(noise, sigma=(0, 0, 1.5, 1.5, 1.5))
        image = (image - image.min()) / (image.max() - image.min())
        return torch.from_numpy(image).to(dtype)

    return make
