"""Images in awkward geometry, and nodes that hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

Geometry = dict[str, Any]


def rotation(axis: str, degrees: float) -> np.ndarray:
    """(3, 3) rotation about one axis."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


OBLIQUE = rotation("x", 25) @ rotation("z", 25)
GEOMETRIES: dict[str, Geometry] = {
    "lps": {"size": (20, 24, 18), "spacing": (1.5, 1.5, 2.0), "direction": np.eye(3), "origin": (-12.0, 30.0, 5.0)},
    "ras": {"size": (20, 24, 18), "spacing": (1.5, 1.5, 2.0), "direction": np.diag([-1.0, -1, 1]), "origin": (9, 9, 9)},
    "oblique-anisotropic": {
        "size": (31, 27, 9),
        "spacing": (0.7, 0.7, 5.0),
        "direction": OBLIQUE,
        "origin": (-40, 12, 88),
    },
    "left-handed": {
        "size": (17, 21, 13),
        "spacing": (1.1, 0.9, 3.0),
        "direction": OBLIQUE @ np.diag([1, 1, -1.0]),
        "origin": (3.0, -7.0, 150.0),
    },
    "permuted-odd": {
        "size": (11, 29, 19),
        "spacing": (2.5, 1.0, 1.25),
        "direction": np.eye(3)[:, [2, 0, 1]],
        "origin": (1.0, 2.0, 3.0),
    },
}


def make_image(geometry: Geometry, pixel: int = sitk.sitkFloat32, seed: int = 0) -> sitk.Image:
    """Random voxels between 0 and 100 on a grid."""
    rng = np.random.default_rng(seed)
    image = sitk.Cast(sitk.GetImageFromArray(rng.integers(0, 100, geometry["size"][::-1]).astype(np.int16)), pixel)
    image.SetSpacing(geometry["spacing"])
    image.SetOrigin(geometry["origin"])
    image.SetDirection(np.asarray(geometry["direction"], dtype=float).ravel().tolist())
    return image


def make_field(geometry: Geometry, amplitude: float = 6.0) -> sitk.Image:
    """A smooth field in LPS mm that is zero on the border of its grid."""
    size = geometry["size"]
    grid = np.indices(size[::-1]).astype(float)
    window = np.prod([np.sin(np.pi * g / (n - 1)) for g, n in zip(grid, size[::-1])], axis=0)
    waves = [np.cos(0.2 * grid[2] + 0.1 * grid[0]), np.sin(0.15 * grid[1] + 1), np.cos(0.3 * grid[0] - 0.1 * grid[2])]
    vectors = amplitude * window[..., None] * np.stack(waves, axis=-1)
    field = sitk.GetImageFromArray(vectors.astype(np.float32), isVector=True)
    field.CopyInformation(make_image(geometry))
    return field


def random_points(image: sitk.Image, count: int = 200, seed: int = 1) -> np.ndarray:
    """(N, 3) LPS positions strictly inside the grid of an image."""
    rng = np.random.default_rng(seed)
    indices = rng.uniform(0.5, np.asarray(image.GetSize()) - 1.5, (count, 3))
    return np.asarray([image.TransformContinuousIndexToPhysicalPoint(index.tolist()) for index in indices])


@pytest.fixture(params=list(GEOMETRIES))
def geometry(request: pytest.FixtureRequest) -> Geometry:
    """Each of the grids in turn."""
    return GEOMETRIES[request.param]


@pytest.fixture
def geometries() -> dict[str, Geometry]:
    """All grids by name."""
    return GEOMETRIES


@pytest.fixture
def new_image() -> Callable[..., sitk.Image]:
    """`new_image(geometry, pixel=..., seed=...)`."""
    return make_image


@pytest.fixture
def new_field() -> Callable[..., sitk.Image]:
    """`new_field(geometry, amplitude=...)`."""
    return make_field


@pytest.fixture
def points_inside() -> Callable[..., np.ndarray]:
    """`points_inside(image, count=..., seed=...)`."""
    return random_points


@pytest.fixture
def new_linear(scene: Any) -> Callable[..., Any]:
    """`new_linear(matrix, parent=None)`: a linear transform node from a (4, 4) RAS matrix."""

    def create(matrix: np.ndarray, parent: Any = None) -> Any:
        from GradientGuidedRegistrationLib.mrml.geometry import matrix_to_vtk

        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        node.SetMatrixTransformToParent(matrix_to_vtk(matrix))
        if parent is not None:
            node.SetAndObserveTransformNodeID(parent.GetID())
        return node

    return create
