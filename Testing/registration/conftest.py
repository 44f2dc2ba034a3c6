"""Small images with any geometry for the registration tests."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.registration.grid import Grid


def oblique(degrees: float = 25.0) -> tuple[float, ...]:
    """Directions turned by an angle about two axes."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(np.radians(degrees), np.radians(-degrees), 0.0)
    return turn.GetMatrix()


GRIDS = {
    "LPS": Grid((20, 18, 17), (2.0, 2.0, 2.0), (-10.0, 5.0, 30.0), tuple(np.eye(3).ravel())),
    "RAS": Grid((21, 18, 16), (2.0, 2.0, 2.0), (10.0, 5.0, 30.0), tuple(np.diag([-1.0, -1.0, 1.0]).ravel())),
    "oblique": Grid((19, 20, 17), (1.5, 2.0, 2.5), (3.0, -7.0, 11.0), oblique()),
    "anisotropic": Grid((40, 41, 16), (0.7, 0.7, 5.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel())),
    "left-handed": Grid((20, 21, 22), (2.0, 1.0, 3.0), (4.0, 5.0, 6.0), tuple(np.diag([1.0, 1.0, -1.0]).ravel())),
}


@pytest.fixture(params=GRIDS, ids=str)
def grid(request) -> Grid:
    return GRIDS[request.param]


@pytest.fixture
def blobs():
    """A function that makes a smooth image of random blobs on a grid, float32, from a physical description."""

    def make(grid: Grid, seed: int = 0) -> sitk.Image:
        random = np.random.default_rng(seed)
        k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
        points = np.array(grid.origin) + np.stack([i, j, k], -1) @ (grid.axes * np.array(grid.spacing)).T
        values = np.zeros(grid.shape)
        for _ in range(25):
            center = grid.center + random.uniform(-18, 18, 3)
            square = ((points - center) ** 2).sum(-1)
            values += random.uniform(50, 300) * np.exp(-square / (2 * random.uniform(3, 8) ** 2))
        return grid.image(values.astype(np.float32))

    return make
